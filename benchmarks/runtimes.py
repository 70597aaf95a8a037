"""Other ways to run the classifiers on a CPU: how fast each is beside plain torch, and what it changes.

    python benchmarks/runtimes.py --crops output/faces --list output/lists/dfdc-data.csv
    python benchmarks/runtimes.py --runtimes plain,folded,ort,ort-int8 --networks xception --batch 8 --runs 1

Beside plain torch (float32, channels last): batch norms folded into convolutions, torch.compile, ONNX Runtime
and OpenVINO, both in float32 and in 8-bit integers that are calibrated on training crops. A runtime that
isn't installed is left out (pip install onnxruntime; pip install openvino nncf; torch.compile needs a C++
compiler). Times are medians of interleaved rounds. What probabilities and AUC do is measured with the bundled
Xception on crops of the set `val`; the WS-DANs, which have no trained weights here, are only timed.
"""

from __future__ import annotations

import argparse
import copy
import importlib.util
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from utils.core import console as command  # noqa: E402
from utils.core.errors import DataError  # noqa: E402

RUNTIMES = ("plain", "folded", "compile", "ort", "ort-int8", "openvino", "openvino-int8")
NETWORKS = ("xception", "wsdan-xception", "wsdan-efficientnet-b3")
NEEDS = {
    "ort": ("onnx", "onnxruntime"),
    "ort-int8": ("onnx", "onnxruntime"),
    "openvino": ("onnx", "openvino"),
    "openvino-int8": ("onnx", "openvino", "nncf"),
}


def choice(allowed: tuple[str, ...], what: str) -> Callable[[str], list[str]]:
    """Reads a comma-separated list of some of `allowed`."""

    def read(text: str) -> list[str]:
        chosen = [name.strip() for name in text.split(",")]
        if set(chosen) - set(allowed):
            raise ValueError
        return chosen

    read.__name__ = f"list of {what}, of {','.join(allowed)}"
    return read


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    description, _, epilog = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=description, epilog="examples:\n" + epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = parser.add_argument
    add("--crops", type=Path, default=ROOT / "output/faces", help="folder of <name>/000.png aligned crops")
    add("--list", type=Path, default=ROOT / "output/lists/dfdc-data.csv", help="of make_split.py, with sets")
    add("--networks", type=choice(NETWORKS, "networks"), default=list(NETWORKS), help=",".join(NETWORKS))
    add("--runtimes", type=choice(RUNTIMES, "runtimes"), default=list(RUNTIMES), help=",".join(RUNTIMES))
    add("--faces", type=int, default=500, help="validation crops, half of them fake (default 500)")
    add("--calibration", type=int, default=64, help="training crops for 8-bit ranges (default 64)")
    add("--batch", type=int, default=25, help="faces in a forward pass (default 25)")
    add("--runs", type=int, default=5, help="rounds that are timed (default 5)")
    add("--output", type=Path, default=Path("runtimes.json"), help="default runtimes.json")
    args = parser.parse_args(argv)
    if min(args.runs, args.batch) < 1 or min(args.faces, args.calibration) < 2:
        parser.error("--runs and --batch must be at least 1, --faces and --calibration at least 2")
    if args.faces < args.batch:
        parser.error(f"--faces must be at least --batch, {args.batch}")
    return args


def crops_of(args: argparse.Namespace, set_name: str, count: int):
    """(N, 320, 320, 3) uint8 RGB aligned faces of a set, half of them fake, and their labels; N even."""
    import cv2
    import numpy as np

    from utils.data.lists import read_list

    count += count % 2
    table = read_list(args.list)
    table = table[table["set_name"] == set_name]
    faces, labels = [], []
    for label in (0, 1):
        kept = 0
        for name in table.loc[table["is_fake"] == label, "name"]:
            crop = cv2.imread(str(args.crops / name / "000.png")) if kept < count // 2 else None
            if crop is not None:
                faces.append(crop[:, :, ::-1])
                labels.append(label)
                kept += 1
    if len(faces) < count:
        raise DataError(f"{args.crops} holds {len(faces)} crops of set {set_name}; {count} are needed")
    return np.stack(faces), np.array(labels)


def available(runtimes: list[str]) -> list[str]:
    """Those whose packages are installed; the others are named on standard error."""
    kept = []
    for name in runtimes:
        missing = [package for package in NEEDS.get(name, ()) if importlib.util.find_spec(package) is None]
        if missing:
            print(f"{name}: left out; pip install {' '.join(missing)}", file=sys.stderr)
        else:
            kept.append(name)
    return kept


