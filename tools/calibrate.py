"""Calibrate networks: fit a temperature and a bias on labelled faces and put them into their last layers.

    python tools/calibrate.py a.safetensors --list lists/dfdc-data.csv val --faces faces --half A
    python tools/calibrate.py a.safetensors:.6 b.safetensors:.4 --list lists/dfdc-data.csv val \\
        --list lists/utk.csv dev --faces faces --half A --bias -0.4

Several networks are calibrated as one ensemble whose mean is of logits (`combine = "logits"`), with one
temperature and one bias. Each --list is a domain: its real faces weigh as much as any other's, and all fakes
as much as all reals. --bias: what `evaluate.py dev` says the logit must be moved by; it is, where the fit
moves it less, and the scale is fitted to that. Scoring needs nothing new: `<name>-calibrated.safetensors` (or
--output) hold the same networks with other last layers, in fp16, and a note of what was done to the logit, in
all where they were calibrated before. Log loss before and after is printed for the faces it was fitted on:
two numbers are fitted, so it says little about others. One crop a video counts. --state licence="research use
only" and the like go into the metadata.
Exit codes: 0 written, 1 unusable faces or disk, 2 usage or unusable weights, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from utils.evaluation.calibration import Note
    from utils.weights.preprocess import Preprocess

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

OF_BEFORE = ("verdict", "validation")  # metadata that hold for the scores of before, not for calibrated ones


def main(argv: list[str] | None = None) -> int:
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("weights", nargs="+", metavar="WEIGHTS[:SHARE]", help="stating their network")
    parser.add_argument("--list", nargs=2, action="append", required=True, metavar=("LIST", "SET"),
                        help="dfdc-data.csv or dfdc.json, and a set that was not trained on")  # fmt: skip
    parser.add_argument("--faces", type=Path, required=True, help="folder of <video>/<frame>.png crops")
    parser.add_argument("--half", choices=("A", "B"), help="only this half of each set")
    parser.add_argument("--limit", type=int, help="use so many videos of each list only")
    parser.add_argument("--bias", type=float, help="move the logit by at least so much, before the scale")
    parser.add_argument("--output", type=Path, nargs="+", default=[], help="files to write, one a network")
    parser.add_argument("--state", action="append", default=[], metavar="KEY=TEXT", help="metadata as well")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args(argv)
    if (arguments.limit is not None and arguments.limit < 2) or arguments.batch_size < 1:
        parser.error("--limit must be at least 2 and --batch-size at least 1")
    if any(not text.partition("=")[0] or "=" not in text for text in arguments.state):
        parser.error("--state must be KEY=TEXT, such as licence=MIT")
    if arguments.output and len(arguments.output) != len(arguments.weights):
        parser.error("--output must name as many files as there are WEIGHTS")

    from utils.core.console import run

    return run(lambda: calibrate(arguments), memory_advice="try a smaller --batch-size")


class Network(NamedTuple):
    """A weights file on its way: its share of the ensemble, where it goes, and what it is."""

    path: Path
    share: float
    output: Path
    net: nn.Module
    metadata: dict[str, str]
    preprocess: Preprocess
    note: Note


def calibrate(arguments: argparse.Namespace) -> int:
    """Write the calibrated weights, and say what changed; exit status. Raises UserError and OSError."""
    import numpy as np

    from utils.core.device import pick_device
    from utils.evaluation import calibration
    from utils.weights.checkpoint import save_weights

    networks = opened(arguments)
    device = pick_device(arguments.device)
    paths, labels, domains = chosen_faces(arguments)
    seen = [inputs_of(network, paths, arguments.batch_size, device) for network in networks]
    layers = [calibration.last_layer(network.net.cpu()) for network in networks]
    directions = [calibration.direction_of(*pair) for pair in zip(layers, seen, strict=True)]
    tables = [calibration.columns(*row) for row in zip(layers, seen, directions, strict=True)]
    table = np.average(tables, axis=0, weights=[network.share for network in networks])  # (N, 2)
    scale, offset = fitted(table, labels, domains)
    if arguments.bias is not None and scale * arguments.bias < offset:
        print(loss_line("with that bias", table @ (scale, scale * arguments.bias), labels, domains))
        weights = calibration.alike(labels, domains)
        scale, offset = calibration.fit_scale(table, labels, weights, arguments.bias)
        print(loss_line("with that bias, its scale fitted", table @ (scale, offset), labels, domains))
    fitted_on = ", ".join(f"{Path(name).name} {set_name}" for name, set_name in arguments.list)
    fitted_on += f", half {arguments.half}" if arguments.half else ""
    for network, layer, direction in zip(networks, layers, directions, strict=True):
        change = calibration.Calibration(scale, offset, direction)
        calibration.apply(layer, change)
        note = network.note.then(change, len(labels), fitted_on)
        stated = {key: text for key, text in network.metadata.items() if key not in OF_BEFORE}
        stated |= dict(text.split("=", 1) for text in arguments.state)
        stated[calibration.CALIBRATION_KEY] = note.to_metadata()
        save_weights(network.net, network.output, stated)
        print(f"{network.output}: logit * {note.scale:.4f} + {note.offset:.4f}")
    if any("verdict" in network.metadata for network in networks):
        print("the verdict's limits of before are gone: `evaluate.py dev --limits` measures them anew")
    return 0


def opened(arguments: argparse.Namespace) -> list[Network]:
    """The networks, loaded. ConfigError, WeightsError naming the file."""
    from utils.core.errors import ConfigError, WeightsError
    from utils.core.files import check_output
    from utils.evaluation import calibration
    from utils.evaluation.dev_score import read_members
    from utils.weights.checkpoint import load_weights, read_state_dict
    from utils.weights.networks import NETWORK_NAMES, build_network
    from utils.weights.preprocess import preprocess_of

    members = read_members(",".join(arguments.weights))
    paths = [member.path for member in members]
    outputs = arguments.output or [path.parent / f"{path.stem}-calibrated.safetensors" for path in paths]
    if len(set(outputs)) < len(outputs):
        raise ConfigError(f"{outputs[0]}: would be written twice; name the files with --output")
    networks = []
    for member, output in zip(members, outputs, strict=True):
        check_output(output, ".safetensors", paths)
        network = read_state_dict(member.path)[1].get("network")
        if network not in NETWORK_NAMES:
            raise WeightsError(f"{member.path}: its metadata names no network (export_weights.py does)")
        net = build_network(network)
        metadata = load_weights(net, member.path)
        try:
            note = calibration.Note.read(metadata.get(calibration.CALIBRATION_KEY))
            preprocess = preprocess_of(network, metadata)
        except WeightsError as error:
            raise WeightsError(f"{member.path}: {error}") from None
        networks.append(Network(member.path, member.weight, output, net, metadata, preprocess, note))
    return networks


def chosen_faces(arguments: argparse.Namespace) -> tuple[list[Path], np.ndarray, np.ndarray]:
    """Crops, their labels (N,), and their domains (N,): the lists' names. DataError."""
    import numpy as np

    from utils.evaluation.measures import labelled_faces

    paths, labels, domains = [], [], []
    for name, set_name in arguments.list:
        faces = labelled_faces(
            Path(name), arguments.faces, set_name, limit=arguments.limit, half=arguments.half
        )
        paths += faces.paths
        labels.append(faces.labels)
        domains += [Path(name).name] * len(faces)
    return paths, np.concatenate(labels), np.array(domains)


