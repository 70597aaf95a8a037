"""Calibrate a weights file: fit a temperature and a bias on labelled faces and put them into its last layer.

    python tools/calibrate.py external/bundled-xception.safetensors \\
        --list output/lists/dfdc-data.csv --faces output/faces --set val
    python tools/calibrate.py a.safetensors --list dfdc.json --faces faces --set valid --output b.safetensors

Scoring needs nothing new: the file written beside WEIGHTS (`<name>-calibrated.safetensors`, or --output)
holds the same network with another last layer, in fp16; its metadata is that of WEIGHTS and a note of what
was done to the logit, in all where WEIGHTS were calibrated before. One crop a video counts. Log loss before
and after is printed for the faces it was fitted on: two numbers are fitted, so it says little about others.
Exit codes: 0 written, 1 unusable faces or disk, 2 usage or unusable weights, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def main(argv: list[str] | None = None) -> int:
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", type=Path, metavar="WEIGHTS", help="safetensors that states its network")
    parser.add_argument("--list", type=Path, required=True, help="dfdc-data.csv or dfdc.json")
    parser.add_argument("--faces", type=Path, required=True, help="folder of <video>/<frame>.png crops")
    parser.add_argument("--set", default="val", help="set of the list; not one that was trained on")
    parser.add_argument("--limit", type=int, help="use so many videos of it only")
    parser.add_argument("--output", type=Path, help="file to write")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(argv)
    if (arguments.limit is not None and arguments.limit < 2) or arguments.batch_size < 1:
        parser.error("--limit must be at least 2 and --batch-size at least 1")

    from utils.core.console import run

    return run(lambda: calibrate(arguments), memory_advice="try a smaller --batch-size")


def calibrate(arguments: argparse.Namespace) -> int:
    """Write the calibrated weights, and say what changed; exit status. Raises UserError and OSError."""
    import numpy as np
    import torch

    from utils.core.console import Progress
    from utils.core.device import pick_device
    from utils.core.errors import WeightsError
    from utils.core.files import check_output
    from utils.core.metrics import frame_metrics
    from utils.evaluation import calibration
    from utils.evaluation.measures import labelled_faces
    from utils.weights.checkpoint import load_weights, read_state_dict, save_weights
    from utils.weights.networks import NETWORK_NAMES, build_network
    from utils.weights.preprocess import preprocess_of

    weights = arguments.weights
    output = arguments.output or weights.parent / f"{weights.stem}-calibrated.safetensors"
    check_output(output, ".safetensors", [weights])
    device = pick_device(arguments.device)
    network = read_state_dict(weights)[1].get("network")
    if network not in NETWORK_NAMES:
        raise WeightsError(f"{weights}: its metadata names no network (export_weights.py does)")
    net = build_network(network)
    metadata = load_weights(net, weights)
    try:
        earlier = calibration.Note.read(metadata.get(calibration.METADATA_KEY))
        preprocess = preprocess_of(network, metadata)
    except WeightsError as error:
        raise WeightsError(f"{weights}: {error}") from None
    net.to(device, memory_format=torch.channels_last)
    faces = labelled_faces(arguments.list, arguments.faces, arguments.set, limit=arguments.limit)

    inputs = []
    with Progress("calibration", -(-len(faces) // arguments.batch_size)) as progress:
        for batch, _ in faces.batches(arguments.batch_size):
            images = preprocess.batch(torch.from_numpy(batch).to(device))
            inputs.append(calibration.layer_inputs(net, images.contiguous(memory_format=torch.channels_last)))
            progress.update(images=len(batch))
    inputs, layer = torch.cat(inputs), calibration.last_layer(net.cpu())
    before = calibration.logits_of_fake(layer, inputs)
    found = calibration.fit(layer, inputs, faces.labels)
    calibration.apply(layer, found)
    after = calibration.logits_of_fake(layer, inputs)
    losses = [
        frame_metrics(faces.labels, 1 / (1 + np.exp(-logit.clip(-700, 700))))["log_loss"]
        for logit in (before, after)
    ]
    note = earlier.then(found, f"{len(faces)} faces of {arguments.list.name}, set {arguments.set}")
    save_weights(net, output, metadata | {calibration.METADATA_KEY: str(note)})
    print(f"{output}: {note}\nlog loss {losses[0]:.4f} -> {losses[1]:.4f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
