"""Other scores from a table of faces, without a network: other weights, fewer faces, other means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.core.errors import ConfigError, DataError
from utils.core.files import csv_lines, write_whole
from utils.evaluation.report_tables import Table
from utils.evaluation.score_files import read_scores
from utils.scoring.details import FaceRow
from utils.scoring.ensemble import mean_of

MEANS = ("mean", "trimmed", "median")


@dataclass(frozen=True)
class Rule:
    """How a file's score comes of its faces.

    weights: of the networks' columns, as they stand, which sum to 1, and combine: "probabilities" or
    "logits", what their mean is of; None, None = the ensemble's column. first: only so many faces of each
    person, the first ones; spread: so many, evenly over all; None = all. mean: one of MEANS; trim: share left
    out on each side.
    """

    weights: tuple[float, ...] | None = None
    combine: str | None = None
    first: int | None = None
    spread: int | None = None
    mean: str = "mean"
    trim: float = 0.1

    def score(self, faces: Sequence[FaceRow]) -> float:
        """The probability that a file is fake, of its faces (at least one): of several people the highest."""
        persons = {face.person for face in faces}
        return max(self.person_score([face for face in faces if face.person == one]) for one in persons)

    def person_score(self, faces: Sequence[FaceRow]) -> float:
        """The probability that one person is fake, of her faces, or of faces that are nobody's."""
        faces = self.chosen(sorted(faces, key=lambda face: face.place[0]))
        if self.weights is None:
            probabilities = np.array([face.probability for face in faces])
        else:
            probabilities = mean_of(np.array([face.by_network for face in faces]), self.weights, self.combine)
        if self.mean == "median":
            return float(np.median(probabilities))
        left_out = int(self.trim * len(probabilities)) if self.mean == "trimmed" else 0
        return float(np.sort(probabilities)[left_out : len(probabilities) - left_out].mean())

    def chosen(self, faces: list[FaceRow]) -> list[FaceRow]:
        """Those of a file's faces, in the order of its frames, that count."""
        if self.first is not None:
            return faces[: self.first]
        if self.spread is not None and self.spread < len(faces):
            places = (np.arange(self.spread) + 0.5) * len(faces) / self.spread
            return [faces[place] for place in places.astype(int)]
        return faces

    def described(self, columns: Sequence[str]) -> str:
        """In words."""
        parts = ["the ensemble's column"]
        if self.weights is not None:
            shares = (f"{part:g} {name}" for part, name in zip(self.weights, columns, strict=True) if part)
            parts = [f"{' + '.join(shares)}, of {self.combine}"]
        parts += [f"the first {self.first} faces"] if self.first else []
        parts += [f"{self.spread} faces spread over each file"] if self.spread else []
        parts.append(f"mean, {self.trim:g} left out on each side" if self.mean == "trimmed" else self.mean)
        return "; ".join(parts)


def read_weights(entries: Sequence[str], columns: Sequence[str], path: Path) -> tuple[float, ...]:
    """`COLUMN=WEIGHT` for some of a table's networks -> a weight for each column, the others' 0; their sum
    becomes 1. Raises ConfigError."""
    weights = dict.fromkeys(columns, 0.0)
    for entry in entries:
        column, _, text = entry.rpartition("=")
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if column not in weights or not 0 <= value < np.inf:
            raise ConfigError(f"--weights {entry}: COLUMN=NUMBER is needed; {path} has {', '.join(columns)}")
        weights[column] = value
    total = sum(weights.values())
    if total <= 0:
        raise ConfigError(f"--weights {' '.join(entries)}: one must be above 0")
    return tuple(weight / total for weight in weights.values())


@dataclass(frozen=True)
class Scores:
    """Of each file with faces: how many, its score as it was and by the rule; the rest of a submission."""

    rows: dict[str, tuple[int, float, float]]
    others: dict[str, float]

    def markdown(self, most: int = 50) -> str:
        """A table of the files, the most changed first, at most so many of them."""
        order = sorted(self.rows, key=lambda name: -abs(self.rows[name][2] - self.rows[name][1]))
        lines = []
        for name in order[:most]:
            faces, was, now = self.rows[name]
            lines.append([name, str(faces), f"{was:.4f}", f"{now:.4f}", f"{now - was:+.4f}"])
        more = len(order) - most
        note = f"{more} more files changed less" if more > 0 else ""
        return Table(["file", "faces", "was", "is", "change"], lines, note=note).markdown()

    def write(self, path: Path) -> None:
        """Write `filename,label`, those without faces as they were. Raises OSError."""
        scores = self.others | {name: now for name, (_, _, now) in self.rows.items()}
        rows = [(name, f"{value:.6f}") for name, value in scores.items()]
        write_whole(path, csv_lines([("filename", "label"), *rows]))


def scored_again(faces: dict[str, list[FaceRow]], rule: Rule, like: Path | None) -> Scores:
    """All files of a table by a rule. like: the submission it came with, for the order and for files without
    faces. Raises DataError where that lacks a file."""
    before = {name: Rule().score(rows) for name, rows in faces.items()}
    others = {} if like is None else read_scores(like)
    missing = [name for name in faces if name not in others]
    if like is not None and missing:
        raise DataError(f"{like}: {missing[0]}, which has faces, is not in it ({len(missing)} such files)")
    before |= others
    rows = {name: (len(rows), before[name], rule.score(rows)) for name, rows in faces.items()}
    return Scores(rows, others)
