"""Extraction: frames of several videos share a batch."""

import cv2
import numpy as np

from utils.data.crops import Job
from utils.data.extraction import read_batches


def test_batches_hold_so_many_frames_and_pixels_across_videos(clip, tmp_path):
    for number in range(7):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((50, 100, 3), np.uint8))
    (tmp_path / "bad.png").write_bytes(b"x")
    jobs = [Job(path, tmp_path) for path in sorted(tmp_path.iterdir())]
    assert [len(batch.frames) for batch in read_batches(jobs, 1, 3, 10**9)] == [3, 3, 1]
    assert [len(batch.frames) for batch in read_batches(jobs, 1, 99, 10_000)] == [2, 2, 2, 1]
    ended = [video for batch in read_batches(jobs, 1, 3, 10**9) for video in batch.ended]
    assert [video.job for video in ended] == jobs
    assert [video.error is None for video in ended] == [True] * 7 + [False]
    frames = [
        index for batch in read_batches([Job(clip, tmp_path)], 9, 3, 10**9) for _, index, _ in batch.frames
    ]
    assert frames == list(range(8, 72, 9))
