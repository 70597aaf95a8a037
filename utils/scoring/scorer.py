"""From videos to probabilities: decode -> detect -> align -> batches of faces -> ensemble -> mean.

    from utils.scoring.scorer import score
    table = score("clip.mp4")                                   # bundled weights
    table = score(["folder", "clip.mp4"], "submission-conf/wm.py", device="cuda")
"""

from __future__ import annotations

import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from utils.core.config import ROOT, load_config
from utils.core.device import pick_device
from utils.core.errors import MediaError, UserError
from utils.faces.align import align_face
from utils.faces.detector import FaceDetector
from utils.faces.tracker import FaceTracker, Track, detector_of
from utils.faces.video import IMAGE_SUFFIXES, FrameReader, find_media
from utils.scoring.aggregate import UNDECIDED, Result
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import NOT_FINITE, Ensemble, build_ensemble
from utils.scoring.submission import name_files

if TYPE_CHECKING:
    import pandas as pd

BUNDLED = ROOT / "submission-conf" / "bundled.py"
# What is decoded and detected at once, so that memory depends on neither the video's length nor its size.
FRAMES_AT_ONCE = 8
PIXELS_AT_ONCE = 8 * 1080 * 1920
IMAGES_AT_ONCE = 16
VIDEOS_AT_ONCE = {"cpu": 1, "cuda": 4}  # decoded side by side: a GPU is faster than one thread decodes
Detector = FaceDetector | FaceTracker


@dataclass
class _Clip:
    """A video between detection and its score: how many faces it has, and what is known of them so far."""

    path: Path
    faces: int = 0
    reason: str = ""
    warning: str = ""
    probabilities: list[float] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return len(self.probabilities) == self.faces

    def result(self) -> Result:
        if not self.faces:
            return Result(self.path, UNDECIDED, 0, self.reason, self.warning)
        mean = float(np.mean(self.probabilities))
        if not np.isfinite(mean):
            return Result(self.path, UNDECIDED, self.faces, NOT_FINITE, self.warning)
        return Result(self.path, mean, self.faces, "", self.warning)


def take(
    frames: Iterator[tuple[int, np.ndarray]], count: int
) -> tuple[list[np.ndarray], MediaError | None]:
    """The next frames: `count` of them, fewer if they are large, none at the end of the video.

    And what ended them, if the decoder gave up: the frames before it are good.
    """
    chunk, pixels = [], 0
    try:
        for _, frame in frames:
            chunk.append(frame)
            pixels += frame.shape[0] * frame.shape[1]
            if len(chunk) >= count or pixels >= PIXELS_AT_ONCE:
                break
    except MediaError as error:
        return chunk, error
    return chunk, None


def face_crops(reader: FrameReader, detector: Detector, limit: int) -> tuple[list[np.ndarray], int]:
    """The first `limit` aligned faces of a video, and the number of frames that were looked at.

    Each is (320, 320, 3) uint8 RGB: the largest face of its frame; frames without a face don't count.
    The next frames are decoded while these are detected; at most one is read that isn't needed.
    Raises MediaError if nothing could be read; if the decoder gives up later, `reader.warning` says so.
    """
    crops: list[np.ndarray] = []
    looked_at, track = 0, Track()
    frames = iter(reader)
    with ThreadPoolExecutor(max_workers=1) as decoder, ExitStack() as at_the_end:
        # In the decoder's thread, after what it still reads: Ctrl-C can't close frames that are in use.
        at_the_end.callback(decoder.submit, frames.close)
        upcoming = decoder.submit(take, frames, min(FRAMES_AT_ONCE, limit))
        while len(crops) < limit:
            chunk, error = upcoming.result()
            if error is not None:
                if not looked_at and not chunk:
                    raise error
                reader.warning = str(error)
            if not chunk:
                break
            missing = limit - len(crops) - len(chunk)  # if each frame of the chunk holds a face
            upcoming = decoder.submit(take, frames, min(FRAMES_AT_ONCE, max(missing, 1)))
            looked_at += len(chunk)
            for frame, face in zip(chunk, detector.detect(chunk, [track] * len(chunk)), strict=True):
                crop = None if face is None else align_face(frame, face.landmarks)
                if crop is not None:
                    crops.append(crop[:, :, ::-1])  # BGR -> RGB
    return crops[:limit], looked_at


def open_clip(path: Path, detector: Detector, config: SubmissionConfig) -> tuple[_Clip, list[np.ndarray]]:
    """Read one video: its faces, or the reason why it can't be judged."""
    reader = FrameReader(path, every=config.frame_stride)
    try:
        crops, looked_at = face_crops(reader, detector, config.face_limit)
    except MediaError as error:
        return _Clip(path, reason=str(error)), []
    clip = _Clip(path, faces=len(crops), warning=reader.warning or "")
    if not crops:
        clip.reason = f"no face found in {looked_at} frame{'s' * (looked_at != 1)}"
        if clip.warning:
            clip.reason += f" ({clip.warning})"
    return clip, crops


