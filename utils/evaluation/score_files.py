"""Score files, as `submission.csv`, beside labels: which of their files are judged, and which are wrong."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from utils.core.errors import DataError
from utils.core.names import name_in
from utils.data.label_files import NAMES, read_label_files
from utils.data.tables import read_table
from utils.evaluation.report_tables import escaped
from utils.evaluation.scores import Judged
from utils.faces.video import IMAGE_SUFFIXES, VIDEO_SUFFIXES

SCORES = ("label", "probability", "score")  # columns, the first that is there
MOST_ROWS = 50  # of a list in the terminal, unless all are asked for
MOST_NAMES = 10
MEDIA = {*VIDEO_SUFFIXES, *IMAGE_SUFFIXES}


@dataclass(frozen=True)
class Truth:
    """File name -> 0 or 1 = fake, and the source that the labels state of some."""

    labels: dict[str, int]
    sources: dict[str, str] = field(default_factory=dict)


def read_truth(paths: Sequence[Path]) -> Truth:
    """The labels of files in any form. DataError naming file and line; a file that is there twice is one."""
    table = read_label_files(paths)
    twice = table["name"].duplicated()
    if twice.any():
        name = table.loc[twice, "name"].iloc[0]
        places = " and ".join(table.loc[table["name"] == name, "where"])
        raise DataError(f"{name!r} is there again: {places}")
    named = table[table["source"] != ""]
    return Truth(
        dict(zip(table["name"], table["is_fake"].tolist(), strict=True)),
        dict(zip(named["name"], named["source"], strict=True)),
    )


def read_scores(path: Path) -> dict[str, float]:
    """File name -> score in 0..1, of a table filename,label. DataError naming file and line for another."""
    table = read_table(path, (*NAMES, *SCORES))
    header = table.header()
    name, score = (next((key for key in keys if key in header), None) for keys in (NAMES, SCORES))
    if name is None or score is None:
        raise DataError(f"{path} has no columns filename,label")
    scores = {}
    for where, row in table.rows():
        file = name_in(row[name])
        if file in scores:
            raise DataError(f"{where}: {file!r} is there again")
        try:
            value = float(row[score])
        except ValueError:
            value = np.nan
        if not 0 <= value <= 1:
            raise DataError(f"{where}: {score} {row[score]!r} is no number in 0..1")
        scores[file] = value
    return scores


def read_reasons(path: Path) -> dict[str, str]:
    """File name -> why it was not judged, from `<submission>.errors.csv`; empty if there is no such file."""
    if not path.exists():
        return {}
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {name_in(row.get("filename") or ""): row.get("reason", "") for row in csv.DictReader(file)}


@dataclass(frozen=True)
class Scored:
    """A score file beside labels; reasons: why some, which have 0.5, were not judged."""

    path: Path
    scores: dict[str, float]
    reasons: dict[str, str]
    truth: Truth

    @classmethod
    def read(cls, path: Path, truth: Truth) -> Scored:
        """With the errors beside it. DataError: also where none of the labelled files is judged; OSError."""
        scored = cls(path, read_scores(path), read_reasons(path.with_name(path.stem + ".errors.csv")), truth)
        if not scored.judged:
            raise DataError(f"{path}: none of the {len(truth.labels)} labelled files is judged in it")
        return scored

    @cached_property
    def names(self) -> dict[str, str]:
        """Labelled name -> the name in this file: the same, or where one has no suffix, the same without."""
        exact = {name: name for name in self.truth.labels if name in self.scores}
        there = _by_stem(name for name in self.scores if name not in exact)
        asked = _by_stem(name for name in self.truth.labels if name not in exact)
        return exact | {
            name: there[stem] for stem, name in asked.items()
            if stem in there and (name == stem or there[stem] == stem)
        }  # fmt: skip

    @cached_property
    def judged(self) -> list[str]:
        """The labelled names that have a score which is one."""
        return [name for name in self.truth.labels
                if name in self.names and self.names[name] not in self.reasons]  # fmt: skip

    @property
    def missing(self) -> list[str]:
        """Labelled names without a row here."""
        return [name for name in self.truth.labels if name not in self.names]

    @property
    def extra(self) -> list[str]:
        """Names here that have no label."""
        known = set(self.names.values())
        return [name for name in self.scores if name not in known]

    def score(self, name: str) -> float:
        """That of a labelled name."""
        return self.scores[self.names[name]]

    def wrong(self, label: int) -> list[str]:
        """Judged names of a label on the wrong side of 0.5, the worst first; 0.5 itself says real."""
        names = [name for name in self.judged
                 if self.truth.labels[name] == label and (self.score(name) > 0.5) != label]  # fmt: skip
        return sorted(names, key=self.score, reverse=label == 0)

    def part(self, names: Sequence[str], title: str = "") -> Judged:
        """Some judged names' labels and scores."""
        labels = np.array([self.truth.labels[name] for name in names])
        return Judged(title or str(self.path), labels, np.array([self.score(name) for name in names]))

    def by_source(self) -> dict[str, Judged]:
        """The judged files of each source that the labels state."""
        sources: dict[str, list[str]] = {}
        for name in self.judged:
            if name in self.truth.sources:
                sources.setdefault(self.truth.sources[name], []).append(name)
        return {source: self.part(sources[source], source) for source in sorted(sources)}

    def as_data(self) -> dict:
        """What isn't judged, and what is wrong, as plain data."""
        return {
            "missing": self.missing,
            "without a label": self.extra,
            "not judged": {name: self.reasons[self.names[name]] for name in self.truth.labels
                           if self.names.get(name) in self.reasons},
            "reals called fake": {name: self.score(name) for name in self.wrong(0)},
            "fakes called real": {name: self.score(name) for name in self.wrong(1)},
        }  # fmt: skip


