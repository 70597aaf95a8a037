"""Metrics of binary decisions: real (0) or fake (1)."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

# One sure and wrong answer must not decide a whole validation figure.
CLIP = (0.01, 0.99)


def frame_metrics(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    """Metrics of N frames, every frame counted alike.

    labels: (N,) 0 = real, 1 = fake; probabilities: (N,) of being fake, in [0, 1].
    Returns log_loss, balanced_log_loss (mean of the two classes' mean log loss), both with the probability
    clipped to [0.01, 0.99]; auc (NaN where only one class is there: it is undefined) and accuracy at 0.5:
    above it is called fake, and 0.5 itself, as of what can't be judged, is not.
    ValueError for no frames, other labels than 0 and 1, or probabilities that aren't numbers in [0, 1].
    """
    labels = np.asarray(labels).astype(np.int64)
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if labels.shape != probabilities.shape or labels.ndim != 1 or len(labels) == 0:
        raise ValueError(f"labels {labels.shape}, probabilities {probabilities.shape}: need (N,) each, N > 0")
    if not np.isin(labels, (0, 1)).all():
        raise ValueError("labels must be 0 (real) or 1 (fake)")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities must be numbers between 0 and 1")
    clipped = probabilities.clip(*CLIP)
    classes = np.unique(labels)
    # The weights of scikit-learn's log loss: each class the same share of the mean.
    share = {label: 1 / np.count_nonzero(labels == label) for label in classes}
    weights = [share[label] for label in labels]
    return {
        "log_loss": float(log_loss(labels, clipped, labels=[0, 1])),
        "balanced_log_loss": float(log_loss(labels, clipped, labels=[0, 1], sample_weight=weights)),
        "auc": float(roc_auc_score(labels, probabilities)) if len(classes) == 2 else float("nan"),
        "accuracy": float(accuracy_score(labels, probabilities > 0.5)),
    }