def inputs_of(network: Network, paths: list[Path], batch_size: int, device: torch.device) -> torch.Tensor:
    """What the network's last layer sees of the faces, float32 (N, F)."""
    import torch

    from utils.core.console import Progress
    from utils.evaluation import calibration
    from utils.evaluation.measures import LabelledFaces

    faces = LabelledFaces(paths, torch.zeros(len(paths)).numpy())
    net, inputs = network.net.to(device, memory_format=torch.channels_last), []
    with Progress(network.path.stem, -(-len(paths) // batch_size)) as progress:
        for batch, _ in faces.batches(batch_size):
            images = network.preprocess.batch(torch.from_numpy(batch).to(device))
            images = images.contiguous(memory_format=torch.channels_last)
            inputs.append(calibration.layer_inputs(net, images))  # in fp32, as the bundled config scores
            progress.update(images=len(batch))
    return torch.cat(inputs)


def fitted(table: np.ndarray, labels: np.ndarray, domains: np.ndarray) -> tuple[float, float]:
    """Scale and offset; says on how many faces, and the log loss of each domain before and after."""
    from utils.evaluation import calibration

    counts = [int((labels == label).sum()) for label in (0, 1)]
    print(f"fitting on {counts[0]} real and {counts[1]} fake faces of {len(set(domains))} domains")
    if min(counts) < calibration.FEW_FACES:
        few = f"{counts[0]} real and {counts[1]} fake faces are few: below {calibration.FEW_FACES} of each"
        print(f"warning: {few} the two numbers are uncertain", file=sys.stderr)
    scale, offset = calibration.fit(table, labels, calibration.alike(labels, domains))
    print(loss_line("as it was", table[:, 0], labels, domains))
    first = domains == domains[0]
    if len(set(domains)) > 1:
        alone = calibration.fit(table[first], labels[first], calibration.alike(labels[first], domains[first]))
        print(loss_line(f"fitted on {domains[0]} alone", table @ alone, labels, domains))
    print(loss_line("fitted on all, each domain's reals alike", table @ (scale, offset), labels, domains))
    return scale, offset


def loss_line(name: str, logits: np.ndarray, labels: np.ndarray, domains: np.ndarray) -> str:
    """Balanced log loss of the domains that have both kinds, and every domain's reals called fake."""
    from utils.core.metrics import frame_metrics
    from utils.scoring.ensemble import to_probabilities

    parts = []
    for domain in dict.fromkeys(domains.tolist()):
        part = domains == domain
        figures = frame_metrics(labels[part], to_probabilities(logits[part]))
        if len(set(labels[part])) == 2:
            parts.append(f"{domain} log loss {figures['balanced_log_loss']:.4f}")
        parts.append(f"{domain} reals called fake {(logits[part & (labels == 0)] > 0).mean():.1%}")
    return f"{name}: {', '.join(parts)}"


if __name__ == "__main__":
    sys.exit(main())
