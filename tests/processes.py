"""Run a function in two processes that torch takes for torchrun's."""

import os
import socket
from collections.abc import Callable

import torch

from utils.config import as_plain


def run_processes(function: Callable[[dict], int], config) -> list[int]:
    """What `function(keys of the config)` returns in each of two gloo processes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    statuses = torch.multiprocessing.get_context("spawn").SimpleQueue()
    torch.multiprocessing.spawn(_process, (function, as_plain(config), port, statuses), nprocs=2)
    return [statuses.get() for _ in range(2)]


def _process(rank: int, function: Callable, values: dict, port: int, statuses) -> None:
    os.environ |= {
        "LOCAL_RANK": str(rank), "RANK": str(rank), "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    }  # fmt: skip
    torch.set_num_threads(1)
    statuses.put(function(values))
