#!/usr/bin/env python3
"""Find the faces in videos and images and write them as aligned 320x320 crops.

  python make_dataset.py clip.mp4 crops/clip            every frame of one video
  python make_dataset.py videos/ crops/ --every 10      frames 9, 19, ... of each video below a folder

For each video: the largest face of each frame as <frame>.png, then faces.csv with boxes and landmarks.
The same command again does what is missing.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core.console import FilesBar, parse_mixed, rate_text, run
from utils.core.errors import ConfigError, UserError
from utils.core.files import try_folder
from utils.core.names import shown, some_of
from utils.core.shortage import disk_line, room_for_torch
from utils.core.workers import add_options, place_for, positive

if TYPE_CHECKING:
    from collections.abc import Iterable

    from utils.data.failures import Extracted
    from utils.scoring.config import SubmissionConfig

SHOWN_FAILURES = 20
# The keys of a submission config that the detector heeds; the others have no effect here.
DETECTOR_KEYS = (
    "detector", "detector_weights", "detect_size", "track", "turn", "score_threshold", "precision",
    "runtime", "batch_size", "detect_batch",
)  # fmt: skip
EPILOG = """\
examples:
  python make_dataset.py clip.mp4 crops/clip
  python make_dataset.py videos/ /data/crops --every 10 --workers 4
  python make_dataset.py videos/ /data/crops --config submission-conf/wm.py
  python make_dataset.py videos/ /data/crops speed=fast      several times as fast, landmarks a little off

