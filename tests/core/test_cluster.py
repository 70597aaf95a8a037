"""A work on a Dask cluster: local processes, one of which is killed."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest
from crew_work import Squares
from scripts import ROOT

from utils.core.cluster import Cluster
from utils.core.errors import ConfigError, UserError

ITEMS = [("slow", number) for number in range(12)] + [("crash", 0)]


@pytest.fixture
def work(tmp_path):
    """In an environment that is put back: Dask leaves OMP_NUM_THREADS=1 in it, which moves last digits."""
    with mock.patch.dict(os.environ, {"PYTHONPATH": str(ROOT / "tests" / "helpers")}):  # for the workers
        yield Squares(tmp_path)


@pytest.fixture
def dask(work):
    """A cluster of two processes of two threads each."""
    distributed = pytest.importorskip("distributed", reason="requirements-dask.txt isn't installed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        yield cluster


def test_kill_9_on_a_worker_of_dask_changes_nothing(work, dask):
    got, told = [], []
    with Cluster(work, dask.scheduler_address) as cluster:
        assert cluster.ready() == "ready"
        loads_elsewhere(cluster.task)
        for outcome in cluster.run(ITEMS, lambda part, frames: told.append(frames)):
            got.append(outcome)
            if len(got) == 3:
                os.kill(next(iter(dask.workers.values())).pid, signal.SIGKILL)
    results = dict(got)
    assert len(got) == len(results) == len(ITEMS)
    assert "SIGSEGV" in results.pop(("crash", 0))
    assert results == {item: item[1] ** 2 for item in ITEMS[:-1]}
    starts = [work.starts(*item) for item in ITEMS[:-1]]
    assert max(starts) <= 2 and sum(starts) <= len(starts) + 4  # at most what the killed one had in hand
    assert told[-1] >= 3 * (len(ITEMS) - 5)


def loads_elsewhere(task):
    """A scheduler unpickles what a task calls, and may not find this repository."""
    from distributed.protocol.pickle import dumps

    command = [sys.executable, "-I", "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)"]
    subprocess.run(command, input=dumps(task), check=True)


def test_what_a_task_raises_is_raised_here(work, dask):
    with Cluster(work, dask.scheduler_address) as cluster, pytest.raises(OSError, match="No space left"):
        list(cluster.run([("raise", 1)]))


def test_a_command_given_twice_and_another_on_one_cluster(work, dask):
    def run(timeout):
        with Cluster(work, dask.scheduler_address, timeout) as cluster:
            return dict(cluster.run(ITEMS[:6]))

    with ThreadPoolExecutor() as pool:
        got = list(pool.map(run, (60, 60, 90)))
    assert got == [{item: item[1] ** 2 for item in ITEMS[:6]}] * 3


def test_a_scheduler_that_does_not_answer_and_dask_that_is_not_there(work, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("utils.core.cluster.PATIENCE", 1)
    with pytest.raises(UserError, match="tcp://127.0.0.1:9"):
        Cluster(work, "tcp://127.0.0.1:9").__enter__()
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match="requirements-dask.txt"):
        Cluster(work, "tcp://127.0.0.1:9").__enter__()


def test_a_cluster_that_adapts_has_no_worker_before_there_is_work(work):
    distributed = pytest.importorskip("distributed", reason="requirements-dask.txt isn't installed")
    with distributed.LocalCluster(
        n_workers=0, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as cluster:
        cluster.adapt(minimum=0, maximum=1)
        with Cluster(work, cluster.scheduler_address) as place:
            assert place.ready() == "ready"
            assert list(place.run([("ok", 3)])) == [(("ok", 3), 9)]
