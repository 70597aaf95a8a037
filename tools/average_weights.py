"""Average weights files of one network, each with a share: fp16 safetensors again.

    python tools/average_weights.py new.safetensors=0.7 old.safetensors=0.3 average.safetensors

For states of one line of training, or runs from one start (Wortsman et al. 2022, "Model soups",
arXiv:2203.05482): their average often does better than each, at no cost when scoring. Nothing says that it
does: measure it (evaluate.py faces). All files must name the same network and preprocessing, as those of
tools/export_weights.py do; the output keeps what all of them state alike and the first one's data, and names
its parts. Exit codes: 0 written, 1 the disk failed, 2 usage or files that don't fit each other, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def part(text: str) -> tuple[Path, float]:
    """"a.safetensors=0.7" -> its path and its share."""
    path, _, share = text.rpartition("=")
    try:
        if path and 0 < float(share) < 1:
            return Path(path), float(share)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text}: must be FILE=SHARE, with a share between 0 and 1")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", type=part, nargs="+", metavar="FILE=SHARE", help="the shares sum to 1")
    parser.add_argument("output", type=Path, metavar="OUT.safetensors")
    arguments = parser.parse_args(argv)
    total = sum(share for _, share in arguments.parts)
    if len(arguments.parts) < 2 or abs(total - 1) > 1e-6:
        parser.error(f"at least two files are needed, with shares that sum to 1; they sum to {total:g}")

    from utils.core.console import run

    return run(lambda: write(arguments.parts, arguments.output))


def write(parts: list[tuple[Path, float]], output: Path) -> int:
    """Write the average, and say what it is; exit status. Errors as of `averaged_files`, `check_output`."""
    from utils.core.files import check_output
    from utils.weights.averaging import averaged_files
    from utils.weights.checkpoint import describe_weights, save_state_dict

    check_output(output, ".safetensors", [path for path, _ in parts])
    state, metadata = averaged_files(parts)
    save_state_dict(state, output, metadata)
    print(describe_weights(output, metadata))
    return 0


if __name__ == "__main__":
    sys.exit(main())
