"""From videos to probabilities: a stream of faces -> batches over clips -> ensemble -> mean over a clip.

from utils.scoring.scorer import score
table = score("clip.mp4")                                   # bundled weights
table = score(["folder", "clip.mp4"], "submission-conf/wm.py", device="cuda")
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from operator import length_hint
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.core.config import ROOT, load_config
from utils.core.device import pick_device
from utils.core.errors import UserError, WeightsError
from utils.core.names import shown
from utils.core.shortage import reserve_memory
from utils.faces.config import PACKAGE_WEIGHTS
from utils.faces.frames import SpreadFrames, StrideFrames
from utils.faces.people import PeopleDetector
from utils.faces.stream import Clip, Detector, FoundFace, Step, face_stream, limits_for, seconds_of
from utils.faces.upright import detector_of
from utils.faces.video import FrameReader, find_media
from utils.scoring.aggregate import Detail, FaceScores, Result, SeenFace
from utils.scoring.budget import Budget, budget_of
from utils.scoring.calibrated import ScoreCalibration, calibration_of
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import NOT_FINITE, Ensemble, build_ensemble
from utils.scoring.people import by_frame, eye_distance, faces_to_judge
from utils.scoring.submission import name_files

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ["filename", "label", "faces", "reason", "path", "first", "last", "duration", "people"]
BUNDLED = ROOT / "submission-conf" / "bundled.py"


class _Batches:
    """Faces of clips that come side by side, scored in batches, in the clips' order.

    So what is in a batch depends on the clips alone, not on which of them was decoded first. limit: of a
    clip's faces, which wait until it has ended so that its people can be told apart; None: each is scored.
    across: batches run across clips, which a GPU gains by; else each is of one clip, which is scored as soon
    as it has ended.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        size: int,
        calibration: ScoreCalibration | None = None,
        keep: int | None = None,
        limit: int | None = None,
        across: bool = True,
    ):
        self.ensemble, self.size, self.calibration, self.keep = ensemble, size, calibration, keep
        self.limit, self.across = limit, across
        self.found: dict[Clip, list[FoundFace]] = {}  # with a limit: of those that haven't ended
        self.clips: dict[Clip, FaceScores] = {}  # whose result is still to come, in their order
        self.crops: dict[Clip, list[np.ndarray]] = {}  # of those that have to wait for their turn
        self.faces: deque[tuple[FaceScores, np.ndarray]] = deque()  # whose turn it is

    def take(self, step: Step) -> Iterator[Result]:
        """Score what a step brought, as far as it fills batches; the results that are complete with them."""
        for clip in step.begun:
            detail = None if self.keep is None else Detail(self.keep)
            self.clips[clip], self.crops[clip] = FaceScores(clip.source, detail=detail), []
        for clip, found in step.faces:
            if self.limit is not None:
                self.found.setdefault(clip, []).append(found)
                continue
            self._give(clip, found)
            if found.face.people is not None:
                self.clips[clip].people.append(found.face.people)
        if self.keep is not None:
            note_frames(step, self.clips)
        for clip in step.ended:
            self._choose(clip)
            end(self.clips[clip], clip)
        for clip in list(self.crops):
            self.faces.extend((self.clips[clip], crop) for crop in self.crops[clip])
            self.crops[clip].clear()
            if self.clips[clip].expected is None:
                break
            del self.crops[clip]
            while self.faces and not self.across:
                self._score()
        while len(self.faces) >= self.size:
            self._score()
        yield from self._complete()

    def _give(self, clip: Clip, found: FoundFace, person: int | None = None) -> None:
        """A face of a clip, to be scored when it is its turn."""
        self.crops[clip].append(found.crop[:, :, ::-1])  # BGR -> RGB
        scores = self.clips[clip]
        scores.note(found.seconds, eye_distance(found.face), person)
        if scores.detail is not None:
            scores.detail.faces.append(seen_face(clip, found, person))

    def _choose(self, clip: Clip) -> None:
        """Of a clip that has ended, the faces to be scored, if people are told apart."""
        found = self.found.pop(clip, [])
        self.clips[clip].people += [len(faces) for faces in by_frame(found)]
        for chosen in faces_to_judge(found, clip.limit or self.limit) if found else ():
            self._give(clip, chosen.found, chosen.person)

    def rest(self) -> Iterator[Result]:
        """Score what is left, a last batch that need not be whole."""
        while self.faces:
            self._score()
        yield from self._complete()

    def part_of_oldest(self, limit: int) -> float:
        """How far the oldest clip without a result is, 0..1: by its faces, or by its frames."""
        clip = next(iter(self.clips), None)
        if clip is None:
            return 0.0
        expected = clip.frames.expected
        return min(max(clip.found / limit, clip.looked_at / expected if expected else 0.0), 0.99)

    def _score(self) -> None:
        batch = [self.faces.popleft() for _ in range(min(self.size, len(self.faces)))]
        by_network = self.ensemble.predict_each(np.stack([crop for _, crop in batch]))
        means = self.ensemble.mean(by_network)
        for (scores, crop), mean, each in zip(batch, means, by_network, strict=True):
            scores.add(mean, each, crop)

    def _complete(self) -> Iterator[Result]:
        while self.clips and (oldest := next(iter(self.clips.values()))).complete:
            del self.clips[next(iter(self.clips))]
            result = oldest.result(NOT_FINITE)
            yield result if self.calibration is None else self.calibration.result(result)


