"""Have a trained network see faces with less colour, at no cost: fp16 safetensors again.

    python tools/mute_colour.py weights.safetensors muted.safetensors --saturation 0.7

Re-compressed video changes a small face's colours more than its luma (utils/weights/colour.py). What that
brings and what it costs is to be measured (evaluate.py faces, evaluate.py clips), and the result to
be calibrated anew (tools/calibrate.py). The file must name its network and preprocessing, as those of
tools/export_weights.py do, with one mean and one std for all channels. Exit codes: 0 written, 1 the disk
failed, 2 usage or a file that can't be changed so, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS.safetensors")
    parser.add_argument("output", type=Path, metavar="OUT.safetensors")
    parser.add_argument("--saturation", type=float, required=True, help="share of colour that is left, 0..1")
    arguments = parser.parse_args(argv)
    if not 0 <= arguments.saturation <= 1:
        parser.error("--saturation must be between 0 (grey) and 1 (as it is)")

    from utils.core.console import run

    return run(lambda: write(arguments.weights, arguments.output, arguments.saturation))


def write(weights: Path, output: Path, saturation: float) -> int:
    """Write the changed weights, and say what they are; exit status. WeightsError, ConfigError, OSError."""
    from utils.core.errors import WeightsError
    from utils.core.files import check_output
    from utils.weights.checkpoint import describe_weights, read_state_dict, save_state_dict
    from utils.weights.colour import SATURATION_KEY, muted
    from utils.weights.networks import NETWORK_NAMES
    from utils.weights.preprocess import preprocess_of

    check_output(output, ".safetensors", [weights])
    state, metadata = read_state_dict(weights)
    network = metadata.get("network")
    if network not in NETWORK_NAMES:
        raise WeightsError(f"{weights}: its metadata names no network (export_weights.py does)")
    try:
        state = muted(state, preprocess_of(network, metadata), saturation)
        left = saturation * float(metadata.get(SATURATION_KEY, 1))  # of what an earlier call had left
    except (WeightsError, ValueError) as error:
        raise WeightsError(f"{weights}: {error}") from None
    metadata.pop("validation", None)  # figures of other weights
    metadata[SATURATION_KEY] = f"{left:.4g}"
    save_state_dict(state, output, metadata)
    print(describe_weights(output, metadata))
    return 0


if __name__ == "__main__":
    sys.exit(main())
