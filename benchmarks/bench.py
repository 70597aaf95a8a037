"""How fast this repository is beside the published procedure, and how far its results moved.

    python benchmarks/bench.py                       # everything, what `make bench` runs
    python benchmarks/bench.py --only a,c            # extraction and training
    python benchmarks/bench.py --quick --output quick      # a smoke test; its figures mean nothing
    python benchmarks/bench.py --output external/results/bench      # then make tables: docs/benchmarks.md
    python benchmarks/bench.py --before ../before/bench.json        # what it was at an earlier commit

Parts: a extraction in frames a second; b seconds for a ten-second 1080p clip; c training; d peak memory;
e landmarks, probabilities and AUC against the reference. Times are medians of interleaved rounds, the
reference and ours in turn. Networks without trained weights (ResNet-50 and the published classifiers) have
random ones for a and b, and MobileNet's faces. Progress goes to standard error, the tables to standard
output and to bench.md, all figures to bench.json.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.timing import parser_of  # noqa: E402
from utils.core import console  # noqa: E402

PARTS = "abcde"


def parts(text: str) -> str:
    """"a,c" or "ac" -> "ac"."""
    chosen = "".join(part.strip() for part in text.split(","))
    if not chosen or set(chosen) - set(PARTS):
        raise ValueError
    return "".join(sorted(set(chosen)))


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    parts.__name__ = f"list of parts ({','.join(PARTS)})"  # what argparse says it is
    add = parser.add_argument
    add("--only", metavar="PARTS", type=parts, default=PARTS, help="parts to run, such as a,c (default all)")
    add("--quick", action="store_true", help="tiny sizes, to see that it runs")
    add("--output", metavar="NAME", type=Path, default=Path("bench"), help="NAME.md, .json (default bench)")
    add("--before", metavar="JSON", type=Path, help="bench.json of another commit: its ratios beside these")
    return parser.parse_args(argv)


def tasks(quick: bool) -> dict[str, Callable[[], list]]:
    """What each part runs."""
    from benchmarks.agreement import AgreementPlan, agreement_rows
    from benchmarks.memory import MemoryPlan, memory_rows
    from benchmarks.speed import SpeedPlan, TrainingPlan, clip_rows, extraction_rows, training_rows

    speed, training, memory, agreement = SpeedPlan(), TrainingPlan(), MemoryPlan(), AgreementPlan()
    if quick:
        small = (480, 270)
        speed = SpeedPlan(1, ("mobilenet0.25",), (2,), (4,), size=small)
        training = TrainingPlan(1, (("wsdan-xception", 96, 2), ("xception", 96, 2)))
        memory = MemoryPlan(10, 20, small, scripts=("scoring",))
        agreement = AgreementPlan(2, 2, 4, 100)
    return {
        "a": lambda: extraction_rows(speed),
        "b": lambda: clip_rows(speed),
        "c": lambda: training_rows(training),
        "d": lambda: memory_rows(memory),
        "e": lambda: agreement_rows(agreement),
    }


def run(args: argparse.Namespace, command: list[str]) -> int:
    from benchmarks.report import ratios_of, tables
    from benchmarks.timing import Row, machine, seconds
    from utils.core.files import check_report, give_report
    from utils.evaluation.clips import shared_folder
    from utils.evaluation.report_tables import joined

    check_report(args.output)
    before = None if args.before is None else ratios_of(args.before)
    facts = {**machine(), "quick": args.quick, "shared_data": shared_folder() is not None, "seconds": {}}
    rows: list[Row] = []
    for part, measure in tasks(args.quick).items():
        if part in args.only:
            took = seconds(lambda measure=measure: rows.extend(measure()))
            facts["seconds"][part] = round(took, 1)
    rows.append(Row("machine", more=facts))
    made = joined(tables(rows, before))
    return give_report(args.output, command, made, {"rows": [row.plain() for row in rows], "before": before})


def main(argv: list[str] | None = None) -> int:
    """Measure, write, print; returns the exit code."""
    args = parse_arguments(argv)
    command = ["python", "benchmarks/bench.py", *(sys.argv[1:] if argv is None else argv)]
    return console.run(lambda: run(args, command), "stopped; nothing was written")


if __name__ == "__main__":
    sys.exit(main())
