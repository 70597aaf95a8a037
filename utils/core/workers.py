"""Where a work on many files is done: in this process, in workers of this machine, or on a cluster.

Each has `ready()`, which loads what is needed and returns what the work says of itself, and
`run(items, progress)`, the outcomes; `utils.core.crew` says what a work is.
"""

from __future__ import annotations

import argparse
from collections.abc import Hashable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from utils.core.crew import Crew, Progress
from utils.core.errors import ConfigError

if TYPE_CHECKING:
    from utils.core.cluster import Cluster

FEW = 1  # a single clip isn't worth the seconds in which a worker loads torch anew


class Here:
    """This process: a file that crashes or hangs its reader takes the whole run with it."""

    def __init__(self, work: Any):
        self.work, self.frames, self.progress = work, 0, None

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None: ...

    def ready(self) -> Any:
        self.work.open()
        return self.work.about

    def run(self, items: Sequence[Hashable], progress: Progress = lambda part, frames: None) -> Iterator[Any]:
        self.progress = progress
        for _, outcome in self.work.session(items, self):
            yield outcome

    def begun(self, item: Hashable, media: object) -> None: ...

    def part(self, done: float, frames: int) -> None:
        self.frames += frames
        self.progress(done, self.frames)


def add_options(parser: argparse.ArgumentParser) -> None:
    """--workers, --video-timeout and --dask."""
    add = parser.add_argument
    add(
        "--workers", metavar="N", type=whole,
        help="worker processes, so that a file which crashes its decoder costs itself alone; 0: this process "
        "(default: 1 for two files or more and with --video-timeout, else 0)",
    )  # fmt: skip
    add(
        "--video-timeout", metavar="S", type=seconds,
        help="with workers: give up a file after S seconds (default: after 5 minutes, and as many as it "
        "lasts, without a new frame)",
    )  # fmt: skip
    add("--dask", metavar="ADDRESS", help="do it on the cluster of this Dask scheduler, as tcp://host:8786")


def place_for(args: argparse.Namespace, work: Any, files: int, one: bool = False) -> Here | Crew | Cluster:
    """Where the work on so many files is done, as the options say. A context that ends what it starts.

    one: it can be done in this process alone. Raises ConfigError where the options ask for others.
    """
    if one and (args.workers or args.dask or args.video_timeout):
        options = "--workers, --video-timeout and --dask"
        raise ConfigError(f"time_budget_s is kept by one process: leave out {options}")
    if args.workers == 0 and args.video_timeout and not args.dask:
        raise ConfigError("--video-timeout ends a worker process: leave out --workers 0")
    if args.workers is not None and args.dask:
        raise ConfigError("--dask has its own workers: leave out --workers")
    if args.dask:
        from utils.core.cluster import Cluster

        return Cluster(work, args.dask, args.video_timeout)
    workers = args.workers
    if workers is None:
        workers = int((files > FEW or args.video_timeout is not None) and not one)
    return Crew(work, workers, args.video_timeout) if workers else Here(work)


def whole(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ValueError
    return number


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def seconds(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise ValueError
    return number


# what argparse says they are
whole.__name__, positive.__name__ = "number (0 or more)", "number (1 or more)"
seconds.__name__ = "number of seconds"