def score_media(
    files: Iterable[Path],
    detector: Detector,
    ensemble: Ensemble,
    config: SubmissionConfig,
    progress: Callable[[float], None] = lambda done: None,
    keep: int | None = None,
    budget: Budget | None = None,
    begun: Callable[[Path, StrideFrames | SpreadFrames], None] = lambda path, frames: None,
) -> Iterator[Result]:
    """Score videos and images, in their order; each result comes as soon as its faces are scored.

    detector: with faces="all" a `PeopleDetector`, as `build` gives it. Faces go through the networks in
    batches of `config.batch_size`, on a GPU across videos. A video's score is the mean over its faces, or the
    highest of its people's; one that can't be judged gets 0.5 and a reason, and never an exception.
    progress: told after each batch of frames how many files are done, the part of one included. keep: the
    results have a `Detail`, with the crops of so many faces either way; None = none of it. budget: of time,
    begun by the caller; None = one that begins now if the config sets it. begun: told of each file before it
    is read, maybe in another thread.
    """
    if budget is None and config.time_budget_s is not None:
        files = list(files)
        budget = budget_of(config, len(files))
    limits = limits_for(detector.device, config.frames_at_once, length_hint(files))
    if budget is not None:  # how many faces there is time for is told as a clip is begun: not long before
        limits = replace(limits, clips=min(limits.clips, 2 * limits.decoders))

    def clips() -> Iterator[Clip]:
        for path in files:
            clip = clip_of(path, config, limits.threads, budget)
            clip.begun = partial(begun, path, clip.frames)
            yield clip

    limit = config.face_limit if config.faces == "all" else None
    batches = _Batches(ensemble, config.batch_size, calibration_of(config), keep, limit, limits.across)
    done = 0
    with closing(face_stream(clips(), detector, config.face_limit, limits)) as stream:
        for step in stream:
            for result in batches.take(step):
                done += 1
                if budget is not None:
                    budget.done(result.path)
                yield result
            progress(done + batches.part_of_oldest(config.face_limit))
    yield from batches.rest()


def clip_of(path: Path, config: SubmissionConfig, threads: int | None, budget: Budget | None) -> Clip:
    """A file as the config has it judged, by as many faces as a budget has time for."""
    limit = config.face_limit if budget is None else budget.limit_for(path)
    return Clip(frames_of(path, config, threads, limit), path, limit)


def frames_of(
    path: Path, config: SubmissionConfig, threads: int | None = None, limit: int | None = None
) -> StrideFrames | SpreadFrames:
    """The frames of a file that the config has judged; threads: of the decoder, None = as it likes; limit: of
    faces, if it isn't the config's."""
    reader = FrameReader(path, config.frame_stride, threads)
    if config.frames == "spread":
        return SpreadFrames(reader, limit or config.face_limit)
    return StrideFrames(reader)


def note_frames(step: Step, clips: Mapping[Clip, FaceScores]) -> None:
    """Note how many frames a step searched, and when those without a face are seen."""
    for clip in step.searched:
        clips[clip].detail.looked_at += 1
    for clip, index in step.missed:
        clips[clip].detail.missed.append(seconds_of(clip, index))


def seen_face(clip: Clip, found: FoundFace, person: int | None = None) -> SeenFace:
    """Where a face of a clip is seen."""
    box = tuple(float(edge) for edge in found.face.box)
    number = clip.frames.number_of(found.index)
    return SeenFace(number, found.seconds, box, eye_distance(found.face), person)


