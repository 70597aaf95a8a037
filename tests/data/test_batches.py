"""Loaders that can't deliver: no shared memory, a worker that hangs or is killed; none waits for ever."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import pytest
import torch

from utils.core.errors import DataError
from utils.data import batches
from utils.data.batches import KeptLoader, Sample, collate, make_loader, patient
from utils.data.sampling import SampleKey

ROOT = Path(__file__).resolve().parents[2]
KEYS = [[SampleKey(0, index)] for index in range(3)]


class Faces(torch.utils.data.Dataset):
    """Groups of two, of which the second to be asked for is never answered, or kills its worker."""

    def __init__(self, number: int = 0):
        self.number = number

    def __getitem__(self, key: SampleKey) -> Sample:
        if key.index == 1 and self.number:
            os.kill(os.getpid(), self.number)
            time.sleep(1000)
        return Sample(torch.full((2, 3, 4, 4), float(key.index)), torch.tensor([0, 1]), key, [])


@pytest.fixture
def hasty(monkeypatch):
    """Time limits of seconds."""
    monkeypatch.setattr(batches, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)


def test_groups_come_one_after_another():
    batch = collate([Faces()[SampleKey(3, index)] for index in (4, 2)])
    assert batch.images.shape == (4, 3, 4, 4) and batch.images[:, 0, 0, 0].tolist() == [4, 4, 2, 2]
    assert batch.labels.tolist() == [0, 1, 0, 1] and batch.keys == [SampleKey(3, 4), SampleKey(3, 2)]


def test_a_worker_that_hangs_is_left_when_the_run_is_to_stop_and_ends(hasty):
    """It has had its SIGTERM, which is the main process's to heed."""
    seen, loader = [], make_loader(Faces(signal.SIGTERM), KEYS, 1)
    with closing(patient(loader, "workers", lambda: seen == [0])) as loaded:
        for batch in loaded:
            seen.append(batch.keys[0].index)
    assert seen == [0] and not multiprocessing.active_children()


def test_processes_are_kept_from_pass_to_pass():
    """A second pass is loaded by those of the first; none outlives the run, or a pass that is left early."""
    loader = KeptLoader(Faces(), 2)

    def passed(keys, enough=9):
        seen = []
        with closing(loader.load(keys, "workers", lambda: False)) as loaded:
            for batch in loaded:
                seen.append((batch.keys[0], batch.images[0, 0, 0, 0].item()))
                if len(seen) == enough:
                    break
        return seen

    later = [[SampleKey(1, 7)], [SampleKey(1, 4)]]
    assert passed(KEYS) == [(SampleKey(0, index), index) for index in range(3)]
    first = {worker.pid for worker in multiprocessing.active_children()}
    assert len(first) == 2
    assert passed(later) == [(SampleKey(1, 7), 7), (SampleKey(1, 4), 4)]
    assert {worker.pid for worker in multiprocessing.active_children()} == first
    assert passed(KEYS, enough=1) == [(SampleKey(0, 0), 0)]
    assert not multiprocessing.active_children()
    assert passed(later)[1] == (SampleKey(1, 4), 4)
    assert not first & {worker.pid for worker in multiprocessing.active_children()}
    loader.close()
    assert not multiprocessing.active_children()


def test_no_batch_for_too_long_is_an_error(hasty, monkeypatch):
    monkeypatch.setattr(batches, "PATIENCE_SECONDS", 0.5)
    loader = make_loader(Faces(signal.SIGCONT), KEYS, 1)
    with closing(patient(loader, "workers", lambda: False)) as loaded:
        with pytest.raises(DataError, match="workers=0"):
            list(loaded)
    for worker in multiprocessing.active_children():  # asked to end; a busy machine takes its time
        worker.join(30)
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_an_error(hasty):
    loader = make_loader(Faces(signal.SIGKILL), KEYS, 1)
    with closing(patient(loader, "num_workers", lambda: False)) as loaded:
        with pytest.raises(DataError, match="num_workers"):
            list(loaded)


LOAD = """
    import sys, time, torch
    sys.path[:0] = ["tests/data", "tests/helpers"]
    from test_batches import KEYS, Faces, make_loader, patient
    from utils.core.console import run
    from utils.data.batches import Sample
    def load(dataset):
        for batch in patient(make_loader(dataset, KEYS, 1), "workers", lambda: False):
            print(batch.keys[0].index, flush=True)
        return 0
"""


def start(code: str, *before: str) -> subprocess.Popen:
    code = textwrap.dedent(LOAD) + textwrap.dedent(code)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [*before, sys.executable, "-c", code], cwd=ROOT, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_too_little_shared_memory_is_one_line(tmp_path):
    """In a mount namespace with 1 MiB of it, as a container may have."""
    small = ["unshare", "--map-root-user", "--mount"]
    mounted = ["sh", "-c", 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"', "sh"]
    if not shutil.which("unshare"):
        pytest.skip("unshare is not installed")
    if subprocess.run([*small, *mounted, "true"], capture_output=True).returncode:
        pytest.skip("no mount namespaces here")
    code = """
    class Large(Faces):
        def __getitem__(self, key):
            return Sample(torch.zeros(1, 3, 1000, 1000), torch.zeros(1, dtype=torch.int64), key, [])
    sys.exit(run(lambda: load(Large())))
    """
    process = start(code, *small, *mounted)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 1
    assert error.startswith("error: ") and error.count("\n") == 1
    assert "1 MiB" in error and "workers" in error and "--shm-size" in error


@pytest.mark.skipif(sys.platform != "linux", reason="needs the parent-death signal of Linux")
def test_a_hanging_worker_ends_with_a_killed_main_process(tmp_path):
    code = """
    import os
    class Hanging(Faces):
        def __getitem__(self, key):
            print(os.getpid(), flush=True)
            time.sleep(1000)
    load(Hanging())
    """
    process = start(code)
    worker = int(process.stdout.readline())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 600
    while Path(f"/proc/{worker}").exists() and state_of(worker) != "Z" and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{worker}").exists() or state_of(worker) == "Z"
    process.communicate()


def state_of(number: int) -> str:
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(") ")[2][0]
    except FileNotFoundError:
        return "Z"
