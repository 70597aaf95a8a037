"""What a worker process costs: the same clips done in this process and in one worker, in turn.

    python benchmarks/workers.py --output external/results/workers
    python benchmarks/workers.py --clips 4 --rounds 1        # a trial

Both have loaded their networks before the clock runs, and a first round doesn't count; what each takes to
load is a row of its own. The clips are real ones of ten seconds at most, at several sizes.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the commands set it, before torch is imported

from benchmarks.timing import interleaved, medians, parser_of, seconds  # noqa: E402
from utils.core.console import run  # noqa: E402
from utils.core.crew import Crew  # noqa: E402
from utils.core.files import check_report, give_report  # noqa: E402
from utils.core.workers import Here, positive  # noqa: E402
from utils.evaluation.report_tables import Table  # noqa: E402

EVERY = 10  # frames between two crops
Round = Callable[[Here | Crew], None]


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--clips", type=positive, default=16, metavar="N", help="default %(default)s")
    parser.add_argument("--rounds", type=positive, default=5, metavar="N", help="default %(default)s")
    parser.add_argument("--output", type=Path, metavar="NAME", help="NAME.md and NAME.json as well")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    command = ["python", "benchmarks/workers.py", *(sys.argv[1:] if argv is None else argv)]

    def report() -> int:
        from benchmarks.inputs import clip_set

        check_report(args.output)
        load = round(os.getloadavg()[0], 2)
        clips = [clip.path for clip in clip_set(args.clips)]
        rows = [scoring_row(clips, args.rounds), extraction_row(clips, args.rounds)]
        data = {"load_at_start": load, "rounds": args.rounds, "rows": rows}
        return give_report(args.output, command, table(rows, args, load).markdown(), data)

    return run(report)


def scoring_row(clips: list[Path], rounds: int) -> dict[str, object]:
    from benchmarks.inputs import bundled_or_random
    from utils.scoring.work import Scoring

    def once(place: Here | Crew) -> None:
        for _ in place.run(clips):
            pass

    return compared("score", Scoring(bundled_or_random()), once, rounds)


def extraction_row(clips: list[Path], rounds: int) -> dict[str, object]:
    from benchmarks.inputs import bundled_or_random
    from utils.data.crops import Settings, plan_jobs
    from utils.data.work import Extraction

    config = bundled_or_random("speed=fast")
    settings = Settings(
        EVERY, config.detector, config.detector_weights, config.detect_size, config.track,
        config.score_threshold, config.detector_precision, config.turn,
    )  # fmt: skip

    def once(place: Here | Crew) -> None:
        with tempfile.TemporaryDirectory() as folder:
            jobs = [job for clip in clips for job in plan_jobs(clip, [clip], Path(folder) / clip.stem)]
            for _ in place.run(jobs):
                pass

    return compared("extract", Extraction(config, settings), once, rounds)


def compared(name: str, work: Any, once: Round, rounds: int) -> dict[str, object]:
    """Medians of the rounds, here and by one worker, and what each takes to load."""
    here, crew = Here(work), Crew(work, 1)
    loads = {"worker": seconds(lambda: (crew.start(), crew.ready())), "here": seconds(here.ready)}
    with here, crew:
        times = interleaved({"here": lambda: once(here), "worker": lambda: once(crew)}, rounds)
    return {"work": name, "seconds": medians(times), "load_seconds": loads, "all": times}


def table(rows: list[dict], args: argparse.Namespace, load: float) -> Table:
    cells = []
    for row in rows:
        here, worker = row["seconds"]["here"], row["seconds"]["worker"]
        more, loads = f"{100 * (worker / here - 1):+.1f}%", f"{row['load_seconds']['worker']:.1f}"
        cells.append([row["work"], f"{here:.1f}", f"{worker:.1f}", more, loads])
    return Table(
        ["work", "seconds here", "seconds in a worker", "a worker takes more", "seconds until it is ready"],
        cells,
        f"The same {args.clips} clips, medians of {args.rounds} rounds in turn, load {load:g} at the start",
    )


if __name__ == "__main__":
    sys.exit(main())
