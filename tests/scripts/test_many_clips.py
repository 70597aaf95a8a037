"""Thousands of clips in one folder: memory, open files and time for each stay; listing them costs little."""

import builtins
import io
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from clips import write_clip
from kills import extract, score, start
from small_config import write_config
from submissions import rows

from utils.data.crops import Settings, plan_jobs, split_jobs
from utils.scoring.record import record_path, rows_in
from utils.scoring.scorer import files_in
from utils.scoring.submission import name_files

ASK_THE_DISK = [
    (os, "stat"), (os, "lstat"), (os, "listdir"), (os, "scandir"), (io, "open"), (builtins, "open"),
]  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """What a process has at a moment: resident MB, open files; processor seconds, clips done so far."""

    megabytes: int
    files: int
    seconds: float
    done: int


def watch(process, done) -> list[Sample]:
    """A sample each second until the process ends; done: says how many clips are."""
    seen, page, ticks = [], os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    while process.exitcode is None:
        try:
            folder = Path(f"/proc/{process.pid}")
            pages = int((folder / "statm").read_text().split()[1])
            used = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
            files = len(os.listdir(folder / "fd"))
            seen.append(Sample(pages * page >> 20, files, sum(map(int, used)) / ticks, done()))
        except (FileNotFoundError, PermissionError):
            break
        process.join(1)
    process.join()
    return seen


def cost(samples) -> float:
    """Processor seconds of a clip."""
    return (samples[-1].seconds - samples[0].seconds) / (samples[-1].done - samples[0].done)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("work", [score, extract])
def test_memory_open_files_and_time_are_flat(tmp_path, weights, work, count=5000):
    """In one process, which is watched. Of the time more is allowed than the noise of a busy machine."""
    clip = write_clip(tmp_path / "clip.mp4", 3)
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    out.mkdir()
    for number in range(count):
        os.link(clip, videos / f"{number:05}.mp4")
    conf = write_config(tmp_path / "conf.py", weights, frame_stride=1)
    command = (videos, "--config", conf, "--output", out / "o.csv") if work is score else (videos, out)

    def done() -> int:
        return rows_in(record_path(out / "o.csv")) if work is score else len(os.listdir(out))

    began = time.monotonic()
    process = start(work, *command, "--workers", 0, log=tmp_path / "log.txt")
    seen = [sample for sample in watch(process, done) if sample.done]
    assert process.exitcode == (1 if work is score else 0), (tmp_path / "log.txt").read_text()[-2000:]
    early, late = seen[len(seen) // 5 : len(seen) * 2 // 5], seen[len(seen) * 4 // 5 :]
    (mb, files, each), after = (
        (max(sample.megabytes for sample in part), max(sample.files for sample in part), cost(part))
        for part in (early, late)
    )
    print(f"{work.__name__}: {count} clips, {time.monotonic() - began:.0f} s; {mb, files, each} -> {after}")
    assert after[0] <= mb + 64 and after[1] <= files + 4 and after[2] <= 1.2 * each
    if work is score:
        assert len(rows(out / "o.csv")) == count + 1
    else:
        assert len(list(out.glob("*/faces.csv"))) == count


def make_empty_clips(folder: Path, count: int) -> Path:
    """Of each name two, in two folders."""
    for place in ("a", "b"):
        (folder / place).mkdir(parents=True)
        for number in range(count // 2):
            (folder / place / f"{number}.mp4").touch()
    return folder


def list_all(folder: Path, count: int) -> None:
    """What extraction and scoring do before they read the first clip."""
    files, left_out = files_in([folder])
    names = name_files(files)
    jobs, complete, refused = split_jobs(plan_jobs(folder, list(files), folder / "out"), Settings())
    assert len(files) == len(set(names.values())) == len(jobs) == count
    assert not left_out and not complete and not refused


def test_the_disk_is_asked_a_few_times_for_each_name(tmp_path, monkeypatch, count=20_000):
    folder, asked = make_empty_clips(tmp_path, count), []

    def counted(whole: Callable) -> Callable:
        def call(*arguments, **options):
            asked.append(whole)
            return whole(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for module, name in ASK_THE_DISK:
            patch.setattr(module, name, counted(getattr(module, name)))
        list_all(folder, count)
    assert count <= len(asked) <= 6 * count
    shutil.rmtree(folder)  # which pytest would keep for the next runs


def test_many_names_are_listed_in_linear_cost(tmp_path):
    """Counted in calls; sorting takes n log n of them."""
    calls = []
    for count in (300, 3000):
        folder = make_empty_clips(tmp_path / str(count), count)
        calls.append(0)

        def note(_, event: str, __) -> None:
            calls[-1] += event in ("call", "c_call")

        sys.setprofile(note)
        try:
            list_all(folder, count)
        finally:
            sys.setprofile(None)
    assert calls[1] <= 15 * calls[0]
