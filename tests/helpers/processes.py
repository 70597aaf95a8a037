"""Processes of tests: two that torch takes for torchrun's, one that Ctrl-C stops, one that holds a lock, and
one that can't write much: this."""

import os
import resource
import signal
import socket
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from forks import METHOD, forks

from utils.core.config import ROOT, as_plain


def run_processes(function: Callable[[dict], int], config) -> list[int]:
    """What `function(keys of the config)` returns in each of two gloo processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    statuses = forks().SimpleQueue()
    arguments = function, as_plain(config), port, statuses
    torch.multiprocessing.start_processes(_process, arguments, nprocs=2, start_method=METHOD)
    return [statuses.get() for _ in range(2)]


def _process(rank: int, function: Callable, values: dict, port: int, statuses) -> None:
    os.environ |= {
        "LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    torch.set_num_threads(1)
    warnings.simplefilter("error", FutureWarning)
    statuses.put(function(values))


def start_stoppable(command: list) -> subprocess.Popen:
    """A process with piped text output that heeds SIGINT, also where the tests themselves ignore it.

    They do when a script has started them with `&`, and processes inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)


HOLD = """
import sys, time
from pathlib import Path
from utils.core.lock import sole_run
with sole_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@contextmanager
def another_run(output: Path) -> Iterator[subprocess.Popen]:
    """A process that holds the lock of an output."""
    command = [sys.executable, "-c", HOLD, str(output)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def files_up_to(size):
    """No larger file can be written in the context."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
