"""A work on a Dask cluster: local processes, of which some are killed."""

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Timer
from unittest import mock

import distributed
import pytest
from crew_work import Squares
from scripts import ROOT

from utils.core.cluster import Cluster
from utils.core.errors import ConfigError, UserError

ITEMS = [("slow", number) for number in range(12)] + [("crash", 0)]
QUIET = {"processes": True, "dashboard_address": ":0", "host": "127.0.0.1"}
HELPERS = str(ROOT / "tests" / "helpers")
PATIENCE = 60  # seconds; a busy machine may take long
COMMAND = """
import sys
from pathlib import Path
sys.path[:0] = [{helpers!r}, {root!r}]
from crew_work import Squares
from utils.core.cluster import Cluster
from utils.core.console import run
def work():
    with Cluster(Squares(Path({log!r})), {address!r}) as cluster:
        print(cluster.ready(), flush=True)
        list(cluster.run({items!r}))
    return 0
sys.exit(run(work))
"""


@pytest.fixture(scope="module", autouse=True)
def environment():
    """That of the workers, put back: Dask leaves OMP_NUM_THREADS=1 in it, which moves last digits."""
    with mock.patch.dict(os.environ, {"PYTHONPATH": HELPERS}):
        yield


@pytest.fixture
def work(tmp_path):
    return Squares(tmp_path)


@pytest.fixture(scope="module")
def local(environment):
    with distributed.LocalCluster(n_workers=2, threads_per_worker=2, **QUIET) as cluster:
        yield cluster


@pytest.fixture
def dask(local):
    """A cluster of two processes of two threads each; one that a test has killed is there again."""
    wait_for_all(local)
    return local


def wait_for_all(local):
    with distributed.Client(local, set_as_default=False) as client:
        client.wait_for_workers(2, PATIENCE)


def kill_one_of(local):
    """Kill a worker's process, and wait for the one that takes its place."""
    worker = next(iter(local.workers.values()))
    killed = worker.pid
    os.kill(killed, signal.SIGKILL)
    until(lambda: worker.pid not in (None, killed))
    wait_for_all(local)


def start_command(log, address, *items):
    """A command of its own that does the items."""
    code = COMMAND.format(helpers=HELPERS, root=str(ROOT), log=str(log), address=address, items=list(items))
    return subprocess.Popen([sys.executable, "-c", code], stdout=-1, stderr=-1, text=True)


def pids_in(folder, pattern):
    """The processes that have logged a file of this pattern, once there is one."""
    until(lambda: list(folder.glob(pattern)))
    return {int(path.name.split("-")[2]) for path in folder.glob(pattern)}


def until(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_gone(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


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


def test_workers_of_a_host_have_numbers_of_their_own(work, dask):
    """By which GPUs are dealt out, also where one was started again."""
    kill_one_of(dask)
    with Cluster(work, dask.scheduler_address) as cluster:
        assert len(list(cluster.run(ITEMS[:8]))) == 8
    numbers = [path.name.split("-")[1] for path in work.log.glob("worker-*")]
    assert len(numbers) == len(set(numbers)) == 2


def test_a_killed_command_leaves_no_work_behind(work, dask):
    """What its workers hang at is dropped, what waits doesn't begin, and the next command has the workers."""
    command = start_command(work.log, dask.scheduler_address, *[("hang", number) for number in range(9)])
    until(lambda: len(pids_in(work.log, "hang-*")) == 2)
    command.kill()
    command.communicate()
    until(lambda: all(map(is_gone, pids_in(work.log, "hang-*"))))
    with Cluster(work, dask.scheduler_address) as cluster:
        assert dict(cluster.run(ITEMS[:4])) == {item: item[1] ** 2 for item in ITEMS[:4]}
    assert len(list(work.log.glob("hang-*"))) == 2


@contextmanager
def dask_process(what, file, *options):
    """A scheduler or a worker as a process of its own; file: in which the scheduler says where it is."""
    command = [sys.executable, "-m", f"distributed.cli.dask_{what}", "--scheduler-file", str(file)]
    process = subprocess.Popen([*command, "--no-dashboard", *options], stdout=-3, stderr=-3, cwd=file.parent)
    try:
        until(file.exists)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(tmp_path):
    """Its process, its address, and the file that says it."""
    file = tmp_path / "dask.json"
    with dask_process("scheduler", file, "--port", "0", "--host", "127.0.0.1") as process:
        yield process, json.loads(file.read_text())["address"], file


def test_a_scheduler_that_is_lost_in_mid_run_is_a_line(work, scheduler):
    process, address, file = scheduler
    with dask_process("worker", file, "--nthreads", "1", "--no-nanny"):
        command = start_command(work.log, address, ("hang", 1))
        pids = pids_in(work.log, "hang-*")
        process.kill()
        _, error = command.communicate(timeout=PATIENCE)
        assert command.returncode == 1 and address in error and error.count("\n") == 1, error
        until(lambda: all(map(is_gone, pids)))


def test_a_scheduler_that_is_lost_before_a_worker_is_there(work, scheduler):
    process, address, _ = scheduler
    with Cluster(work, address) as cluster, pytest.raises(UserError, match=address):
        Timer(0.5, process.kill).start()
        cluster.ready()


def test_a_scheduler_that_does_not_answer_and_dask_that_is_not_there(work, monkeypatch):
    monkeypatch.setattr("utils.core.cluster.PATIENCE", 0.3)
    with pytest.raises(UserError, match="tcp://127.0.0.1:9"):
        Cluster(work, "tcp://127.0.0.1:9").__enter__()
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ConfigError, match="requirements-dask.txt"):
        Cluster(work, "tcp://127.0.0.1:9").__enter__()


def test_a_cluster_that_adapts_has_no_worker_before_there_is_work(work):
    with distributed.LocalCluster(n_workers=0, threads_per_worker=1, **QUIET) as cluster:
        cluster.adapt(minimum=0, maximum=1)
        with Cluster(work, cluster.scheduler_address) as place:
            assert place.ready() == "ready"
            assert list(place.run([("ok", 3)])) == [(("ok", 3), 9)]
