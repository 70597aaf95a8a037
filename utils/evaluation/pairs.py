"""Clips of two people, made of clips of one each that are laid side by side; and both rules on them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, permutations
from pathlib import Path

import cv2
import numpy as np

from utils.core.console import Progress
from utils.core.errors import DataError
from utils.evaluation.clips import LabelledClip, write_h264
from utils.faces.frames import RATE
from utils.faces.video import FrameReader
from utils.scoring.aggregate import Result
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import build, score_media
from utils.scoring.verdict import Limits, verdict_on

RULES = ("largest", "all")
HEIGHT = 480  # pixels of a pair
LENGTH = 5  # seconds of it, or those of the shorter clip
RATE_FACTOR = 18  # of its H.264, hardly seen


@dataclass(frozen=True)
class Scored:
    """What a rule says of a clip: the result, the verdict's word ("" without limits), and seconds of work."""

    result: Result
    word: str
    took: float


def start_of(path: Path) -> list[np.ndarray]:
    """The first LENGTH seconds of a clip: (HEIGHT, W, 3) uint8 BGR, RATE a second."""
    return [scaled(frame) for frame in islice(evenly_in_time(path), int(LENGTH * RATE))]


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


def make_pairs(clips: Sequence[LabelledClip], folder: Path) -> list[LabelledClip]:
    """Every two clips side by side, in both orders, unless both are fake; a pair is fake if one of it is."""
    frames = {clip: start_of(clip.path) for clip in clips}
    orders = [pair for pair in permutations(clips, 2) if not all(clip.label for clip in pair)]
    pairs = []
    with Progress("pairs", len(orders)) as progress:
        for left, right in orders:
            name = f"{left.path.stem} + {right.path.stem}"
            path = folder / f"{name}.mp4"
            images = zip(frames[left], frames[right], strict=False)
            write_h264(map(np.hstack, images), path, RATE_FACTOR)
            pairs.append(LabelledClip(path, max(left.label, right.label), name, "pair"))
            progress.update(images=1)
    return pairs


def by_both_rules(
    clips: Sequence[LabelledClip], config: SubmissionConfig, limits: Limits | None, device: str
) -> dict[str, dict[str, Scored]]:
    """{clip's name: {rule: what it says}}. DataError naming a clip that can't be judged."""
    scored: dict[str, dict[str, Scored]] = {clip.name: {} for clip in clips}
    with Progress("clips", len(clips) * len(RULES)) as progress:
        for rule in RULES:
            chosen = replace(config, faces=rule)
            judges = build(chosen, device)
            for clip in clips:
                began = time.process_time()
                [result] = score_media([clip.path], *judges, chosen)
                if result.reason:
                    raise DataError(f"{clip.path}: {result.reason}")
                word = verdict_on(result, limits).word
                scored[clip.name][rule] = Scored(result, word, time.process_time() - began)
                progress.update(images=result.faces)
    return scored
