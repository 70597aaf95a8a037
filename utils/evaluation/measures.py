"""What an ensemble says of labelled aligned faces, plain and corrupted: figures, and their Markdown table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.core.console import Progress
from utils.core.errors import DataError, WeightsError
from utils.core.metrics import frame_metrics
from utils.data.crops import landmarks_of_crops
from utils.data.datasets import read_crop
from utils.data.lists import find_videos, limit_videos, read_json_list, read_list
from utils.evaluation.corruptions import CORRUPTIONS
from utils.evaluation.report_tables import Table
from utils.evaluation.scores import Judged, shown
from utils.scoring.ensemble import NOT_FINITE, Ensemble

# How far the nose lies beside the middle of eyes and mouth, in pixels of an aligned face: four in five of
# DFDC's faces are below the first, and most of those above the second show one cheek only.
TURNED, PROFILE = 12.0, 24.0


@dataclass(frozen=True)
class LabelledFaces:
    """N crops and their labels (N,), 1 = fake."""

    paths: list[Path]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.paths)

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, range]]:
        """uint8 RGB (B, 320, 320, 3) and their places; DataError for a crop that can't be read."""
        for start in range(0, len(self), size):
            places = range(start, min(start + size, len(self)))
            yield np.stack([self.face(place) for place in places]), places

    def face(self, place: int) -> np.ndarray:
        """One aligned face, uint8 RGB (320, 320, 3); DataError if it can't be read."""
        return read_face(self.paths[place])

    def judged(self, name: str, scores: np.ndarray) -> Judged:
        """Scores (N,) beside the labels; a video's faces belong together."""
        return Judged(name, self.labels, scores, [str(path.parent) for path in self.paths])

    def described(self) -> str:
        """How many there are of each kind."""
        fakes = int(self.labels.sum())
        return f"{len(self) - fakes} real and {fakes} fake faces"

    def groups(self) -> dict[str, np.ndarray]:
        """Places (n,) of parts of the faces that are worth a row of their own, by name: how far they turn.

        Faces whose landmarks are unknown are in no part. Parts that lack real or fake faces are left out, and
        a part of all faces.
        """
        turns = self.turns()
        places = {
            "frontal": np.flatnonzero(turns <= TURNED),
            "turned": np.flatnonzero((turns > TURNED) & (turns <= PROFILE)),
            "profile": np.flatnonzero(turns > PROFILE),
        }
        return {
            f"{name} ({len(part)} faces)": part
            for name, part in places.items()
            if len(part) < len(self) and len(set(self.labels[part])) == 2
        }

    def turns(self) -> np.ndarray:
        """How far each face turns (N,), see `turn`; NaN where its landmarks are unknown."""
        places: dict[Path, list[int]] = {}
        for place, path in enumerate(self.paths):
            places.setdefault(path.parent, []).append(place)
        turns = np.full(len(self), np.nan)
        with Progress("landmarks", len(places)) as progress:
            for part in places.values():
                found = landmarks_of_crops([self.paths[place] for place in part])
                turns[part] = [np.nan if landmarks is None else turn(landmarks) for landmarks in found]
                progress.update(images=len(part))
        return turns


def turn(landmarks: np.ndarray) -> float:
    """Pixels that the nose lies beside the middle of eyes and mouth; landmarks (5, 2) of an aligned face."""
    return abs(float(landmarks[2, 0] - np.delete(landmarks[:, 0], 2).mean()))


def read_face(path: Path) -> np.ndarray:
    """An aligned face, uint8 RGB (320, 320, 3); DataError if it can't be read."""
    face, reason = read_crop(path)
    if face is None:
        raise DataError(f"{path}: {reason}; extract it again (make_dataset.py)")
    return face


