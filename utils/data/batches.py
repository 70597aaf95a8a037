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
from collections.abc import Callable, Collection, Generator, Iterable, Iterator
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
    """One face or a group of G: images (G, S, S, 3) uint8 RGB, labels (G,) int64.

    images: None if no readable crop was found.

    key: what was asked for; broken: a line for each broken crop met on the way.
    """

    images: Tensor | None
    labels: Tensor
    key: SampleKey
    broken: list[str]


class Batch(NamedTuple):
    """images (B, S, S, 3) uint8 RGB, labels (B,), keys of the samples, broken.

    images: None if a sample has no readable crop.
    """

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
    dataset: Dataset,
    batches: Iterable[list[SampleKey]],
    num_workers: int,
    pin_memory: bool = False,
    is_kept: bool = False,
) -> DataLoader:
    """A loader of `Batch`es that leaves the global random state alone; to be read with `patient`.

    is_kept: its processes live on after a pass, for the next one.
    """
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=collate,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),
        pin_memory=pin_memory,
        timeout=LOOK_SECONDS if num_workers else 0,
        persistent_workers=is_kept and num_workers > 0,
    )


class KeptLoader:
    """The loading processes of a data set, kept from one pass over it to the next.

    A key says all that a sample depends on, its epoch too, so they needn't be started anew. What was loaded
    ahead in a pass that is left early is dropped, with the processes.
    """

    def __init__(self, dataset: Dataset, num_workers: int, pin_memory: bool = False):
        self._settings = (dataset, self, num_workers, pin_memory, True)
        self._batches: Collection[list[SampleKey]] = ()
        self._loader: DataLoader | None = None

    def __iter__(self) -> Iterator[list[SampleKey]]:
        """The batches of keys of the pass that begins now."""
        return iter(self._batches)

    def __len__(self) -> int:
        return len(self._batches)

    def load(
        self, batches: Collection[list[SampleKey]], workers_key: str, stopping: Callable[[], bool]
    ) -> Iterator[Batch]:
        """One pass: see `patient`."""
        self._batches = batches
        loader, self._loader = self._loader or make_loader(*self._settings), None
        if (yield from patient(loader, workers_key, stopping)):
            self._loader = loader

    def close(self) -> None:
        """End the processes."""
        loader, self._loader = self._loader, None
        if loader is not None:
            _end(getattr(loader, "_iterator", None), set())


def patient(
    loader: DataLoader, workers_key: str, stopping: Callable[[], bool]
) -> Generator[Batch, None, bool]:
    """The loader's batches; they end early where `stopping` says so while none comes.

    workers_key: the config's name of the number of loading processes. DataError where a worker can't get
    shared memory or ended, or no batch came for PATIENCE_SECONDS. To be closed, which ends the workers, but
    not at the end of a pass where the loader keeps them. Returns whether that was reached.
    """
    others, batches, is_whole = set(multiprocessing.active_children()), iter(loader), False
    workers = {*(set(multiprocessing.active_children()) - others), *getattr(batches, "_workers", ())}
    try:
        since = time.monotonic()
        while (batch := _next(batches, workers_key)) is not None:
            if batch is not LATE:
                yield batch
                since = time.monotonic()
            elif stopping():
                return False
            elif time.monotonic() - since > PATIENCE_SECONDS:
                raise DataError(
                    f"no batch of crops came for {PATIENCE_SECONDS // 60} minutes; is the disk that holds "
                    f"them there? A run with {workers_key}=0 shows where it waits"
                )
        is_whole = True
    finally:
        if not (is_whole and loader.persistent_workers):
            _end(batches, workers)
    return is_whole


def _end(batches: Iterator[Batch] | None, workers: set) -> None:
    """End a loader's processes. One that hangs, in a read say, must not outlive the loader either."""
    workers = {*workers, *getattr(batches, "_workers", ())}
    getattr(batches, "_shutdown_workers", lambda: None)()
    for worker in workers & set(multiprocessing.active_children()):
        worker.kill()
        worker.join(5)  # seconds; a busy machine takes its time


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
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave_the_first_to_the_main_process)
    if sys.platform == "linux":  # ends with the main process, however that ends
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    cv2.setNumThreads(0)


def _leave_the_first_to_the_main_process(*_) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        os._exit(128 + signal.SIGTERM)