def load(network: str):
    """The network and its preprocessing: bundled weights for xception, random ones for the others."""
    from benchmarks.reference_procedure import load_reference
    from benchmarks.settings import bundled, randomised
    from utils.weights.networks import build_network
    from utils.weights.preprocess import PUBLISHED

    if network != "xception":
        return randomised(build_network(network)), PUBLISHED[network], False
    named = zip(load_reference(bundled()).members, bundled().ensemble, strict=True)
    members = [member for member, (name, _, _) in named if name == "xception"]
    if not members:
        raise DataError("submission-conf/bundled.py names no xception; use --networks wsdan-xception")
    return members[0].net, members[0].preprocess, True


def compare(network: str, args: argparse.Namespace, runtimes: list[str]) -> list[dict]:
    """A row for each runtime: seconds a face, ratio to plain torch, shift and AUC."""
    import numpy as np
    import torch

    from benchmarks.runtime_backends import build
    from benchmarks.timing import interleaved, medians, say

    net, preprocess, trained = load(network)
    calibration = preprocess.batch(torch.from_numpy(crops_of(args, "train", args.calibration)[0]))
    count = args.faces // args.batch * args.batch if trained else args.batch
    faces, labels = crops_of(args, "val", count + count % 2)
    faces, labels = faces[:count], labels[:count]
    order = np.random.default_rng(0).permutation(count)  # both kinds in every batch
    faces, labels = faces[order], labels[order]
    batches = [
        preprocess.batch(torch.from_numpy(faces[start : start + args.batch]))
        for start in range(0, count, args.batch)
    ]
    ready = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in runtimes:
            say(f"{network}: preparing {name}")
            ready[name] = build(name, copy.deepcopy(net), batches[0], calibration, Path(folder))
        times = medians(interleaved({name: lambda run=run: run(batches[0]) for name, run in ready.items()},
                                    args.runs))  # fmt: skip
        rows = []
        for name, run in ready.items():
            row = {"network": network, "runtime": name, "seconds_a_face": times[name] / args.batch,
                   "ratio": times["plain"] / times[name]}  # fmt: skip
            if trained:
                say(f"{network}: {count} crops by {name}")
                row["probabilities"] = np.concatenate([fake(run(images)) for images in batches])
            rows.append(row)
    return [finished(row, rows[0], labels) for row in rows]


def fake(logits):
    """(B, 2) logits -> (B,) probability of fake."""
    import numpy as np

    logits = np.asarray(logits, np.float64)
    return 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))


def finished(row: dict, plain: dict, labels) -> dict:
    """The row with shift and AUC in the place of its probabilities."""
    import numpy as np

    from benchmarks.agreement import auc

    row = dict(row)
    probabilities = row.pop("probabilities", None)
    if probabilities is not None:
        shifts = np.abs(probabilities - plain["probabilities"])
        row |= {"faces": len(labels), "shift_mean": float(shifts.mean()), "shift_max": float(shifts.max())}
        row |= {"auc_plain": auc(labels, plain["probabilities"]), "auc": auc(labels, probabilities)}
    return row


def line(row: dict) -> str:
    text = f"{row['network']:22} {row['runtime']:14} {row['seconds_a_face']:8.4f} s a face"
    text += f" {row['ratio']:5.2f}x"
    if "auc" in row:
        text += f"  shift {row['shift_mean']:.5f} mean {row['shift_max']:.5f} max"
        text += f"  AUC {row['auc_plain']:.4f} -> {row['auc']:.4f}"
    return text


def run(args: argparse.Namespace) -> int:
    from benchmarks.timing import machine
    from utils.core.files import write_whole

    runtimes = ["plain", *(name for name in available(args.runtimes) if name != "plain")]
    args.output.parent.mkdir(parents=True, exist_ok=True)
    facts = machine()
    rows = [row for network in args.networks for row in compare(network, args, runtimes)]
    print("\n".join(line(row) for row in rows))
    write_whole(args.output, json.dumps([*rows, facts], indent=1) + "\n")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Measure, write, print; returns the exit code."""
    args = parse_arguments(argv)
    return command.run(lambda: run(args), "stopped; nothing was written")


if __name__ == "__main__":
    sys.exit(main())