exit codes: 0 something was done, 1 nothing could be done or the disk failed, 2 usage or config, 130 Ctrl-C,
143 SIGTERM, 129 SIGHUP"""


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options] INPUT OUT_DIR [key=value ...]",
        description="Find the faces in videos and images and write them as aligned 320x320 crops.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    writers = min(4, os.cpu_count() or 1)
    add = parser.add_argument
    add("--every", metavar="N", type=positive, default=1, help="frames N-1, 2N-1, ... (default 1: all)")
    add_options(parser)
    add("--writers", metavar="N", type=positive, default=writers, help=f"writing threads (default {writers})")
    add("--config", metavar="CONF", type=Path, help="a submission config (Python, run): its detector's keys")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default auto)")
    add("--only", metavar="SUFFIX", help="only files with this suffix, such as mp4, of a folder")
    add("--verbose", action="store_true", help="all that decides on the crops, before the work")
    args, paths, args.overrides = parse_mixed(parser, argv)
    missing = [name for name in ("INPUT", "OUT_DIR")[len(paths) :]]
    if missing:
        parser.error(f"{' and '.join(missing)} missing")
    if len(paths) > 2:
        parser.error(f"one INPUT and one OUT_DIR are taken; what is {paths[2]}?")
    args.input, args.out_dir = paths
    return args


def find_files(args: argparse.Namespace) -> list[Path]:
    """The input files, after a line about those that were left out."""
    from utils.faces.video import find_media

    files, left_out = find_media(args.input, skip_crops=True)
    if args.only and args.input.is_dir():
        suffix = "." + args.only.lower().lstrip(".")
        kept = [path for path in files if path.suffix.lower() == suffix]
        files, left_out = kept, [*left_out, *sorted({*files} - {*kept})]
    if not files:
        what = f"no .{args.only.lstrip('.')} file" if args.only else "no video or image"
        raise UserError(f"{args.input}: {what} in this folder ({len(left_out)} other files)")
    others = f" ({some_of(left_out)})" if left_out else ""
    count = f"{len(files)} to look at, {len(left_out)} other files left out"
    print(f"{shown(args.input)}: {count}{others}", flush=True)
    return files


def check_writable(out_dir: Path) -> None:
    """Make OUT_DIR and write to it once, before the model is loaded. Raises UserError."""
    try:
        try_folder(out_dir)
    except OSError as error:
        error.filename = out_dir
        raise UserError(f"can't write to {disk_line(error)}") from None


def read_config(args: argparse.Namespace):
    from utils.core.config import load_config
    from utils.scoring.config import SubmissionConfig

    for text in args.overrides:
        key, equals, _ = text.partition("=")
        if equals and key in SubmissionConfig.__dataclass_fields__ and key not in DETECTOR_KEYS:
            hint = "; use --every N" if key == "frame_stride" else ""
            raise ConfigError(f"command line: {key} has no effect on make_dataset.py{hint}")
    config = load_config(args.config, SubmissionConfig, args.overrides)
    settings = [f"{key}={getattr(config, key)!r}" for key in DETECTOR_KEYS]
    if args.verbose:
        print(", ".join([f"every={args.every}", *settings]), flush=True)
    return config


class ExtractionBar:
    """A bar over the files, and a line for each that fails or comes up short."""

    def __init__(self, total: int):
        self.bar = FilesBar(total)
        self.start = time.monotonic()
        self.told = [0, 0]

    def __call__(self, done: Extracted) -> None:
        for at, (kind, lines) in enumerate((("error", done.failures), ("warning", done.warnings))):
            for path, reason in lines[self.told[at] :]:
                self.bar.say(f"{kind}: {path}: {reason}")
            self.told[at] = len(lines)
        rate = rate_text(done.frames / max(time.monotonic() - self.start, 1e-3))
        whole = done.videos + len(done.failures)
        self.bar.show(whole + done.part, f"{done.crops} crops, {rate} frames/s")


def summarise(done: Extracted, complete: int, seconds: float) -> None:
    rate = rate_text(done.frames / max(seconds, 1e-3))
    print(f"{done.videos} done, {complete} skipped because complete, {len(done.failures)} failed")
    print(
        f"{done.crops} crops of {done.frames} frames in {seconds:.1f} s ({rate} frames/s); "
        f"{len(done.faceless)} without a face, {len(done.warnings)} cut short"
    )
    for path, reason in done.failures[:SHOWN_FAILURES]:
        print(f"  failed: {shown(path)}: {reason}")
    if len(done.failures) > SHOWN_FAILURES:
        print(f"  and {len(done.failures) - SHOWN_FAILURES} more")


def note_failures(args: argparse.Namespace, rows: Iterable[tuple[Path, str]], known: set[Path]) -> None:
    """Of a folder: bring `failures.csv` in OUT_DIR up to date, and say where it is.

    rows: (file, reason). known: the files of which this run knows whether they have one.
    """
    from utils.data.failures import update_failures

    if args.input.is_dir():
        rows = [(path.relative_to(args.input), reason) for path, reason in rows]
        path, count = update_failures(args.out_dir, rows, {path.relative_to(args.input) for path in known})
        if count:
            print(f"{path}: {count} file(s) that failed or hold no face, and why")


def extract(args: argparse.Namespace) -> int:
    from utils.core.lock import sole_run

    config = read_config(args)
    files = find_files(args)
    check_writable(args.out_dir)
    with sole_run(args.out_dir):
        return extract_files(args, config, files)


def extract_files(args: argparse.Namespace, config: SubmissionConfig, files: list[Path]) -> int:
    from utils.data.crops import Settings, is_faceless, plan_jobs, split_jobs
    from utils.data.failures import FACELESS, Extracted

    settings = Settings(
        args.every, config.detector, config.detector_weights, config.detect_size, config.track,
        config.score_threshold, config.detector_precision, config.turn,
    )  # fmt: skip
    jobs, complete, refused = split_jobs(plan_jobs(args.input, files, args.out_dir), settings)
    # a run that was killed has no row for those that it finished
    faceless = [(job.path, FACELESS) for job in complete if is_faceless(job)]
    known = {path for path, _ in refused} | {job.path for job in complete}
    for path, reason in refused:
        print(f"error: {shown(path)}: {reason}", file=sys.stderr)
    if not jobs:
        note_failures(args, [*refused, *faceless], known)
        print(f"nothing to do: {len(complete)} complete, {len(refused)} refused")
        return 0 if complete else 1

    room_for_torch()
    from utils.data.work import Extraction  # takes seconds, which a run with nothing to do needn't wait for

    work = Extraction(config, settings, args.device, args.writers)
    done = Extracted()
    with place_for(args, work, len(jobs)) as place:
        print(place.ready(), flush=True)
        progress = ExtractionBar(len(jobs))
        try:
            with closing(place.run(jobs, lambda part, frames: progress(done.at(part, frames)))) as outcomes:
                for outcome in outcomes:
                    done.add(outcome)
                    known.add(outcome.path)
                    progress(done)
        except BaseException:  # Ctrl-C, the disk, memory: passed on, after what can be said of it here
            progress.bar.close()
            done.failures[:0] = refused
            with suppress(OSError):  # a full disk is told of anyway
                note_failures(args, [*faceless, *done.rows], known)
            whole = f"{done.videos + len(complete)} of {len(files)}"
            print(f"stopped: {whole} are complete; the same command goes on from there", file=sys.stderr)
            raise
    progress.bar.close()
    done.failures[:0] = refused
    note_failures(args, [*faceless, *done.rows], known)
    summarise(done, len(complete), time.monotonic() - progress.start)
    return 0 if done.videos or complete else 1


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    logging.basicConfig(format="%(levelname)s: %(message)s")
    return run(lambda: extract(args), memory_advice="try detect_batch=1, or fewer --workers")


if __name__ == "__main__":
    sys.exit(main())
