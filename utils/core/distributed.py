"""One process or several (torchrun): who am I, and what do the others have?

Every function works in a plain single process too, where it does nothing or returns what it was given.
"""

from __future__ import annotations

import gc
import inspect
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from utils.core.errors import ConfigError


@contextmanager
def process_group(on_cpu: bool = False) -> Iterator[None]:
    """Together with the other processes if torchrun started this one: NCCL between GPUs, gloo between CPUs.

    ConfigError for more processes than GPUs.
    """
    if "LOCAL_RANK" not in os.environ or dist.is_initialized():
        yield
        return
    on_gpu = torch.cuda.is_available() and not on_cpu
    if on_gpu:
        if local_rank() >= torch.cuda.device_count():
            raise ConfigError(f"more processes than the {torch.cuda.device_count()} GPUs of this machine")
        torch.cuda.set_device(local_rank())
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield
    finally:
        # DistributedDataParallel lies in a circle of references. It must be gone first: its threads can't be
        # ended any more when the interpreter does, and the process would end with an abort.
        gc.collect()
        dist.destroy_process_group()


def local_rank() -> int:
    """The number of this process on its machine, 0 on its own."""
    return int(os.environ.get("LOCAL_RANK", 0))


def rank() -> int:
    """The number of this process among all, 0 on its own."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main() -> bool:
    """Whether this process prints and writes."""
    return rank() == 0


def parallel(model: nn.Module, device: torch.device) -> nn.Module:
    """The model, its gradients averaged over the processes; batch norm statistics stay each process's own."""
    if world_size() == 1:
        return model
    ids = [device.index] if device.type == "cuda" else None
    known = inspect.signature(DistributedDataParallel.__init__).parameters
    sync_buffers = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # older
    return DistributedDataParallel(model, device_ids=ids, **{sync_buffers: False})


def share_buffers(model: nn.Module) -> None:
    """Give every process the batch norm statistics of the first, which are those that are saved."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def gather(value: Any) -> list[Any]:
    """What each process has, in the order of the processes; any picklable value."""
    if world_size() == 1:
        return [value]
    values: list[Any] = [None] * world_size()
    dist.all_gather_object(values, value)
    return values


def highest(values: Tensor) -> Tensor:
    """The highest of all processes' values at each place of a tensor on the device; nobody waits for it."""
    if world_size() > 1:
        dist.all_reduce(values, dist.ReduceOp.MAX)
    return values


def mean(values: Tensor) -> Tensor:
    """The mean of a tensor over all processes, the same in each."""
    if world_size() == 1:
        return values
    total = values.clone()
    dist.all_reduce(total)
    return total / world_size()
