"""The samples of an epoch: which, in which order, and in whose batches.

The order depends on (seed, epoch) alone: every process has the same, and a resumed run goes on with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from torch.utils.data import Sampler


class Kind(IntEnum):
    """What is made of a crop."""

    PLAIN = 0
    SELF_BLENDED = 1  # a real face made a fake one


class SampleKey(NamedTuple):
    """What a data set is asked for: sample `index`, as it is in `epoch`, and what is made of it."""

    epoch: int
    index: int
    kind: Kind = Kind.PLAIN


ORDER = np.dtype([("index", np.int64), ("kind", np.int64)])


def plain_order(indices: Sequence[int] | np.ndarray) -> np.ndarray:
    """Samples (N,) of dtype ORDER, none of them changed."""
    order = np.zeros(len(indices), ORDER)
    order["index"] = indices
    return order


def keys_of(order: np.ndarray, epoch: int) -> list[SampleKey]:
    """The keys of samples (N,) of dtype ORDER."""
    return [SampleKey(epoch, int(index), Kind(kind)) for index, kind in order.tolist()]


def balanced(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Samples of both classes, the larger one drawn down to the size of the smaller: indices (N,)."""
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    size = min(len(places) for places in classes)
    return np.concatenate([rng.choice(places, size, replace=False) for places in classes])


def with_self_blended(
    indices: np.ndarray, labels: np.ndarray, share: float, rng: np.random.Generator
) -> np.ndarray:
    """An epoch's samples (N,) of dtype ORDER, `share` of the fake ones replaced by self-blended real ones.

    indices: (N,); labels: (N,), theirs. Each real sample of the epoch is blended at most once, if there are
    enough of them; it also stays as it is.
    """
    order = plain_order(indices)
    fakes, reals = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    count = round(share * len(fakes))
    if count == 0 or len(reals) == 0:
        return order
    replaced = rng.choice(fakes, count, replace=False)
    order["index"][replaced] = indices[rng.choice(reals, count, replace=count > len(reals))]
    order["kind"][replaced] = Kind.SELF_BLENDED
    return order


class EpochBatches(Sampler):
    """Batches of keys of one process in one epoch, from step `start` on; order: (N,) of dtype ORDER.

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

    def __iter__(self) -> Iterator[list[SampleKey]]:
        for batch in self.batches[self.start :]:
            yield keys_of(np.array_split(batch, self.world)[self.rank], self.epoch)


def validation_batches(
    indices: Sequence[int], batch_size: int, rank: int, world: int
) -> list[list[SampleKey]]:
    """Keys of every `world`-th of the samples, so that all processes together see each exactly once."""
    keys = [SampleKey(0, int(index)) for index in indices[rank::world]]
    return [keys[start : start + batch_size] for start in range(0, len(keys), batch_size)]
