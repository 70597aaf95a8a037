"""Judging clips as works that this process, a worker or a cluster does: a clip in, an answer out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from time import process_time
from typing import Any

import numpy as np

from utils.core.console import FilesBar
from utils.core.device import one_of_several, pick_device
from utils.core.errors import DataError, MediaError
from utils.core.workers import place_for
from utils.evaluation.clip_tables import clip_figures
from utils.evaluation.clips import LabelledClip, VariantFrames, clip_faces, face_scores
from utils.evaluation.pairs import RULES, Pair, Scored, make_pair
from utils.evaluation.report_tables import Table
from utils.faces.people import PeopleDetector
from utils.faces.upright import detector_of
from utils.faces.video import FrameReader
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import build, frames_of, score_media


@dataclass(frozen=True)
class Answer:
    """What a work found of a clip, or why it found nothing."""

    clip: LabelledClip
    found: Any = None
    failure: str = ""


class ClipWork(ABC):
    """What the works on clips have in common; see `utils.core.crew`. config: of submission."""

    about = ""

    def __init__(self, config: SubmissionConfig, device: str = "auto"):
        self.config, self.device = config, device

    def open(self, number: int = 0, threads: int | None = None) -> None:
        """Load the networks. Raises ConfigError, WeightsError."""
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self.load(one_of_several(self.device, number))

    def load(self, device: str) -> None:
        self.detector, self.ensemble = build(self.config, device)

    def session(self, clips: Sequence[LabelledClip], heard) -> Iterator[tuple[LabelledClip, Answer]]:
        for clip in clips:
            heard.begun(clip, FrameReader(clip.path))
            try:
                yield clip, Answer(clip, self.judge(clip, lambda part: heard.part(part, 1)))
            except MediaError as error:
                yield clip, self.lost(clip, str(error))

    @abstractmethod
    def judge(self, clip: LabelledClip, tell) -> Any:
        """What is found of a clip. tell: hears which part of it is done. Raises MediaError, WeightsError."""

    def lost(self, clip: LabelledClip, reason: str) -> Answer:
        return Answer(clip, failure=reason)


class Variants(ClipWork):
    """Of each clip its figures in each variant, by name."""

    def __init__(self, config: SubmissionConfig, device: str, variants: Sequence[str]):
        super().__init__(config, device)
        self.variants = variants

    def judge(self, clip: LabelledClip, tell) -> dict[str, dict]:
        rows = {}
        for variant in self.variants:

            def tick() -> None:
                tell(len(rows) / len(self.variants))

            frames = VariantFrames(clip.path, variant, self.config, tick)
            scores = face_scores(frames, self.detector, self.ensemble, self.config.face_limit, tick)
            rows[variant] = clip_figures(scores, clip.label)
        return rows


class BothRules(ClipWork):
    """Of each clip, or pair, which it makes first, {rule: (result, seconds of the processor)}."""

    def load(self, device: str) -> None:
        detector, self.ensemble = build(replace(self.config, faces="largest"), device)
        self.detectors = dict(zip(RULES, (detector, PeopleDetector(detector)), strict=True))

    def judge(self, clip: LabelledClip, tell) -> dict[str, Scored]:
        with TemporaryDirectory() as folder:
            path = clip.path
            if isinstance(clip, Pair):
                path = make_pair(clip, Path(folder, "pair.mp4"), lambda: tell(0.0))
            return {rule: self._score(path, rule, tell) for rule in RULES}

    def _score(self, path: Path, rule: str, tell) -> Scored:
        config, began = replace(self.config, faces=rule), process_time()
        [result] = score_media([path], self.detectors[rule], self.ensemble, config, lambda done: tell(0.5))
        if result.reason:
            raise MediaError(result.reason)
        return Scored(result, process_time() - began)


class Faces(ClipWork):
    """Of each clip the largest face, aligned, uint8 RGB (320, 320, 3), of each frame that the config judges.

    With faces = "all", too: what a face set is made of are faces, not persons.
    """

    def load(self, device: str) -> None:
        self.detector = detector_of(self.config, pick_device(device))

    def judge(self, clip: LabelledClip, tell) -> list[np.ndarray]:
        frames = frames_of(clip.path, self.config)
        return clip_faces(frames, self.detector, self.config.face_limit, lambda: tell(0.5))


def answers(place, clips: Sequence[LabelledClip]) -> dict[LabelledClip, Answer]:
    """What a place, where a work is done and which is ready, answers of the clips, in their order.

    Says which clips can't be judged.
    """
    found, bar = {}, FilesBar(len(clips))
    try:
        for answer in place.run(clips, lambda part, frames: bar.show(len(found) + part)):
            found[answer.clip] = answer
            if answer.failure:
                bar.say(f"{answer.clip.path}: not judged: {answer.failure}")
            bar.show(len(found))
    finally:
        bar.close()
    return {clip: found[clip] for clip in clips}


def parted(found: dict[LabelledClip, Answer]) -> tuple[dict[LabelledClip, Any], dict[str, str]]:
    """What was found of clips; and why others, by their names, can't be judged: DataError if that is all."""
    failed = {clip.name: answer.failure for clip, answer in found.items() if answer.failure}
    if found and len(failed) == len(found):
        clip, answer = next(iter(found.items()))
        raise DataError(f"none of {len(found)} clips can be judged; {clip.path}: {answer.failure}")
    return {clip: answer.found for clip, answer in found.items() if not answer.failure}, failed


def failures_table(failed: dict[str, str]) -> list[Table]:
    """The table of clips that no other has; none where there are none."""
    return [Table(["clip", "not judged"], [list(row) for row in failed.items()])] if failed else []


class ReadClips:
    """Gives the faces of clips, found where options say; failed: why those without can't be read, by name.

    arguments: with workers, video_timeout and dask.
    """

    def __init__(self, config: SubmissionConfig, device: str, arguments: Namespace):
        self.config, self.device, self.arguments = config, device, arguments
        self.failed: dict[str, str] = {}

    def __call__(self, paths: Sequence[Path]) -> list[list[np.ndarray]]:
        clips = [LabelledClip(path, 0, path.name) for path in paths]
        with place_for(self.arguments, Faces(self.config, self.device), len(clips)) as place:
            place.ready()
            found, failed = parted(answers(place, clips))
        self.failed |= failed
        return [found.get(clip, []) for clip in clips]
