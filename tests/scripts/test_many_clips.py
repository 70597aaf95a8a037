"""Thousands of short clips in one folder: memory and open files stay as they are after the first hundreds."""

import os
import time
from pathlib import Path

import pytest
from clips import write_clip
from kills import extract, score, start
from small_config import write_config
from submissions import rows


def watch(process) -> list[tuple[int, int]]:
    """(resident MB, open files) of a process, each second until it ends."""
    seen = []
    while process.exitcode is None:
        try:
            folder = Path(f"/proc/{process.pid}")
            pages = int((folder / "statm").read_text().split()[1])
            seen.append((pages * os.sysconf("SC_PAGE_SIZE") >> 20, len(os.listdir(folder / "fd"))))
        except (FileNotFoundError, PermissionError):
            break
        process.join(1)
    process.join()
    return seen


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc")
@pytest.mark.parametrize("work", [score, extract])
def test_memory_and_open_files_are_flat(tmp_path, weights, work, count=5000):
    clip = write_clip(tmp_path / "clip.mp4", 3)
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    out.mkdir()
    for number in range(count):
        os.link(clip, videos / f"{number:05}.mp4")
    conf = write_config(tmp_path / "conf.py", weights, frame_stride=1)
    command = (videos, "--config", conf, "--output", out / "o.csv") if work is score else (videos, out)
    began = time.monotonic()
    process = start(work, *command, log=tmp_path / "log.txt")
    seen = watch(process)
    assert process.exitcode == (1 if work is score else 0), (tmp_path / "log.txt").read_text()[-2000:]
    early, late = seen[len(seen) // 5 : len(seen) * 2 // 5], seen[len(seen) * 4 // 5 :]
    before, after = ([max(column) for column in zip(*part, strict=True)] for part in (early, late))
    print(f"{work.__name__}: {count} clips, {time.monotonic() - began:.0f} s; MB, files {before} -> {after}")
    assert after[0] <= before[0] + 64 and after[1] <= before[1] + 4
    if work is score:
        assert len(rows(out / "o.csv")) == count + 1
    else:
        assert len(list(out.glob("*/faces.csv"))) == count
