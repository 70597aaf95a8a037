"""Score files, as `submission.csv`, beside labels: a table `filename,label`, or DFDC's metadata."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.core.errors import DataError
from utils.core.metrics import CLIP
from utils.data.lists import read_json
from utils.evaluation.scores import figures

MOST_ROWS = 50
METADATA_LABELS = {"REAL": 0.0, "FAKE": 1.0}


@dataclass(frozen=True)
class Truth:
    """File name -> 0 or 1 = fake, and the source that the table states of some."""

    labels: dict[str, float]
    sources: dict[str, str] = field(default_factory=dict)


def read_truth(path: Path) -> Truth:
    """A table filename,label[,source], or DFDC's metadata.json. DataError naming the file for another."""
    if path.suffix.lower() == ".json":
        entries = read_json(path)
        try:
            return Truth({name: METADATA_LABELS[entry["label"]] for name, entry in entries.items()})
        except (AttributeError, KeyError, TypeError):
            raise DataError(
                f'{path}: no metadata.json, {{"<file>": {{"label": "FAKE" or "REAL"}}}}'
            ) from None
    labels = read_table(path)
    if not set(labels.values()) <= {0, 1}:
        raise DataError(f"{path}: a label must be 0 (real) or 1 (fake)")
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        rows = csv.DictReader(file)
        return Truth(labels, {row["filename"]: row["source"] for row in rows if row.get("source")})


def read_table(path: Path) -> dict[str, float]:
    """The labels of a table `filename,label`, in 0..1; DataError naming file and line if it is another."""
    with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv.DictReader(file)
        try:
            return _labels(reader, path)
        except csv.Error as error:
            raise DataError(f"{path} can't be read as CSV: {error}") from None


def _labels(reader: csv.DictReader, path: Path) -> dict[str, float]:
    if reader.fieldnames is None or not {"filename", "label"} <= set(reader.fieldnames):
        raise DataError(f"{path} has no columns filename,label")
    table = {}
    for row in reader:
        if row["filename"] in table:
            raise DataError(f"{path}, line {reader.line_num}: {row['filename']!r} is there again")
        try:
            value = float(row["label"])
        except (TypeError, ValueError):
            value = np.nan
        if not 0 <= value <= 1:
            raise DataError(f"{path}, line {reader.line_num}: label {row['label']!r} is no number in 0..1")
        table[row["filename"]] = value
    return table


def read_reasons(path: Path) -> dict[str, str]:
    """File name -> why it was not judged, from `<submission>.errors.csv`; empty if there is no such file."""
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row.get("filename", ""): row.get("reason", "") for row in csv.DictReader(file)}


@dataclass(frozen=True)
class Scored:
    """A score file: name -> score; and why some, which have 0.5, were not judged."""

    path: Path
    scores: dict[str, float]
    reasons: dict[str, str]

    @classmethod
    def read(cls, path: Path) -> Scored:
        """With the errors beside it. DataError, OSError."""
        return cls(path, read_table(path), read_reasons(path.with_name(path.stem + ".errors.csv")))

    def judged(self, truth: Truth) -> list[str]:
        """The names that have a label and a score that is one."""
        return [name for name in truth.labels if name in self.scores and name not in self.reasons]


def compared(truth: Truth, files: list[Scored], clip: tuple[float, float] = CLIP) -> dict[str, dict]:
    """Figures by column: each score file's, and where the labels state sources, those of each source.

    DataError for a score file with no judged file of the labels.
    """
    columns = {}
    for scored in files:
        names = scored.judged(truth)
        if not names:
            raise DataError(f"{scored.path}: none of the {len(truth.labels)} labelled files is judged in it")
        columns[str(scored.path)] = _figures(truth, scored, names, clip)
        for source in sorted(set(truth.sources.values())):
            part = [name for name in names if truth.sources.get(name) == source]
            if part:
                columns[f"{scored.path}, {source}"] = _figures(truth, scored, part, clip)
    return columns


def _figures(truth: Truth, scored: Scored, names: list[str], clip: tuple[float, float]) -> dict[str, float]:
    labels = np.array([truth.labels[name] for name in names])
    return figures(labels, np.array([scored.scores[name] for name in names]), clip=clip)


def listed(truth: Truth, scored: Scored) -> str:
    """A line per labelled file (at most MOST_ROWS): name, truth, score, remark; then how many are right."""
    width = max([len(name) for name in truth.labels] + [len("file")])
    lines = [f"{'file':<{width}}  truth  p(fake)"]
    for name, label in truth.labels.items():
        kind = "fake" if label == 1 else "real"
        if name not in scored.scores:
            lines.append(f"{name:<{width}}  {kind}        -  not in {scored.path.name}")
            continue
        score = scored.scores[name]
        remark = "" if (score > 0.5) == (label == 1) else "  on the wrong side of 0.5"
        if name in scored.reasons:
            remark = f"  not judged: {scored.reasons[name]}"
        lines.append(f"{name:<{width}}  {kind}   {score:.4f}{remark}")
    if len(lines) > MOST_ROWS + 1:
        lines[MOST_ROWS + 1 :] = [f"... {len(truth.labels) - MOST_ROWS} more"]
    judged = scored.judged(truth)
    right = sum((scored.scores[name] > 0.5) == (truth.labels[name] == 1) for name in judged)
    lines.append(f"{right} of {len(judged)} judged files on the right side of 0.5")
    extra = [name for name in scored.scores if name not in truth.labels]
    if extra:
        more = f" and {len(extra) - 3} more" if len(extra) > 3 else ""
        lines.append(f"without a label: {', '.join(extra[:3])}{more}")
    return "\n".join(lines)
