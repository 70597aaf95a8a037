"""How many threads decode, on a device that is faster than one of them."""

import os

import pytest
import torch

from utils.core import device as devices
from utils.data.crops import Job, Settings
from utils.data.extraction import Extractor
from utils.faces import decoder
from utils.faces.decoder import MOST_THREADS
from utils.faces.stream import limits_for
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import score_media


@pytest.fixture
def cores(monkeypatch):
    """Sets how many processor cores there are."""
    monkeypatch.setattr(devices, "GPU_TYPES", {"cpu"})
    return lambda count: monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(count)))


@pytest.mark.parametrize("count, clips, decoders, threads", [
    (16, 0, 16, 1), (16, 16, 16, 1), (16, 1000, 16, 1), (16, 8, 8, 2), (16, 5, 5, 3),
    (16, 1, 1, MOST_THREADS), (64, 0, 16, 4), (2, 3, 2, 1), (1, 1, 1, 1)])  # fmt: skip
def test_the_cores_are_shared_by_the_clips_that_are_read_at_once(cores, count, clips, decoders, threads):
    cores(count)
    limits = limits_for("cpu", 8, clips)
    assert (limits.decoders, limits.threads) == (decoders, threads)
    assert limits.decoders * limits.threads <= count


class Blind:
    """A detector that finds nothing."""

    device = torch.device("cpu")

    def detect(self, frames, tracks):
        return [None] * len(frames)


def extracted(clips, folder):
    jobs = [Job(clip, folder / str(number)) for number, clip in enumerate(clips)]
    return Extractor(Blind(), Settings(every=30), 1, 8).run(jobs, lambda done: None).frames


def scored(clips, _):
    results = score_media(clips, Blind(), None, SubmissionConfig(frame_stride=30))
    return sum("no face" in result.reason for result in results)


@pytest.mark.parametrize("work, done", [(extracted, 4), (scored, 2)])
def test_decoders_get_their_share(cores, clip, tmp_path, monkeypatch, work, done):
    cores(6)
    given, prepare = [], decoder.prepare
    monkeypatch.setattr(decoder, "prepare", lambda *said: given.append(said[-1]) or prepare(*said))
    assert work([clip, clip], tmp_path) == done
    assert given == [3, 3]
