"""Calibrate networks: fit a temperature and a bias on labelled faces and put them into their last layers.

    python tools/calibrate.py a.safetensors --list lists/dfdc-data.csv val --faces faces --half A
    python tools/calibrate.py a.safetensors:.6 b.safetensors:.4 --list lists/dfdc-data.csv val \\
        --list lists/utk.csv dev --faces faces --half A --bias-of output/dev.json:both --report calibration

Several networks are calibrated as one ensemble whose mean is of logits (`combine = "logits"`), with one
temperature and one bias. Each --list is a domain: its real faces weigh as much as any other's, and all fakes
as much as all reals. --bias-of: a report of `evaluate.py dev --output`, and which of its candidates these
files are; it says what the logit must be moved by. It is, where the fit moves it less, and the scale is
fitted to that; --bias gives the number itself. Scoring needs nothing new: `<name>-calibrated.safetensors` (or
--output) hold the same networks with other last layers, in fp16, and a note of what was done to the logit, in
all where they were calibrated before. Log loss before and after is of the faces it was fitted to: two numbers
are fitted, so it says little about others. --report NAME writes it as NAME.md and NAME.json. One crop a video
counts. --state licence="research use only" and the like go into the metadata.
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

    from utils.evaluation.calibration import Calibration, Note
    from utils.evaluation.calibration_steps import Steps
    from utils.weights.preprocess import Preprocess

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.evaluation.command_options import report_name  # noqa: E402

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
    bias = parser.add_mutually_exclusive_group()
    bias.add_argument("--bias", type=float, help="move the logit by at least so much, before the scale")
    bias.add_argument("--bias-of", metavar="NAME.json:CANDIDATE", help="by what evaluate.py dev says")
    parser.add_argument("--output", type=Path, nargs="+", default=[], help="files to write, one a network")
    parser.add_argument("--state", action="append", default=[], metavar="KEY=TEXT", help="metadata as well")
    parser.add_argument("--report", type=report_name, metavar="NAME", help="write NAME.md, NAME.json")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--device", default="auto")
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser.parse_args(argv)
    if (arguments.limit is not None and arguments.limit < 2) or arguments.batch_size < 1:
        parser.error("--limit must be at least 2 and --batch-size at least 1")
    if any(not text.partition("=")[0] or "=" not in text for text in arguments.state):
        parser.error("--state must be KEY=TEXT, such as licence=MIT")
    if arguments.output and len(arguments.output) != len(arguments.weights):
        parser.error("--output must name as many files as there are WEIGHTS")

    from utils.core.console import run

    command = ["python", "tools/calibrate.py", *argv]
    return run(lambda: calibrate(arguments, command), memory_advice="try a smaller --batch-size")


class Network(NamedTuple):
    """A weights file on its way: its share of the ensemble, where it goes, and what it is."""

    path: Path
    share: float
    output: Path
    net: nn.Module
    metadata: dict[str, str]
    preprocess: Preprocess
    note: Note


def calibrate(arguments: argparse.Namespace, command: list[str]) -> int:
    """Write the calibrated weights, and report what changed; exit status. Raises UserError and OSError."""
    import numpy as np

    from utils.core.device import pick_device
    from utils.core.files import check_report, give_report
    from utils.evaluation import calibration
    from utils.evaluation.calibration_steps import Steps

    check_report(arguments.report)
    networks = opened(arguments)
    bias = asked_bias(arguments, networks)
    device = pick_device(arguments.device)
    paths, labels, domains = chosen_faces(arguments)
    seen = [inputs_of(network, paths, arguments.batch_size, device) for network in networks]
    layers = [calibration.last_layer(network.net.cpu()) for network in networks]
    directions = [calibration.direction_of(*pair) for pair in zip(layers, seen, strict=True)]
    tables = [calibration.columns(*row) for row in zip(layers, seen, directions, strict=True)]
    table = np.average(tables, axis=0, weights=[network.share for network in networks])  # (N, 2)
    steps = Steps(labels, domains)
    scale, offset = fitted(table, steps, bias)
    fitted_on = ", ".join(f"{Path(name).name} {set_name}" for name, set_name in arguments.list)
    fitted_on += f", half {arguments.half}" if arguments.half else ""
    notes = {}
    for network, layer, direction in zip(networks, layers, directions, strict=True):
        change = calibration.Calibration(scale, offset, direction)
        notes[network.output] = write(network, layer, change, arguments.state, (len(labels), fitted_on))
    text, data = report_of(steps, bias, fitted_on, notes)
    give_report(arguments.report, command, text, data)
    if any("verdict" in network.metadata for network in networks):
        print("the verdict's limits of before are gone: `evaluate.py dev --limits` measures them anew")
    return 0


def asked_bias(arguments: argparse.Namespace, networks: list[Network]) -> float | None:
    """What the logit is to be moved by at least; None = what the fit moves it by. ConfigError."""
    from utils.evaluation.calibration_steps import bias_of
    from utils.evaluation.dev_score import Member

    if arguments.bias_of is None:
        return arguments.bias
    return bias_of(arguments.bias_of, [Member(network.path, network.share) for network in networks])


def report_of(steps: Steps, bias: float | None, fitted_on: str, notes: dict[Path, Note]) -> tuple[str, dict]:
    """As Markdown and as plain data: the faces, each step, and what was done to the files' logits."""
    counts = {kind: int((steps.labels == label).sum()) for label, kind in enumerate(("real", "fake"))}
    said = f"Fitted to {counts['real']} real and {counts['fake']} fake faces: {fitted_on}"
    said += f"; bias {bias:g}" if bias is not None else ""
    lines = [f"- {path}: logit * {note.scale:.4f} + {note.offset:.4f}" for path, note in notes.items()]
    data = {
        "fitted_on": fitted_on, "faces": counts, "bias": bias, "steps": steps.figures,
        "files": {path.name: {"scale": note.scale, "offset": note.offset} for path, note in notes.items()},
    }  # fmt: skip
    return "\n\n".join([said, steps.table().markdown(), "\n".join(lines)]), data


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


