"""Prefetching: a bounded way ahead, errors passed on, work shared by several generators."""

import time

import pytest

from utils.faces.stream import Prefetch, Shared


def test_prefetch_stays_a_bounded_way_ahead():
    produced = []

    def numbers():
        for number in range(1000):
            produced.append(number)
            yield number

    with Prefetch([numbers()], depth=2) as items:
        got = []
        for item in items:
            time.sleep(0.005)
            assert len(produced) - len(got) <= 5
            got.append(item)
            if len(got) == 20:
                break
    assert got == list(range(20)) and len(produced) < 30


def test_prefetch_passes_errors_on():
    def failing():
        yield 1
        raise ZeroDivisionError

    with Prefetch([failing()], depth=2) as items, pytest.raises(ZeroDivisionError):
        list(items)


def test_several_generators_share_their_work_and_stop_together():
    def taking(shared):
        for number in shared:
            time.sleep(0.001)
            yield number

    shared = Shared(range(60))
    with Prefetch([taking(shared) for _ in range(3)], depth=2) as items:
        got = list(items)
    assert sorted(got) == list(range(60))
    endless = Shared(iter(int, 1))
    with Prefetch([taking(endless) for _ in range(3)], depth=2) as items:
        assert next(iter(items)) == 0
