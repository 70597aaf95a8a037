"""Judge scores, faces, clips, and candidates for the bundled ensemble; `evaluate.py COMMAND -h` says more.

    python evaluate.py scores demo/labels.csv demo/submission.csv
    python evaluate.py scores metadata.json a.csv b.csv --output judged/   # metrics.json, metrics.html
    python evaluate.py scores labels.csv submission.csv --fit calibration.json
    python evaluate.py faces --list output/lists/dfdc-data.csv --faces output/faces --corruptions all
    python evaluate.py faces --list output/lists/dfdc-data.csv --faces output/faces --fakes swapped
    python evaluate.py clips --videos ../shared/videos --variants plain "jpeg 50" face_limit=5
    python evaluate.py matrix                         # the shipped weights across data sets
    python evaluate.py dev --val output/lists/dfdc-data.csv --elsewhere output/lists/utk.csv \\
        --faces output/faces --clips ../shared/reals/clips both=a.safetensors:.6,b.safetensors:.4
    python evaluate.py faces-csv out/submission.faces.csv --weights wsdan-xception=1 --combine logits
    python evaluate.py people                         # the largest face, or every person of a clip
    python evaluate.py verdicts                       # how often each word is said of reals and of fakes

--output NAME also writes NAME.md, NAME.json and, of the first four commands, NAME.html, a page with plots;
--output FOLDER/ writes FOLDER/metrics.md and so on. key=value changes the config of `faces` and `clips`.
Exit codes: 0 done, 1 unusable data or disk, 2 usage, config or weights, 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

# modules command_<name>.py
COMMANDS = ("scores", "faces", "clips", "matrix", "dev", "faces-csv", "people", "verdicts")
WITHOUT_NETWORKS = ("scores", "faces-csv")


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in COMMANDS:
        parser = argparse.ArgumentParser(
            description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help=", ".join(COMMANDS))
        parser.parse_args(argv[:1])
    command = import_module(f"utils.evaluation.command_{argv[0].replace('-', '_')}")
    parser = argparse.ArgumentParser(prog=f"evaluate.py {argv[0]}", description=command.TEXT)
    command.add(parser)
    arguments = parser.parse_intermixed_args(argv[1:])

    from utils.core.console import LESS_AT_ONCE, MORE_MEMORY, SMALLER_BATCH, run
    from utils.core.files import check_report, give_report
    from utils.core.shortage import room_for_torch

    def report() -> int:
        check_report(arguments.output)
        if argv[0] not in WITHOUT_NETWORKS:
            room_for_torch()
        line = ["python", "evaluate.py", *argv]
        text, data, *shown = command.work(arguments)
        page = page_of(argv[0], line, *shown) if arguments.output else ""
        return give_report(arguments.output, line, text, data, page)

    advice = {"faces": SMALLER_BATCH, "clips": LESS_AT_ONCE, "people": LESS_AT_ONCE}  # keys they have
    return run(report, memory_advice=advice.get(argv[0], MORE_MEMORY))


def page_of(name: str, command: list[str], tables: Sequence = (), judged: Sequence = ()) -> str:
    """The HTML page of a report; "" of one that has none."""
    from utils.evaluation.page import page

    return page(f"{name.capitalize()}, judged", command, tables, judged) if tables else ""


if __name__ == "__main__":
    sys.exit(main())
