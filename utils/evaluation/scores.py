"""What is to be said of scores whose labels are known: the field's figures, by scikit-learn.

A figure that needs both kinds of files is NaN where one is missing: undefined.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.metrics import (
    average_precision_score,
    confusion_matrix,
    log_loss,
    roc_auc_score,
    roc_curve,
)

from utils.core.metrics import CLIP

CONFIDENCE = 0.95  # of the interval of the AUC
FALSE_ALARMS = (0.01, 0.1)  # at which the share of fakes found is told
BINS = 10  # of equal width, for the calibration error
TINY = 1e-15  # a probability of 0 or 1 that is wrong costs this one's log loss, 34.5


def figures(
    labels: np.ndarray,
    scores: np.ndarray,
    owners: Sequence | None = None,
    clip: tuple[float, float] = CLIP,
    draws: int = 1000,
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
    low, high = interval(labels, scores, owners, draws, seed) if both else (np.nan, np.nan)
    best, threshold = best_accuracy(labels, scores) if both else (np.nan, np.nan)
    raw, clipped = scores.clip(TINY, 1 - TINY), scores.clip(*clip)
    return {
        "files": len(labels), "reals": int((labels == 0).sum()), "fakes": int(labels.sum()),
        "log_loss": float(log_loss(labels, raw, labels=[0, 1])),
        "log_loss_clipped": float(log_loss(labels, clipped, labels=[0, 1])),
        "balanced_log_loss": float(log_loss(labels, clipped, labels=[0, 1], sample_weight=weights)),
        "auc": float(roc_auc_score(labels, scores)) if both else np.nan, "auc_low": low, "auc_high": high,
        "average_precision": float(average_precision_score(labels, scores)) if both else np.nan,
        "eer": equal_error(labels, scores) if both else np.nan,
        "accuracy": float((true_real + true_fake) / len(labels)),
        "best_accuracy": best, "best_threshold": threshold,
        **{f"tpr_at_{at:g}": found_at(labels, scores, at) if both else np.nan for at in FALSE_ALARMS},
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


def interval(
    labels: np.ndarray, scores: np.ndarray, owners: Sequence | None, draws: int, seed: int
) -> tuple[float, float]:
    """The bootstrap's interval of the AUC, owners being drawn with all that is theirs."""
    _, owner = np.unique(
        np.arange(len(labels)) if owners is None else np.asarray(owners), return_inverse=True
    )
    places = [np.flatnonzero(owner == number) for number in range(owner.max() + 1)]
    rng, values = np.random.default_rng(seed), []
    for _ in range(draws):
        picks = np.concatenate([places[k] for k in rng.integers(0, len(places), len(places))])
        if len(set(labels[picks].tolist())) == 2:
            values.append(roc_auc_score(labels[picks], scores[picks]))
    if not values:
        return float("nan"), float("nan")
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(values, (tail, 100 - tail))
    return float(low), float(high)


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
    return float(accuracy[k]), float(min(thresholds[k], 1.0))


def found_at(labels: np.ndarray, scores: np.ndarray, share: float) -> float:
    """The share of fakes that is found with at most this share of reals called fake."""
    alarms, found, _ = roc_curve(labels, scores, drop_intermediate=False)
    return float(found[alarms <= share].max())


def calibration_error(labels: np.ndarray, scores: np.ndarray) -> float:
    """How far a score is from the share of fakes among those like it, on average (ECE, equal bins)."""
    bins = np.minimum((scores * BINS).astype(int), BINS - 1)
    return float(
        sum(
            abs(labels[bins == k].mean() - scores[bins == k].mean()) * (bins == k).mean()
            for k in np.unique(bins)
        )
    )


def markdown(rows: dict[str, dict[str, float]]) -> str:
    """A row a figure, a column each of what was judged."""
    lines = [f"| | {' | '.join(rows)} |", "|---" * (len(rows) + 1) + "|"]
    for key in next(iter(rows.values())):
        cells = [shown(row[key]) for row in rows.values()]
        lines.append(f"| {HEADINGS.get(key, key)} | {' | '.join(cells)} |")
    return "\n".join(lines)


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
    "tpr_at_0.1": "fakes found at 10% of reals called fake", "real_as_real": "reals called real",
    "real_as_fake": "reals called fake", "fake_as_real": "fakes called real",
    "fake_as_fake": "fakes called fake", "ece": "calibration error (ECE)",
}  # fmt: skip
