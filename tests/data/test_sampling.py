"""The order of an epoch's samples, and how batches and processes share them."""

import numpy as np

from utils.data.sampling import (
    EpochBatches,
    Kind,
    SampleKey,
    balanced,
    keys_of,
    plain_order,
    validation_batches,
    with_self_blended,
)


def test_a_resumed_epoch_and_several_processes_see_the_same_batches():
    order = plain_order(np.random.default_rng(0).permutation(26))
    whole = list(EpochBatches(order, 5, 8))
    assert [len(batch) for batch in whole] == [8, 8, 8]  # two samples fill no batch
    resumed = EpochBatches(order, 5, 8, start=2)
    assert list(resumed) == whole[2:] and len(resumed) == 1
    parts = [list(EpochBatches(order, 5, 8, rank, 2)) for rank in range(2)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole
    assert {epoch for batch in whole for epoch, *_ in batch} == {5}


def test_fewer_samples_than_a_batch_make_one_small_batch():
    assert [len(batch) for batch in EpochBatches(plain_order(range(5)), 0, 8)] == [5]
    assert [len(batch) for batch in EpochBatches(plain_order(range(5)), 0, 8, rank=1, world=2)] == [2]
    assert list(EpochBatches(plain_order(range(1)), 0, 8, rank=1, world=2)) == []


def test_what_fills_no_batch_can_make_a_smaller_one():
    parts = [list(EpochBatches(plain_order(range(27)), 0, 8, rank, 2, drop_last=False)) for rank in range(2)]
    assert [len(batch) for batch in parts[0]] == [4, 4, 4, 1] == [len(batch) for batch in parts[1]]
    seen = [index for part in parts for batch in part for _, index, _ in batch]
    assert sorted(seen) == list(range(26))  # the 27th can't be shared by two


def test_balance_draws_as_many_fakes_as_reals_anew():
    labels = np.array([0] * 10 + [1] * 90)
    first, second = (balanced(labels, np.random.default_rng(seed)) for seed in (0, 1))
    assert len(first) == len(set(first)) == 20 and labels[first].sum() == 10
    assert set(first[labels[first] == 0]) == set(range(10))
    assert set(first) != set(second)


def test_validation_is_shared_out_without_a_sample_twice():
    shares = [validation_batches(range(11), 2, rank, 3) for rank in range(3)]
    assert sorted(index for share in shares for batch in share for _, index, _ in batch) == list(range(11))
    assert max(len(batch) for share in shares for batch in share) == 2


def test_the_order_of_an_epoch_is_that_of_runs_that_are_under_way():
    """Pinned: a run that goes on inside an epoch must find the samples of that epoch's start."""
    labels = np.array([0] * 4 + [1] * 6)
    rng = np.random.default_rng((3, 1))
    indices = rng.permutation(balanced(labels, rng))
    order = with_self_blended(indices, labels[indices], 0.5, rng)
    assert order["index"].tolist() == [2, 0, 1, 4, 2, 8, 3, 1]
    assert order["kind"].tolist() == [0, 0, 1, 0, 1, 0, 0, 0]
    assert keys_of(order[2:4], epoch=1) == [SampleKey(1, 1, Kind.SELF_BLENDED), SampleKey(1, 4)]
