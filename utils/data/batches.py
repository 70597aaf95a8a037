"""Samples and batches of them, and the processes that load them.

A loader's worker that can't hand over a batch must not keep the training waiting for ever: where shared
memory is full, or nothing comes for ten minutes, there is an error that says what to do.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from utils.core.errors import DataError
from utils.data.sampling import SampleKey

PATIENCE_SECONDS = 600  # a batch may take so long, a first one from a slow disk for instance
LOOK_SECONDS = 5  # between looks at whether the run is to stop
SHARED_MEMORY = "/dev/shm"
_PR_SET_PDEATHSIG = 1


class Sample(NamedTuple):
    """One face or a group of G: images (G, ...) (None: no readable crop was found), labels (G,) int64.

    key: what was asked for; broken: a line for each broken crop met on the way.
    """

    images: Tensor | None
    labels: Tensor
    key: SampleKey
    broken: list[str]


class Batch(NamedTuple):
    """images (B, ...) (None: a sample has no readable crop), labels (B,), keys of the samples, broken."""

    images: Tensor | None
    labels: Tensor
    keys: list[SampleKey]
    broken: list[str]


def collate(samples: list[Sample]) -> Batch:
    """The samples' images and labels one after another."""
    images = [sample.images for sample in samples]
    whole = None if any(part is None for part in images) else torch.cat(images)
    labels = torch.cat([sample.labels for sample in samples])
    if whole is not None and get_worker_info() is not None:
        # Here, where a failure is handed over; the queue would only print it, and the batch never come.
        whole, labels = whole.share_memory_(), labels.share_memory_()
    return Batch(
        whole,
        labels,
        [sample.key for sample in samples],
        [line for sample in samples for line in sample.broken],
    )


def make_loader(
    dataset: Dataset, batches: Iterable[list[SampleKey]], num_workers: int, pin_memory: bool = False
) -> DataLoader:
    """A loader of `Batch`es that leaves the global random state alone; to be read with `patient`."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=collate,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),
        pin_memory=pin_memory,
        timeout=LOOK_SECONDS if num_workers else 0,
    )


def patient(loader: DataLoader, workers_key: str, stopping: Callable[[], bool]) -> Iterator[Batch]:
    """The loader's batches; they end early where `stopping` says so while none comes.

    workers_key: the config's name of the number of loading processes. DataError where a worker can't get
    shared memory or ended, or no batch came for PATIENCE_SECONDS. To be closed, which ends the workers.
    """
    others, batches = set(multiprocessing.active_children()), iter(loader)
    try:
        since = time.monotonic()
        while (batch := _next(batches, workers_key)) is not None:
            if batch is not LATE:
                yield batch
                since = time.monotonic()
            elif stopping():
                return
            elif time.monotonic() - since > PATIENCE_SECONDS:
                raise DataError(
                    f"no batch of crops came for {PATIENCE_SECONDS // 60} minutes; is the disk that holds "
                    f"them there? A run with {workers_key}=0 shows where it waits"
                )
    finally:
        # Workers that answer end here; one that hangs, in a read say, must not outlive the loader.
        getattr(batches, "_shutdown_workers", lambda: None)()
        for child in set(multiprocessing.active_children()) - others:
            child.kill()
            child.join(LOOK_SECONDS)


LATE = Batch(None, torch.empty(0), [], [])


def _next(batches: Iterator[Batch], workers_key: str) -> Batch | None:
    """The next batch, LATE if none came in LOOK_SECONDS, None at the end. Errors as of `patient`."""
    try:
        return next(batches)
    except StopIteration:
        return None
    except RuntimeError as error:
        if "timed out after" in str(error):
            return LATE
        raise _explained(error, workers_key) from None


def _explained(error: RuntimeError, workers_key: str) -> BaseException:
    """The error of a loader as one for the user, where it is about shared memory or a killed worker."""
    words = str(error)
    if "shared memory" in words or "(shm)" in words or "Bus error" in words:
        return DataError(
            f"the loading processes can't get shared memory ({shared_memory()}): fewer {workers_key}, a "
            f"smaller batch_size, {workers_key}=0, or more of it (docker run --shm-size=8g)"
        )
    if "DataLoader worker" in words and ("killed by signal" in words or "exited unexpectedly" in words):
        return DataError(
            f"a loading process has ended, for lack of memory or by hand: {' '.join(words.split())[:200]}; "
            f"fewer {workers_key} need less memory"
        )
    return error


def shared_memory() -> str:
    """How much shared memory there is, in words."""
    try:
        usage = shutil.disk_usage(SHARED_MEMORY)
    except OSError:
        return f"{SHARED_MEMORY} is not there"
    return f"{SHARED_MEMORY} has {usage.total / 2**20:,.0f} MiB, {usage.free / 2**20:,.0f} of them free"


def _start_worker(_: int) -> None:
    # The main process decides when to stop, and saves first; it still needs its workers for that moment.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave_the_first_to_the_main_process)
    if sys.platform == "linux":  # ends with the main process, however that ends
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    cv2.setNumThreads(0)


def _leave_the_first_to_the_main_process(*_) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        os._exit(128 + signal.SIGTERM)
