"""Clips of two people, made of clips of one each that are laid side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, permutations
from pathlib import Path

import cv2
import numpy as np

from utils.evaluation.clips import LabelledClip, unheard, write_h264
from utils.faces.frames import RATE
from utils.faces.video import FrameReader
from utils.scoring.aggregate import Result

RULES = ("largest", "all")
HEIGHT = 480  # pixels of a pair
LENGTH = 5  # seconds of it, or those of the shorter clip
RATE_FACTOR = 18  # of its H.264, hardly seen


@dataclass(frozen=True)
class Scored:
    """What a rule says of a clip, and how many seconds of the processor that took."""

    result: Result
    took: float


@dataclass(frozen=True)
class Pair(LabelledClip):
    """A clip that is yet to be made of two, the left one and the right one."""

    parts: tuple[Path, ...] = ()


def start_of(path: Path) -> Iterator[np.ndarray]:
    """The first LENGTH seconds of a clip: (HEIGHT, W, 3) uint8 BGR, RATE a second."""
    return map(scaled, islice(evenly_in_time(path), int(LENGTH * RATE)))


def evenly_in_time(path: Path) -> Iterator[np.ndarray]:
    """The frames of a clip, RATE a second, whatever its own rate is."""
    reader = FrameReader(path)
    own = reader.announced / reader.duration if reader.duration and reader.announced else RATE
    given = 0
    for number, frame in reader:
        while given * own / RATE < number + 1:
            given += 1
            yield frame


def scaled(image: np.ndarray) -> np.ndarray:
    """To HEIGHT, its width even."""
    height, width = image.shape[:2]
    size = max(2, round(width * HEIGHT / height / 2) * 2), HEIGHT
    how = cv2.INTER_AREA if height > HEIGHT else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=how)


def pairs_of(clips: Sequence[LabelledClip]) -> list[Pair]:
    """Every two clips, in both orders, unless both are fake; a pair is fake if one of it is."""
    orders = [pair for pair in permutations(clips, 2) if not all(clip.label for clip in pair)]
    return [
        Pair(left.path, max(left.label, right.label), f"{left.name} + {right.name}", "pair",
             (left.path, right.path))
        for left, right in orders
    ]  # fmt: skip


def make_pair(pair: Pair, path: Path, tick: Callable[[], None] = unheard) -> Path:
    """Write a pair's clips side by side there. tick: told of each frame. Raises MediaError."""
    images = zip(*map(start_of, pair.parts), strict=False)
    write_h264((np.hstack(both) for both in images if tick() is None), path, RATE_FACTOR)
    return path