def fitted(table: np.ndarray, steps: Steps, bias: float | None) -> tuple[float, float]:
    """Scale and offset; what they do, and a bias that moves the logit further, is added to the steps."""
    from utils.evaluation import calibration

    labels, domains = steps.labels, steps.domains
    counts = [int((labels == label).sum()) for label in (0, 1)]
    if min(counts) < calibration.FEW_FACES:
        few = f"{counts[0]} real and {counts[1]} fake faces are few: below {calibration.FEW_FACES} of each"
        print(f"warning: {few} the two numbers are uncertain", file=sys.stderr)
    weights = calibration.alike(labels, domains)
    scale, offset = calibration.fit(table, labels, weights)
    steps.add("as it was", table[:, 0])
    first = domains == domains[0]
    if len(set(domains)) > 1:
        alone = calibration.fit(table[first], labels[first], calibration.alike(labels[first], domains[first]))
        steps.add(f"fitted on {domains[0]} alone", table @ alone)
    steps.add("fitted on all, each domain's reals alike", table @ (scale, offset))
    if bias is not None and scale * bias < offset:
        steps.add("with the bias", table @ (scale, scale * bias))
        scale, offset = calibration.fit_scale(table, labels, weights, bias)
        steps.add("with the bias, its scale fitted", table @ (scale, offset))
    return scale, offset


def write(
    network: Network, layer: nn.Linear, change: Calibration, stated: list[str], fitted_to: tuple[int, str]
) -> Note:
    """Write a network with the change in its last layer, and return what was done to its logit in all.

    stated: KEY=TEXT for the metadata; fitted_to: how many faces, and which.
    """
    from utils.evaluation import calibration
    from utils.weights.checkpoint import save_weights

    calibration.apply(layer, change)
    note = network.note.then(change, *fitted_to)
    metadata = {key: text for key, text in network.metadata.items() if key not in OF_BEFORE}
    metadata |= dict(text.split("=", 1) for text in stated)
    metadata[calibration.CALIBRATION_KEY] = note.to_metadata()
    save_weights(network.net, network.output, metadata)
    return note


if __name__ == "__main__":
    sys.exit(main())
