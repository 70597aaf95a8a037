"""What many clips, long ones and large ones take: peak memory, and processor time of a clip.

    DFDC_SHARED=FOLDER python benchmarks/load.py --output external/results/load
    python benchmarks/load.py --large 4 --minutes 10 --short 500      # smaller runs

Each run is a process of its own, without workers: clips of 1080p (links to one), two long clips (a short
one's packets over and over), small and of 1080p, and short clips, few and many. Of the long one of 1080p
extraction decodes each frame, some ten minutes of work; it takes 1.4 GB of the temporary folder. Processor
time depends on what else the machine does.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.timing import parser_of  # noqa: E402
from utils.core.console import run  # noqa: E402
from utils.core.files import check_report, give_report  # noqa: E402
from utils.evaluation.report_tables import Table  # noqa: E402

SCORE, EXTRACT = "best-submission.py", "make_dataset.py"
FEW = 50  # short clips, to compare the many with
SMALL = (320, 180)
SECONDS = 10  # of the clip that is made long, at 30 frames


@dataclass(frozen=True)
class Task:
    """A run: the folder of its clips, how many they are, the script and its options."""

    name: str
    folder: str
    clips: int
    script: str
    options: tuple[str, ...] = ()


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--large", type=int, default=12, metavar="N", help="clips of 1080p (default %(default)s)")
    add("--minutes", type=int, default=60, metavar="M", help="of each long clip (default %(default)s)")
    add("--short", type=int, default=5000, metavar="N", help="short clips (default %(default)s)")
    add("--output", type=Path, metavar="NAME", help="NAME.md and NAME.json as well")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    command = ["python", "benchmarks/load.py", *(sys.argv[1:] if argv is None else argv)]

    def report() -> int:
        check_report(args.output)
        with tempfile.TemporaryDirectory() as folder:
            make_clips(Path(folder), args)
            rows = [measured(task, Path(folder)) for task in tasks(args)]
        cells = [
            [row["run"], f"{row['clips']:,}", f"{row['mib']:,.0f}", f"{row['seconds']:.3f}"] for row in rows
        ]
        table = Table(
            ["run", "clips", "peak MiB", "processor seconds a clip"], cells,
            "Runs without workers, on one thread of computing",
            "Processor time: without what each run takes to begin.",
        )  # fmt: skip
        return give_report(args.output, command, table.markdown(), {"rows": rows})

    return run(report)


def tasks(args: argparse.Namespace) -> list[Task]:
    sparse, rare = ("--every", "30"), ("speed=fast", "--every", "250")  # which decodes all frames
    long = f"{args.minutes} minutes"
    return [
        Task("1080p: extract", "large", args.large, EXTRACT, ("speed=fast", *sparse)),
        Task("1080p: extract, speed=exact", "large", args.large, EXTRACT, sparse),
        Task("1080p: score", "large", args.large, SCORE),
        Task(f"{long} of {SMALL[1]}p: extract", "long", 1, EXTRACT, rare),
        Task(f"{long} of {SMALL[1]}p: score", "long", 1, SCORE),
        Task(f"{long} of 1080p: score", "long-large", 1, SCORE),
        Task("few short clips: extract", "few", FEW, EXTRACT, ("speed=fast",)),
        Task("many short clips: extract", "many", args.short, EXTRACT, ("speed=fast",)),
    ]


def measured(task: Task, folder: Path) -> dict[str, object]:
    """Peak MiB and processor seconds a clip, without those that a run of no clip takes."""
    from benchmarks.timing import say

    mib, seconds = spent(task, folder / task.folder)
    idle = spent(task, folder / "nothing")[1]
    seconds = max(seconds - idle, 0.0) / task.clips
    say(f"{task.name}: {mib:.0f} MiB, {seconds:.3f} s a clip")
    return {"run": task.name, "clips": task.clips, "mib": mib, "seconds": seconds}


def spent(task: Task, clips: Path) -> tuple[float, float]:
    """(peak MiB, processor seconds) of a run on these clips."""
    from benchmarks.memory import measure

    before = processor_seconds()
    with tempfile.TemporaryDirectory() as out:
        place = ["--output", f"{out}/s.csv"] if task.script == SCORE else [f"{out}/crops"]
        mib = measure(task.script, str(clips), *place, *task.options, "--workers", "0", "--device", "cpu")
    return mib, processor_seconds() - before


def processor_seconds() -> float:
    """Of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def make_clips(folder: Path, args: argparse.Namespace) -> None:
    """Folders of clips: large, few, many and both long ones; and nothing, a clip of one frame, by which a run
    begins."""
    from benchmarks.inputs import cut_clip, hd_clip

    sources = {
        "large": (hd_clip()[0], args.large), "few": (cut_clip(3, SMALL), FEW),
        "many": (cut_clip(3, SMALL), args.short), "nothing": (cut_clip(1, SMALL), 1),
    }  # fmt: skip
    for name, (source, count) in sources.items():
        (folder / name).mkdir()
        for number in range(count):
            os.symlink(source.resolve(), folder / name / f"{number:05}.mp4")
    for name, source in (("long", cut_clip(30 * SECONDS, SMALL)), ("long-large", hd_clip()[0])):
        (folder / name).mkdir()
        repeat(source, folder / name / "long.mp4", 60 * args.minutes // SECONDS)


def repeat(source: Path, path: Path, times: int) -> None:
    """A clip whose packets are those of another, over and over; nothing is decoded."""
    import av

    with av.open(str(path), "w") as target:
        stream = None
        for number in range(times):
            with av.open(str(source)) as clip:
                video = clip.streams.video[0]
                stream = stream or target.add_stream_from_template(video)
                for packet in clip.demux(video):
                    if packet.size:
                        packet.pts += number * video.duration
                        packet.dts += number * video.duration
                        packet.stream = stream
                        target.mux(packet)


if __name__ == "__main__":
    sys.exit(main())
