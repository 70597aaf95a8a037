"""A work on a cluster: each file is a task of a running Dask scheduler.

    with Cluster(work, "tcp://host:8786") as cluster:
        for outcome in cluster.run(items): ...

A task hands its file to a `Crew` of one, which lives beside the Dask worker from its first task on. So
networks are loaded once, files of a worker with several threads share batches, and a file that crashes or
hangs its decoder costs itself alone. If a Dask worker is lost, Dask runs its files again elsewhere; once that
has been so more often than the scheduler allows (`distributed.scheduler.allowed-failures`), they have failed.

All machines see the repository and the files under the same paths.
"""

from __future__ import annotations

import os
import pickle
import time
from collections import Counter
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from threading import Lock
from types import FunctionType
from typing import Any

from utils.core.crew import GAVE_UP, ROOT, Crew, Progress
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
        """What the work says of itself, once a worker is there and has loaded it."""
        if not self._threads():
            print(f"waiting for a worker of {self.address}", flush=True)
        # the task comes first: a cluster that adapts starts no worker before there is something to do
        about = self.client.submit(self.task, str(ROOT), self.payload, None, pure=False).result()
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
                payload = pickle.dumps(item)
                future = self.client.submit(self.task, str(ROOT), self.payload, payload, pure=False)
                under_way[future.key] = item
                futures.add(future)

        fill()
        while under_way:
            future = next(futures)
            yield self._outcome(future, under_way.pop(future.key))
            fill()
            progress(0.0, self.frames)

    def _threads(self) -> int:
        return sum(self.client.nthreads().values())

    def _outcome(self, future, item: Hashable) -> Any:
        if future.status == "finished":
            outcome, frames = future.result()
            self.frames += frames
            return outcome
        if future.status != "error":
            raise UserError(f"--dask {self.address}: the scheduler is gone; the same command goes on")
        error = future.exception()
        if isinstance(error, self.dask.KilledWorker):
            return self.work.lost(item, f"{GAVE_UP}each worker that had it was lost")
        raise error


def task(root: str, payload: bytes, item: bytes | None) -> Any:
    """What a Dask worker does: (outcome, frames searched) of an item; without one what the work says."""
    import sys

    if root not in sys.path:
        sys.path.insert(0, root)
    from utils.core.cluster import station_for

    with station_for(payload) as station:
        return station.do(item)


class Station:
    """The crew of one process of a Dask worker, whose threads share it."""

    def __init__(self, payload: bytes, threads: int):
        work, timeout, folder = pickle.loads(payload)
        self.crew = Crew(work, 1, timeout, folder, threads)
        self.lock, self.outcomes, self.error = Lock(), {}, None
        self.users = 0  # threads
        self.waiting: Counter[Hashable] = Counter()  # threads for an item: a command may be given twice

    def do(self, packed: bytes | None) -> Any:
        """Raises what the work raised, in all threads that wait for it."""
        if packed is None:
            while self.crew.about is None:
                self._poll()
            return self.crew.about
        item = pickle.loads(packed)
        with self.lock:
            if not self.waiting[item]:
                self.crew.add(item)
            self.waiting[item] += 1
        while True:
            self._poll()
            with self.lock:
                if item in self.outcomes:
                    return self._taken(item)

    def _taken(self, item: Hashable) -> tuple[Any, int]:
        """An outcome, which stays for others that wait for it, and the frames since the last one."""
        frames, self.crew.frames = self.crew.frames, 0
        self.waiting[item] -= 1
        if self.waiting[item]:
            return self.outcomes[item], frames
        del self.waiting[item]
        return self.outcomes.pop(item), frames

    def _poll(self) -> None:
        time.sleep(0.001)  # else the others, who want the lock, would hardly ever get it
        with self.lock:
            if self.error is not None:
                raise self.error
            try:
                self.crew.start()
                self.outcomes.update(self.crew.poll(0.1))
            except BaseException as error:
                self.error = error
                self.crew.close()
                raise


_stations: dict[bytes, Station] = {}
_opening = Lock()


@contextmanager
def station_for(payload: bytes) -> Iterator[Station]:
    """The station of this process for a work; those of other works end as soon as nobody uses them."""
    from distributed import get_worker

    with _opening:
        for other, station in list(_stations.items()):
            if station.error is not None:  # its crew is closed
                del _stations[other]
            elif other != payload and not station.users:
                _stations.pop(other).crew.close()
        if payload not in _stations:
            _stations[payload] = Station(payload, get_worker().state.nthreads)
        station = _stations[payload]
        station.users += 1
    try:
        yield station
    finally:
        with _opening:
            station.users -= 1
