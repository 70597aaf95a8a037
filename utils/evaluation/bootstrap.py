"""The bootstrap: how far a figure would lie from itself with other files of the same kind.

A draw says how often each file counts. So all draws of a figure are computed at once, by sums over files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

CONFIDENCE = 0.95  # of an interval
DRAWS = 1000
MOST_CELLS = 2_000_000  # of draws times files at once: 16 MB an array


def weights_drawn(
    owners: Sequence | None, count: int, draws: int = DRAWS, seed: int = 0
) -> Iterator[np.ndarray]:
    """How often each of `count` files is in a draw: parts (D, count) that make up all draws.

    owners (count,): whose each file is, such as the video of a face; an owner's are drawn together. None =
    each its own.
    """
    owner = np.arange(count) if owners is None else np.unique(np.asarray(owners), return_inverse=True)[1]
    people = int(owner.max()) + 1
    rng, left = np.random.default_rng(seed), draws
    while left:
        part = min(left, max(1, MOST_CELLS // count))
        yield rng.multinomial(people, np.full(people, 1 / people), size=part)[:, owner].astype(float)
        left -= part


def auc_of_draws(labels: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The AUC of each draw (D, N) -> (D,); NaN for one that holds one class alone. labels, scores (N,)."""
    order = np.argsort(scores, kind="stable")
    weights, fake = weights[:, order], labels[order] == 1
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of files that score the same
    reals = np.add.reduceat(weights * ~fake, starts, axis=1)
    fakes = np.add.reduceat(weights * fake, starts, axis=1)
    below = np.cumsum(reals, axis=1) - reals
    pairs = reals.sum(axis=1) * fakes.sum(axis=1)
    right = (fakes * (below + reals / 2)).sum(axis=1)
    return np.divide(right, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)


def mean_of_draws(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The mean of values (N,) in each draw (D, N) -> (D,); NaN for a draw without a file."""
    total = weights.sum(axis=1)
    return np.divide(weights @ values, total, out=np.full(len(total), np.nan), where=total > 0)


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """The middle CONFIDENCE of a figure's draws (D,); NaN where none is defined."""
    known = drawn[~np.isnan(drawn)]
    if not len(known):
        return float("nan"), float("nan")
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(known, (tail, 100 - tail))
    return float(low), float(high)
