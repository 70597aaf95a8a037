"""What each step of a calibration does to the labelled faces: log loss, and the reals called fake."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from utils.core.errors import ConfigError
from utils.core.metrics import frame_metrics
from utils.evaluation.dev_score import Member
from utils.evaluation.report_tables import Table
from utils.scoring.ensemble import to_probabilities
from utils.weights.checkpoint import tensors_digest


@dataclass
class Steps:
    """Figures of each step, by its name and by domain; labels (N,) 1 = fake, domains (N,): names.

    The figures are balanced log loss, of a domain that has both kinds, and the share of its reals above 0.5.
    """

    labels: np.ndarray
    domains: np.ndarray
    figures: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)

    def add(self, name: str, logits: np.ndarray) -> None:
        """A step after which the faces have these logits (N,)."""
        self.figures[name] = {}
        for domain in dict.fromkeys(self.domains.tolist()):
            part = self.domains == domain
            found = frame_metrics(self.labels[part], to_probabilities(logits[part]))
            row = self.figures[name][domain] = {}
            if len(set(self.labels[part])) == 2:
                row["log loss"] = found["balanced_log_loss"]
            reals = logits[part & (self.labels == 0)]
            if len(reals):
                row["reals called fake"] = float((reals > 0).mean())

    def table(self) -> Table:
        """A row a step; the price is the log loss less that of the first step."""
        first, rows = next(iter(self.figures.values())), []
        headings = [
            f"{domain} {heading}"
            for domain, row in first.items()
            for key in row
            for heading in ((key, "price") if key == "log loss" else (key,))
        ]
        for name, by_domain in self.figures.items():
            cells = []
            for domain, row in by_domain.items():
                if "log loss" in row:
                    price = row["log loss"] - first[domain]["log loss"]
                    cells += [f"{row['log loss']:.4f}", f"{price:+.4f}"]
                if "reals called fake" in row:
                    cells.append(f"{row['reals called fake']:.1%}")
            rows.append([name, *cells])
        note = "Log loss: both classes alike. Price: what it is above that of the first row."
        return Table(["step", *headings], rows, note=note)


def bias_of(text: str, members: Sequence[Member]) -> float:
    """What a report of `evaluate.py dev` says that an ensemble's logit must be moved by.

    text: NAME.json:CANDIDATE; the candidate must be the mean of these members' logits. ConfigError where the
    file, the candidate or its figure isn't there, or it is another ensemble.
    """
    file, colon, name = text.partition(".json:")
    if not file or not colon or not name:
        raise ConfigError(f"--bias-of {text!r}: must be NAME.json:CANDIDATE of evaluate.py dev --output NAME")
    path = Path(f"{file}.json")
    try:
        rows = {row["name"]: row for row in json.loads(path.read_text(encoding="utf-8"))["candidates"]}
    except OSError as error:
        raise ConfigError(f"--bias-of: {path} can't be read ({error.strerror})") from None
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"--bias-of: {path} is no report of evaluate.py dev") from None
    if name not in rows:
        raise ConfigError(f"--bias-of: {path} has no candidate {name!r}; it has {', '.join(rows) or 'none'}")
    try:
        bias, is_plain = float(rows[name]["bias"]), not rows[name]["flip"]
        measured = sorted((one["content"], float(one["weight"])) for one in rows[name]["members"])
        is_plain &= len(measured) == 1 or rows[name]["combine"] == "logits"
        if not np.isfinite(bias):
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ConfigError(f"--bias-of: {path} states no bias of {name!r}") from None
    if not is_plain or measured != sorted((tensors_digest(one.path), one.weight) for one in members):
        raise ConfigError(f"--bias-of: {name!r} in {path} is another ensemble (files, shares, mean)")
    return bias
