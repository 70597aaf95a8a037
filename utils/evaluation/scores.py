"""What is to be said of scores whose labels are known: the field's figures, by scikit-learn.

A figure that needs both kinds of files is NaN where one is missing: undefined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    log_loss,
    roc_auc_score,
    roc_curve,
)

from utils.core.metrics import CLIP
from utils.evaluation.bootstrap import DRAWS, auc_of_draws, interval, weights_drawn
from utils.evaluation.report_tables import Table

FALSE_ALARMS = (0.01, 0.1)  # at which the share of fakes found is told
BINS = 10  # of equal width, for the calibration error
TINY = 1e-15  # a probability of 0 or 1 that is wrong costs this one's log loss, 34.5


@dataclass(frozen=True)
class Judged:
    """N scores beside their labels (N,), 1 = fake; owners: as of `figures`; name: what they are of."""

    name: str
    labels: np.ndarray
    scores: np.ndarray
    owners: Sequence | None = None

    def figures(self, clip: tuple[float, float] = CLIP) -> dict[str, float]:
        """All of them."""
        return figures(self.labels, self.scores, self.owners, clip)


def figures(
    labels: np.ndarray,
    scores: np.ndarray,
    owners: Sequence | None = None,
    clip: tuple[float, float] = CLIP,
    draws: int = DRAWS,
    seed: int = 0,
) -> dict[str, float]:
    """All figures of N scores.

    labels (N,) 0 or 1 = fake; scores (N,) in [0, 1]; owners (N,): whose each is, such as the video of a face,
    which the bootstrap draws together, None = each its own; clip: for the clipped log loss. ValueError for
    what is none of this.
    """
    labels, scores = checked(labels, scores)
    both = len(set(labels.tolist())) == 2
    weights = class_weights(labels)
    (true_real, false_fake), (false_real, true_fake) = confusion_matrix(
        labels, scores > 0.5, labels=[0, 1]
    ).tolist()
    low, high = auc_interval(labels, scores, owners, draws, seed) if both else (np.nan, np.nan)
    best, threshold = best_accuracy(labels, scores) if both else (np.nan, np.nan)
    raw, clipped = scores.clip(TINY, 1 - TINY), scores.clip(*clip)
    return {
        "files": len(labels), "reals": int((labels == 0).sum()), "fakes": int(labels.sum()),
        "log_loss": float(log_loss(labels, raw, labels=[0, 1])),
        "log_loss_clipped": float(log_loss(labels, clipped, labels=[0, 1])),
        "balanced_log_loss":
            float(log_loss(labels, clipped, labels=[0, 1], sample_weight=weights)) if both else np.nan,
        "auc": float(roc_auc_score(labels, scores)) if both else np.nan, "auc_low": low, "auc_high": high,
        "average_precision": float(average_precision_score(labels, scores)) if both else np.nan,
        "eer": equal_error(labels, scores) if both else np.nan,
        "accuracy": float((true_real + true_fake) / len(labels)),
        "best_accuracy": best, "best_threshold": threshold,
        **{f"tpr_at_{at:g}": found_at(labels, scores, at) if both else np.nan for at in FALSE_ALARMS},
        "false_alarms": false_fake / (true_real + false_fake) if true_real + false_fake else np.nan,
        "misses": false_real / (false_real + true_fake) if false_real + true_fake else np.nan,
        "real_as_real": true_real, "real_as_fake": false_fake,
        "fake_as_real": false_real, "fake_as_fake": true_fake,
        "ece": calibration_error(labels, scores),
    }  # fmt: skip


def checked(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As int64 and float64; ValueError for other shapes and values."""
    labels, scores = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    if labels.shape != scores.shape or labels.ndim != 1 or not len(labels):
        raise ValueError(f"labels {labels.shape}, scores {scores.shape}: need (N,) each, N > 0")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 (real) or 1 (fake)")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("scores must be numbers between 0 and 1")
    return labels.astype(np.int64), scores


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Weights (N,) that give each class the same share."""
    counts = np.bincount(labels, minlength=2)
    return 1 / counts[labels]


def auc_interval(
    labels: np.ndarray, scores: np.ndarray, owners: Sequence | None, draws: int, seed: int
) -> tuple[float, float]:
    """The bootstrap's interval of the AUC, owners being drawn with all that is theirs."""
    parts = weights_drawn(owners, len(labels), draws, seed)
    return interval(np.concatenate([np.empty(0), *(auc_of_draws(labels, scores, part) for part in parts)]))


