"""Scores of clips' faces as figures and tables: mean and spread, plain and passed on, by other rules."""

from __future__ import annotations

import numpy as np

from utils.evaluation.report_tables import Table
from utils.evaluation.scores import Judged
from utils.scoring.ensemble import to_logits, to_probabilities

KINDS = ("real", "fake")  # by label


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


def judged_clips(rows: dict[str, dict[str, dict]], labels: dict[str, int]) -> list[Judged]:
    """The clips' means beside their labels, by variant; clips without a face are left out."""
    variants = dict.fromkeys(variant for row in rows.values() for variant in row)
    judged = []
    for variant in variants:
        seen = [name for name, row in rows.items() if row[variant]["faces"]]
        if seen:
            means = np.array([rows[name][variant]["mean"] for name in seen])
            judged.append(Judged(variant, np.array([labels[name] for name in seen]), means))
    return judged


def rules_table(rows: dict[str, dict[str, dict]], labels: dict[str, int], variant: str) -> Table:
    """Each clip's score by each rule; wrong ones in bold, and how far from the label on average."""
    rules, lines = list(by_rule(np.array([0.5]))), []
    known = {name: row[variant]["by_rule"] for name, row in rows.items() if row[variant]["faces"]}
    for name, scores in known.items():
        cells = [f"**{scores[rule]:.3f}**" if (scores[rule] > 0.5) != labels[name] else f"{scores[rule]:.3f}"
                 for rule in rules]  # fmt: skip
        lines.append([name, KINDS[labels[name]], *cells])
    for label, kind in enumerate(KINDS):
        part = [scores for name, scores in known.items() if labels[name] == label]
        if part:
            off = [np.mean([abs(scores[rule] - label) for scores in part]) for rule in rules]
            means = [f"{value:.3f}" for value in off]
            lines.append([f"{len(part)} {kind}: mean distance from the label", "", *means])
    return Table(["clip", "truth", *rules], lines)


def means_table(rows: dict[str, dict[str, dict]], labels: dict[str, int], variants: list[str]) -> Table:
    """Mean p(fake) of each clip (row) and variant (column); the wrong side of 0.5 in bold."""
    lines = []
    for name, by_variant in rows.items():
        cells = []
        for variant in variants:
            figures = by_variant[variant]
            text = f"{figures['mean']:.3f}" if figures["faces"] else "no face"
            cells.append(f"**{text}**" if figures["margin"] < 0 else text)
        lines.append([name, KINDS[labels[name]], *cells])
    reals = [name for name in rows if labels[name] == 0]
    counts = [sum(rows[name][variant]["mean"] > 0.5 for name in reals) for variant in variants]
    lines.append([f"real clips above 0.5, of {len(reals)}", "", *map(str, counts)])
    return Table(["clip", "truth", *variants], lines)


def spread_table(rows: dict[str, dict[str, dict]], labels: dict[str, int], variant: str) -> Table:
    """The spread of each clip's per-face scores in one variant, and its margin from 0.5."""
    lines = []
    for name, by_variant in rows.items():
        figures = by_variant[variant]
        cells = [
            "-" if figures[key] is None else f"{figures[key]:.3f}"
            for key in ("mean", "std", "min", "max", "margin")
        ]
        lines.append([name, KINDS[labels[name]], str(figures["faces"]), *cells])
    return Table(["clip", "truth", "faces", "mean", "std", "lowest", "highest", "margin"], lines)
