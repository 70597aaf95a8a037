"""The samples of an epoch: which, in which order, and in whose batches.

The order depends on (seed, epoch) alone: every process has the same, and a resumed run goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler


def epoch_order(
    labels: np.ndarray, seed: int, epoch: int, balance: bool, blended_share: float = 0.0
) -> np.ndarray:
    """The samples of an epoch in training order; `balance` draws the larger class down to the smaller.

    blended_share: of the fake samples, replaced by self-blended real ones.
    """
    rng = np.random.default_rng((seed, epoch))
    picks = np.arange(len(labels))
    if balance:
        classes = [np.flatnonzero(labels == label) for label in (0, 1)]
        size = min(len(places) for places in classes)
        picks = np.concatenate([rng.choice(places, size, replace=False) for places in classes])
    order = rng.permutation(picks)
    return with_self_blended(order, labels[order], len(labels), blended_share, rng)


def with_self_blended(
    order: np.ndarray, labels: np.ndarray, size: int, share: float, rng: np.random.Generator
) -> np.ndarray:
    """The epoch's samples (N,), `share` of the fake ones replaced by self-blended real ones.

    labels: (N,) of `order`; size: of the data set. Each real sample of the epoch is blended at most once,
    if there are enough of them; it also stays as it is.
    """
    fakes, reals = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    count = round(share * len(fakes))
    if count == 0 or len(reals) == 0:
        return order
    replaced = rng.choice(fakes, count, replace=False)
    order = order.copy()
    order[replaced] = order[rng.choice(reals, count, replace=count > len(reals))] + size
    return order


class EpochBatches(Sampler):
    """Batches of (epoch, index) keys of one process in one epoch, from step `start` on.

    `batch_size` counts over all `world` processes, each of which takes its slice of every batch. Samples
    that fill no batch make a smaller one, or with `drop_last` are left out (they come in another epoch),
    unless there is no full batch at all. All processes' shares of a batch are equal.
    """

    def __init__(
        self, order: np.ndarray, epoch: int, batch_size: int, rank=0, world=1, start=0, drop_last=True
    ):
        usable = len(order) // world * world
        if drop_last and usable > batch_size:
            usable = usable // batch_size * batch_size
        self.batches = [order[at : min(at + batch_size, usable)] for at in range(0, usable, batch_size)]
        self.size = usable // world  # samples of this process
        self.epoch, self.rank, self.world, self.start = epoch, rank, world, start

    def __len__(self) -> int:
        """Steps left."""
        return max(len(self.batches) - self.start, 0)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for batch in self.batches[self.start :]:
            yield [(self.epoch, int(index)) for index in np.array_split(batch, self.world)[self.rank]]


def validation_batches(indices: Sequence[int], batch_size: int, rank: int, world: int
                       ) -> list[list[tuple[int, int]]]:
    """Keys of every `world`-th of the samples, so that all processes together see each exactly once."""
    keys = [(0, int(index)) for index in indices[rank::world]]
    return [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