def equal_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """The error rate where as large a share of reals is called fake as of fakes real; between two, linear."""
    alarms, found, _ = roc_curve(labels, scores, drop_intermediate=False)
    gap = alarms - (1 - found)  # rises from -1 to 1
    k = int(np.argmax(gap >= 0))
    part = -gap[k - 1] / (gap[k] - gap[k - 1])
    return float(alarms[k - 1] + part * (alarms[k] - alarms[k - 1]))


def best_accuracy(labels: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """The greatest accuracy of all thresholds (at or above: fake), and the first threshold that has it."""
    alarms, found, thresholds = roc_curve(labels, scores, drop_intermediate=False)
    fakes = labels.mean()
    accuracy = found * fakes + (1 - alarms) * (1 - fakes)
    k = int(np.argmax(accuracy))
    nothing = np.nextafter(1.0, 2.0)  # above every score: nothing is called fake
    return float(accuracy[k]), float(min(thresholds[k], nothing))


def found_at(labels: np.ndarray, scores: np.ndarray, share: float) -> float:
    """The share of fakes that is found with at most this share of reals called fake."""
    alarms, found, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(found[alarms <= share].max())


def calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """How far a score is from the share of fakes among those like it, on average (ECE, equal bins)."""
    return sum(abs(row.fakes - row.mean) * row.count for row in reliability(labels, scores)) / len(labels)


class Bin(NamedTuple):
    """Scores from `low` to `high`: how many, their mean, and the share of fakes among them."""

    low: float
    high: float
    count: int
    mean: float
    fakes: float


def reliability(labels: np.ndarray, scores: np.ndarray) -> list[Bin]:
    """The bins of equal width that hold scores."""
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    parts = [(k, bins == k) for k in np.unique(bins).tolist()]
    return [
        Bin(k / BINS, (k + 1) / BINS, int(part.sum()), float(scores[part].mean()), float(labels[part].mean()))
        for k, part in parts
    ]


def table_of(rows: dict[str, dict[str, float]], keys: Sequence[str] = (), title: str = "") -> Table:
    """A row a figure, a column each of what was judged; keys: the figures, default all."""
    keys = keys or list(next(iter(rows.values())))
    cells = [[HEADINGS.get(key, key), *(shown(row[key]) for row in rows.values())] for key in keys]
    return Table(["", *rows], cells, title)


def table_across(rows: dict[str, dict[str, float]], keys: Sequence[str], head: str, title: str = "") -> Table:
    """A row each of what was judged, a column a figure."""
    cells = [[name, *(shown(row[key]) for key in keys)] for name, row in rows.items()]
    return Table([head, *(HEADINGS.get(key, key) for key in keys)], cells, title)


def shown(value: float) -> str:
    """A count as it is, another number with four decimals; "undefined" for NaN."""
    if isinstance(value, int):
        return str(value)
    return "undefined" if value != value else f"{value:.4f}"


HEADINGS = {
    "log_loss": "log loss", "log_loss_clipped": "log loss, clipped", "balanced_log_loss":
    "log loss, clipped, both classes alike", "auc": "AUC", "auc_low": "AUC, 95% interval from",
    "auc_high": "AUC, 95% interval to", "average_precision": "average precision", "eer": "equal error rate",
    "accuracy": "accuracy at 0.5", "best_accuracy": "best accuracy", "best_threshold": "its threshold",
    "tpr_at_0.01": "fakes found at 1% of reals called fake",
    "tpr_at_0.1": "fakes found at 10% of reals called fake",
    "false_alarms": "share of reals called fake", "misses": "share of fakes called real",
    "real_as_real": "reals called real", "real_as_fake": "reals called fake",
    "fake_as_real": "fakes called real", "fake_as_fake": "fakes called fake",
    "ece": "calibration error (ECE)",
}  # fmt: skip