def end(scores: FaceScores, clip: Clip) -> None:
    """Note what is known of a clip now that no more faces of it are to come."""
    scores.expected = len(scores.eyes)
    scores.duration = clip.frames.duration if clip.found else None
    scores.warning = clip.warning or ""
    if clip.failure is not None:
        scores.reason = clip.failure
    elif not clip.found:
        scores.reason = f"no face found in {clip.looked_at} frame{'s' * (clip.looked_at != 1)}"
        if clip.warning:
            scores.reason += f" ({clip.warning})"


def score(
    paths: str | os.PathLike | Sequence[str | os.PathLike],
    config: SubmissionConfig | str | os.PathLike | None = None,
    device: str = "auto",
) -> pd.DataFrame:
    """The probability that the faces in videos and images are fake.

    paths: a file or a folder (searched recursively), or several; a file named twice is judged once.
    config: a SubmissionConfig, the path of a config file, or None for the bundled weights.
    device: "auto", "cpu", "cuda" or "cuda:1".

    Returns a row a file, in the order of `paths`: filename (base name; relative path where two share it),
    label (probability in [0, 1] of being fake, 0.5 if it couldn't be judged), faces (how many were
    scored), reason (why it couldn't be judged, else ""), path, first, last (seconds at which the first and
    the last of the faces are seen), duration (of the clip; NaN = unknown), people (seen at once; the one with
    the largest face is judged, or with faces="all" each, of whom the highest counts). A truncated video,
    judged on what decodes, one of several people, and a budget of time too short for all faces give a Python
    warning. Raises UserError: nothing to judge, config or weights of no use.
    """
    import pandas as pd  # here: best-submission.py needs none, and it takes half a second to import

    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    files = files_in(map(Path, paths))[0]
    if not files:
        raise UserError(f"no video or image in {', '.join(map(str, paths)) or 'an empty list of paths'}")
    names = name_files(files)

    if not isinstance(config, SubmissionConfig):
        config = load_config(config or BUNDLED, SubmissionConfig)
    detector, ensemble = build(config, device)
    rows, budget = [], budget_of(config, len(files))
    for result in score_media(files, detector, ensemble, config, budget=budget):
        for said in filter(None, (result.warning, result.remark)):
            warnings.warn(shown(f"{result.path}: {said}"), stacklevel=2)
        known = result.probability, result.faces, result.reason, str(result.path)
        rows.append((names[result.path], *known, result.first, result.last, result.duration, result.people))
    if budget is not None and budget.fewer:
        warnings.warn(budget.summary(), stacklevel=2)
    return pd.DataFrame(rows, columns=COLUMNS)


def files_in(paths: Iterable[Path]) -> tuple[dict[Path, Path], list[Path]]:
    """{file: the folder it is named relative to}, each file once, and the others, which were left out."""
    files: dict[Path, Path] = {}
    left_out: list[Path] = []
    known: set[str] = set()  # one file may be named in two ways, from here and from the root
    for root in paths:
        found, others = find_media(root, skip_crops=True)
        left_out += others
        for path in found:
            if os.path.abspath(path) not in known:
                known.add(os.path.abspath(path))
                files[path] = root if root.is_dir() else root.parent
    return files, left_out


def check_files(config: SubmissionConfig) -> None:
    """Raises WeightsError, which names all weights files of the config that aren't there, and ConfigError."""
    calibration_of(config)
    named = [config.detector_weights, *(path for _, path, _ in config.ensemble)]
    missing = [path for path in dict.fromkeys(named) if path != PACKAGE_WEIGHTS and not Path(path).exists()]
    if missing:
        ours = any(Path(path).parent == ROOT / "external" for path in missing)
        hint = "; external/README.md says where to get them" if ours else ""
        raise WeightsError(f"no such weights file: {', '.join(missing)}{hint}")


def build(config: SubmissionConfig, device: str = "auto") -> tuple[Detector, Ensemble]:
    """The detector and classifiers that a config names, on one device. Raises ConfigError, WeightsError."""
    check_files(config)
    reserve_memory()
    where = pick_device(device)
    detector = detector_of(config, where)
    if config.faces == "all":
        detector = PeopleDetector(detector)
    return detector, build_ensemble(config, where)