def labelled_faces(
    list_path: Path,
    root: Path,
    set_name: str,
    per_video: int = 1,
    limit: int | None = None,
    seed: int = 0,
    half: str | None = None,
) -> LabelledFaces:
    """Crops of a set of a list (dfdc-data.csv or dfdc.json), evenly spread over each video.

    half: only the videos of half "A" or "B" of the set, see `half_of`. limit: draw so many videos, the
    classes' shares kept. DataError for a list or crops of no use.
    """
    read = read_json_list if list_path.suffix.lower() == ".json" else read_list
    table = read(list_path)
    try:
        videos, _ = find_videos(table, root, (set_name,))
    except DataError as error:
        raise DataError(f"{list_path}: {error}") from None
    if half is not None:
        videos = videos.subset(np.flatnonzero([half_of(name) == half for name in videos.names]))
    videos = limit_videos(videos, limit, seed)
    paths, labels = [], []
    for video, (label, frames) in enumerate(zip(videos.labels, videos.frames, strict=True)):
        picks = spread(frames, per_video)
        paths += [videos.crop(video, number) for number in picks]
        labels += [int(label)] * len(picks)
    return LabelledFaces(paths, np.array(labels, np.int64))


def half_of(name: str) -> str:
    """ "A" or "B": which half of its set a video is in, by its name alone. Calibrate on A, choose on B."""
    return "AB"[hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[0] % 2]


def spread(frames: np.ndarray, count: int) -> np.ndarray:
    """At most `count` of the sorted frames, the middles of so many equal parts."""
    count = min(count, len(frames))
    return frames[(np.arange(count) * 2 + 1) * len(frames) // (2 * count)]


FIGURES = ("auc", "log_loss", "balanced_log_loss", "accuracy")
HEADINGS = ("AUC", "log loss", "balanced", "accuracy")


def probabilities(
    ensemble: Ensemble, faces: LabelledFaces, batch_size: int, kinds: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """p(fake) (N,) of all faces: by "plain", and by the name of each kind at each of its three strengths.

    A face's damage depends on seed, kind and the face's place alone. DataError for an unreadable crop,
    WeightsError where a probability isn't finite.
    """
    variants = [("plain", None, 0)]
    variants += [(CORRUPTIONS[kind].name(level), kind, level) for kind in kinds for level in range(3)]
    answers = {name: np.empty(len(faces)) for name, _, _ in variants}
    with Progress("measuring", -(-len(faces) // batch_size)) as progress:
        for batch, places in faces.batches(batch_size):
            for name, kind, level in variants:
                answers[name][places] = ensemble.predict(
                    batch if kind is None else corrupted(batch, places, kind, level, seed)
                )
                if not np.isfinite(answers[name][places]).all():
                    raise WeightsError(f"{name} faces: {NOT_FINITE}")
            progress.update(images=len(batch) * len(variants))
    return answers


def corrupted(batch: np.ndarray, places: Sequence[int], kind: str, level: int, seed: int) -> np.ndarray:
    """Faces (B, 320, 320, 3) damaged, each by its own draw."""
    number = list(CORRUPTIONS).index(kind)
    pairs = zip(batch, places, strict=True)
    return np.stack([CORRUPTIONS[kind](face, level, (seed, number, place)) for face, place in pairs])


def figures(labels: np.ndarray, answers: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Metrics of each variant, and how many of the real faces it calls fake (`false_alarms`)."""
    rows = {}
    for name, probability in answers.items():
        row = frame_metrics(labels, probability)
        reals = probability[labels == 0]
        row["false_alarms"] = float((reals > 0.5).mean()) if len(reals) else float("nan")
        rows[name] = row
    return rows


def variant_table(rows: dict[str, dict[str, float]]) -> Table:
    """A row a variant; a figure that needs both kinds is undefined where one is missing."""
    lines = []
    for name, row in rows.items():
        alarms = "undefined" if row["false_alarms"] != row["false_alarms"] else f"{row['false_alarms']:.1%}"
        lines.append([name, *(shown(row[figure]) for figure in FIGURES), alarms])
    return Table(["corruption", *HEADINGS, "reals called fake"], lines)


def found_table(rows: dict[str, dict[str, float]]) -> Table:
    """A row a variant, as of `Judged.figures`: how many fakes and how many reals are above 0.5."""
    lines = []
    for name, row in rows.items():
        pairs = (row["fake_as_fake"], row["fakes"]), (row["real_as_fake"], row["reals"])
        lines.append([name, *(f"{above / of:.1%} of {of}" if of else "none there" for above, of in pairs)])
    return Table(["corruption", "fakes found at 0.5", "reals called fake at 0.5"], lines)
