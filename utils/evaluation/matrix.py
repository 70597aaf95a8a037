"""The matrix across data sets: what each ensemble (row) does on each set (column), by figure.

Each network scores a face once; its logits are kept by its weights' content, so that a row more of the same
files costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.evaluation.dev_score import Candidate, Logits, Member, candidate_logits
from utils.evaluation.matrix_sets import EvalSet
from utils.evaluation.report_tables import Table
from utils.evaluation.scores import HEADINGS, Judged, shown
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import to_probabilities
from utils.weights.checkpoint import tensors_digest

TABLES = ("auc", "eer", "log_loss_clipped", "accuracy", "false_alarms", "misses")
SHARES = ("eer", "accuracy", "false_alarms", "misses")  # shown as percents


def shipped(config: SubmissionConfig) -> list[Candidate]:
    """The ensemble of a config, called bundled, and each of its networks alone."""
    members = tuple(Member(Path(path), weight) for _, path, weight in config.ensemble)
    alone = [Candidate(member.path.stem, (Member(member.path, 1.0),)) for member in members]
    return [Candidate("bundled", members, config.combine, config.flip), *(alone if len(members) > 1 else [])]


def matrix_of(
    candidates: Sequence[Candidate], sets: Sequence[EvalSet], device: str
) -> dict[str, dict[str, Judged]]:
    """The scores of each ensemble (name) on each set (name). WeightsError for files of no use."""
    rows: dict[str, dict[str, Judged]] = {}
    folders = {part.path.parent: None for one in sets for part in one.parts}
    for candidate in candidates:
        logits: dict[Path, Logits] = {}
        for folder in folders:
            there = {part.path: part for one in sets for part in one.parts if part.path.parent == folder}
            logits[folder] = candidate_logits(candidate, list(there.values()), folder, device)
        rows[candidate.name] = {one.name: judged_on(one, logits[one.parts[0].path.parent]) for one in sets}
    return rows


def judged_on(one: EvalSet, logits: Logits) -> Judged:
    """A set's scores: of faces, or of clips the means of their faces' probabilities."""
    labels, scores, people = [], [], []
    for part in one.parts:
        values = to_probabilities(logits[part.group, part.is_fake])
        if one.is_clips:
            owners = np.array(part.owners)
            values = np.array([values[owners == owner].mean() for owner in np.unique(owners)])
        people += part.owners
        labels.append(np.full(len(values), int(part.is_fake)))
        scores.append(values)
    owners = people if one.is_paired else None
    return Judged(one.name, np.concatenate(labels), np.concatenate(scores), owners)


def matrix_tables(figures: dict[str, dict[str, dict]], sets: Sequence[EvalSet]) -> list[Table]:
    """What the sets are, then a table a figure; undefined where a set has one class."""
    first = next(iter(figures.values()))
    rows = [[one.name, *(str(first[one.name][key]) for key in ("reals", "fakes")),
             "clips" if one.is_clips else "faces", one.what] for one in sets]  # fmt: skip
    tables = [Table(["set", "reals", "fakes", "of", "what"], rows, "The sets")]
    for key in TABLES:
        cells = [[name, *(_cell(key, row[one.name]) for one in sets)] for name, row in figures.items()]
        tables.append(Table([HEADINGS[key], *(one.name for one in sets)], cells))
    return tables


def _cell(key: str, row: dict[str, float]) -> str:
    value = row[key]
    if value != value:
        return "undefined"
    if key == "auc":
        return f"{value:.3f} ({row['auc_low']:.3f} to {row['auc_high']:.3f})"
    return f"{value:.1%}" if key in SHARES else shown(value)


def stated(candidates: Sequence[Candidate]) -> list[dict]:
    """What the rows are: files by name and content, not by where they lie."""
    return [
        {
            "name": candidate.name, "combine": candidate.combine, "flip": candidate.flip,
            "members": [{"file": member.path.name, "content": tensors_digest(member.path),
                         "weight": member.weight} for member in candidate.members],
        }
        for candidate in candidates
    ]  # fmt: skip
