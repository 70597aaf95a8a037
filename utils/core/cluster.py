"""A work on a cluster: each file is a task of a running Dask scheduler.

    with Cluster(work, "tcp://host:8786") as cluster:
        for outcome in cluster.run(items): ...

A task hands its file to a crew of one beside the Dask worker (`utils.core.station`), so that files of a
worker with several threads share batches, and a file that crashes or hangs its decoder costs itself alone. If
a Dask worker is lost, Dask runs its files again elsewhere; once that has been so more often than the
scheduler allows (`distributed.scheduler.allowed-failures`), they have failed.

All machines see the repository and the files under the same paths.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from itertools import islice
from types import FunctionType
from typing import Any

from utils.core.crew import GAVE_UP, ROOT, Progress
from utils.core.errors import ConfigError, UserError

AHEAD = 3  # tasks that are given to the scheduler for each thread of the workers
PATIENCE = 30  # seconds for the scheduler to answer


class Cluster:
    """address: of the scheduler; timeout: as of `Crew`."""

    def __init__(self, work: Any, address: str, timeout: float | None = None):
        self.work, self.address, self.timeout = work, address, timeout
        self.payload = pickle.dumps((work, timeout, os.getcwd()))
        self.frames = 0

    def __enter__(self) -> Cluster:
        """Find the scheduler. Raises ConfigError where Dask isn't installed, UserError where none answers."""
        try:
            import distributed
        except ImportError:
            raise ConfigError("--dask needs Dask: pip install -r requirements-dask.txt") from None
        for name in ("distributed", "distributed.client"):  # of what is lost the command itself tells
            logging.getLogger(name).setLevel(logging.CRITICAL)
        # As a function of no module it travels whole: a scheduler need not find the repository.
        names = {"__builtins__": __builtins__, "__name__": "__main__"}
        self.task = FunctionType(task.__code__, names, "task")
        self.dask = distributed
        try:
            self.client = distributed.Client(self.address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError):
            raise UserError(f"--dask {self.address}: no scheduler answers there") from None
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()  # tasks that nobody waits for are dropped

    def ready(self) -> Any:
        """What the work says of itself, once a worker is there and has loaded it. Raises as `run`."""
        if not self._threads():
            print(f"waiting for a worker of {self.address}", flush=True)
        # the task comes first: a cluster that adapts starts no worker before there is something to do
        futures = self.dask.as_completed([self._submit(None)], loop=self.client.loop)
        try:
            about = self._result(next(futures))
        except self.dask.KilledWorker:
            raise UserError(f"--dask {self.address}: workers are lost before they have loaded") from None
        with self._reached():
            print(f"{len(self.client.nthreads())} worker(s) of {self.address}", flush=True)
        return about

    def run(self, items: Sequence[Hashable], progress: Progress = lambda part, frames: None) -> Iterator[Any]:
        """The outcomes of the items, each as soon as it is there. Raises what a worker raised, and UserError
        where the scheduler is lost."""
        waiting, futures = iter(items), self.dask.as_completed(loop=self.client.loop)
        under_way = {}

        def fill() -> None:
            room = max(AHEAD * self._threads(), AHEAD) - len(under_way)
            for item in islice(waiting, max(room, 0)):
                future = self._submit(pickle.dumps(item))
                under_way[future.key] = item
                futures.add(future)

        fill()
        while under_way:
            future = next(futures)
            yield self._outcome(future, under_way.pop(future.key))
            fill()
            progress(0.0, self.frames)

    def _submit(self, item: bytes | None) -> Any:
        with self._reached():
            return self.client.submit(self.task, str(ROOT), self.payload, item, pure=False)

    def _threads(self) -> int:
        with self._reached():
            return sum(self.client.nthreads().values())

    def _outcome(self, future: Any, item: Hashable) -> Any:
        try:
            outcome, frames = self._result(future)
        except self.dask.KilledWorker:
            return self.work.lost(item, f"{GAVE_UP}each worker that had it was lost")
        self.frames += frames
        return outcome

    def _result(self, future: Any) -> Any:
        """What a task that has ended gave. Raises what it raised."""
        if future.status == "error":
            raise future.exception()
        with self._reached():
            return future.result()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """What Dask raises in many ways where the scheduler is lost is a UserError."""
        try:
            yield
        except (Exception, CancelledError) as error:
            is_lost = isinstance(error, CancelledError | OSError) or self.client.status != "running"
            if not is_lost:
                raise
            reason = "the scheduler is gone; start one, and give the same command again to go on"
            raise UserError(f"--dask {self.address}: {reason}") from None


def task(root: str, payload: bytes, item: bytes | None) -> Any:
    """What a Dask worker does: (outcome, frames searched) of an item; without one what the work says."""
    import sys

    if root not in sys.path:
        sys.path.insert(0, root)
    from utils.core.station import do

    return do(payload, item)