def open_images(paths: Sequence[Path], detector: Detector) -> Iterator[tuple[_Clip, list[np.ndarray]]]:
    """Read images, as `open_clip` does a video; they are detected together, large ones fewer at once."""
    waiting: list[tuple[_Clip, np.ndarray | None]] = []
    pixels = 0
    for path in paths:
        try:
            [(_, frame)] = FrameReader(path)
            waiting.append((_Clip(path, reason="no face found in 1 frame"), frame))
            pixels += frame.shape[0] * frame.shape[1]
        except MediaError as error:
            waiting.append((_Clip(path, reason=str(error)), None))
        if pixels >= PIXELS_AT_ONCE or path == paths[-1]:
            faces = iter(detector.detect([frame for _, frame in waiting if frame is not None]))
            for clip, frame in waiting:
                face = None if frame is None else next(faces)
                crop = None if face is None else align_face(frame, face.landmarks)
                if crop is not None:
                    clip.faces, clip.reason = 1, ""
                yield clip, [] if crop is None else [crop[:, :, ::-1]]
            waiting, pixels = [], 0


def open_group(
    paths: Sequence[Path], detector: Detector, config: SubmissionConfig
) -> list[tuple[_Clip, list[np.ndarray]]]:
    """Read one of `groups`: a video, or images."""
    if paths[0].suffix.lower() in IMAGE_SUFFIXES:
        return list(open_images(paths, detector))
    return [open_clip(paths[0], detector, config)]


def groups(files: Iterable[Path]) -> Iterator[list[Path]]:
    """The files in their order: each video alone, images that follow each other together."""
    images: list[Path] = []
    for path in files:
        is_image = path.suffix.lower() in IMAGE_SUFFIXES
        if images and (not is_image or len(images) == IMAGES_AT_ONCE):
            yield images
            images = []
        if is_image:
            images.append(path)
        else:
            yield [path]
    if images:
        yield images


def open_all(
    files: Iterable[Path], detector: Detector, config: SubmissionConfig
) -> Iterator[tuple[_Clip, list[np.ndarray]]]:
    """Read all files, in their order, for a GPU some of them ahead in threads."""
    at_once = VIDEOS_AT_ONCE.get(detector.device.type, 1)
    if at_once == 1:
        for group in groups(files):
            yield from open_group(group, detector, config)
        return
    pool = ThreadPoolExecutor(at_once, thread_name_prefix="video")
    try:
        ahead: deque[Future] = deque()
        for group in groups(files):
            ahead.append(pool.submit(open_group, group, detector, config))
            if len(ahead) > at_once:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def score_media(
    files: Iterable[Path], detector: Detector, ensemble: Ensemble, config: SubmissionConfig
) -> Iterator[Result]:
    """Score videos and images, in their order; each result comes as soon as its faces are scored.

    Faces go through the networks in batches of `config.batch_size` that run across videos. A video's score
    is the mean over its faces; one that can't be judged gets 0.5 and a reason, and never an exception.
    """
    clips: deque[_Clip] = deque()  # in order, those whose result is still to come
    faces: deque[tuple[_Clip, np.ndarray]] = deque()  # not scored yet

    def run_batch() -> None:
        batch = [faces.popleft() for _ in range(min(config.batch_size, len(faces)))]
        probabilities = ensemble.predict(np.stack([crop for _, crop in batch]))
        for (clip, _), probability in zip(batch, probabilities, strict=True):
            clip.probabilities.append(float(probability))

    for clip, crops in open_all(files, detector, config):
        clips.append(clip)
        faces.extend((clip, crop) for crop in crops)
        while len(faces) >= config.batch_size:
            run_batch()
        while clips and clips[0].complete:
            yield clips.popleft().result()
    while faces:
        run_batch()
    while clips:
        yield clips.popleft().result()


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
    scored), reason (why it couldn't be judged, else ""), path. A truncated video is judged on what
    decodes, with a Python warning. Raises UserError: nothing to judge, config or weights of no use.
    """
    import pandas as pd  # here: best-submission.py needs none, and it takes half a second to import

    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    files: dict[Path, Path] = {}  # file -> the folder it is named relative to
    known: set[str] = set()  # one file may be named in two ways, from here and from the root
    for root in map(Path, paths):
        for path in find_media(root, skip_crops=True)[0]:
            if os.path.abspath(path) not in known:
                known.add(os.path.abspath(path))
                files[path] = root if root.is_dir() else root.parent
    if not files:
        raise UserError(f"no video or image in {', '.join(map(str, paths)) or 'an empty list of paths'}")
    names = name_files(files)

    if not isinstance(config, SubmissionConfig):
        config = load_config(config or BUNDLED, SubmissionConfig)
    detector, ensemble = build(config, device)
    rows = []
    for result in score_media(files, detector, ensemble, config):
        if result.warning:
            warnings.warn(f"{result.path}: {result.warning}", stacklevel=2)
        label, path = result.probability, str(result.path)
        rows.append((names[result.path], label, result.faces, result.reason, path))
    return pd.DataFrame(rows, columns=["filename", "label", "faces", "reason", "path"])


def build(config: SubmissionConfig, device: str = "auto") -> tuple[Detector, Ensemble]:
    """The detector and classifiers that a config names, on one device. Raises ConfigError, WeightsError."""
    where = pick_device(device)
    return detector_of(config, where), build_ensemble(config, where)