def _by_stem(names: Iterable[str]) -> dict[str, str]:
    """Name without a picture's or video's suffix -> name; without those that differ by it alone."""
    found: dict[str, list[str]] = {}
    for name in names:
        stem, suffix = os.path.splitext(name)
        found.setdefault(stem if suffix.lower() in MEDIA else name, []).append(name)
    return {stem: several[0] for stem, several in found.items() if len(several) == 1}


def listed(scored: Scored, whole: bool = False) -> str:
    """The labelled files in lines, then the counts: name, truth, score, remark.

    Of more than MOST_ROWS files those that are wrong, not judged or missing; of these MOST_ROWS unless the
    whole list is asked for.
    """
    truth, names = scored.truth, list(scored.truth.labels)
    if len(names) > MOST_ROWS:
        unjudged = [name for name in names if scored.names.get(name) in scored.reasons]
        names = [*scored.wrong(0), *scored.wrong(1), *unjudged, *scored.missing]
    shown = names if whole else names[:MOST_ROWS]
    escapes = {name: escaped(name) for name in shown}
    width = max([len(name) for name in escapes.values()] + [len("file")])
    lines = [f"{'file':<{width}}  truth  p(fake)"] if shown else []
    for name in shown:
        kind = "fake" if truth.labels[name] else "real"
        if name not in scored.names:
            lines.append(f"{escapes[name]:<{width}}  {kind}        -  not in {scored.path.name}")
            continue
        remark = "" if (scored.score(name) > 0.5) == truth.labels[name] else "  on the wrong side of 0.5"
        if scored.names[name] in scored.reasons:
            remark = f"  not judged: {escaped(scored.reasons[scored.names[name]])}"
        lines.append(f"{escapes[name]:<{width}}  {kind}   {scored.score(name):.4f}{remark}")
    if len(names) > len(shown):
        lines.append(f"... {len(names) - len(shown)} more that are wrong or not judged: --all")
    return "\n".join([*lines, *counts(scored, whole)])


def counts(scored: Scored, whole: bool = False) -> list[str]:
    """How many are right, the false alarms and misses, and what has no score or no label, by name."""
    alarms, misses = len(scored.wrong(0)), len(scored.wrong(1))
    right = len(scored.judged) - alarms - misses
    lines = [f"{right} of {len(scored.judged)} judged files on the right side of 0.5; "
             f"{alarms} false alarm{'s' * (alarms != 1)} (reals above it), "
             f"{misses} miss{'es' * (misses != 1)} (fakes not above it)"]  # fmt: skip
    for what, names in ((f"not in {scored.path.name}", scored.missing), ("without a label", scored.extra)):
        if names:
            more = len(names) - MOST_NAMES
            shown = names if whole or more <= 0 else names[:MOST_NAMES]
            rest = f" and {more} more (--all)" if len(shown) < len(names) else ""
            lines.append(f"{what}: {', '.join(map(escaped, shown))}{rest}")
    return lines
