"""What a Dask worker has for the work of a command: a crew of one, which stays from task to task.

    outcome, frames = do(payload, item)      # in a task; item None: what the work says of itself

The networks are loaded once, and the threads of a Dask worker share them. A station ends where another work
comes, and where nobody wants what it does any more: the command has ended or was killed.
"""

from __future__ import annotations

import fcntl
import os
import pickle
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import Lock
from typing import Any

from utils.core.crew import Crew

MOST_PLACES = 256  # workers of a host that are told apart
ENDED = {"closing", "closed", "failed"}  # of a Dask worker
Wanted = Callable[[], bool]  # whether a task's outcome is waited for


class Abandoned(Exception):
    """Nobody waits any more for what a station does."""


def do(payload: bytes, item: bytes | None) -> Any:
    """(outcome, frames searched) of an item, both of them packed; without one what the work says of itself.

    Raises what the work raised, and Abandoned where this task was cancelled, and all others beside it.
    """
    is_wanted = _is_wanted()
    while True:
        with _station_for(payload, is_wanted) as station:
            try:
                return station.do(item)
            except Abandoned:  # before this task came to it, maybe
                if not is_wanted():
                    raise


class Station:
    """The crew of one process of a Dask worker, whose threads share it."""

    def __init__(self, payload: bytes, threads: int):
        work, timeout, folder = pickle.loads(payload)
        self.crew = Crew(work, 1, timeout, folder, threads)
        self.crew.first = place_on_host()
        self.lock, self.outcomes, self.error = Lock(), {}, None
        self.users: list[Wanted] = []  # a task each
        self.waiting: Counter[Hashable] = Counter()  # tasks for an item: a command may be given twice

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
                if not any(is_wanted() for is_wanted in tuple(self.users)):
                    raise Abandoned
                self.crew.start()
                self.outcomes.update(self.crew.poll(0.1))
            except BaseException as error:
                self.error = error
                self.crew.close()
                raise


_stations: dict[bytes, Station] = {}
_opening = Lock()


@contextmanager
def _station_for(payload: bytes, is_wanted: Wanted) -> Iterator[Station]:
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
        station.users.append(is_wanted)
    try:
        yield station
    finally:
        with _opening:
            station.users.remove(is_wanted)


def _is_wanted() -> Wanted:
    """What tells whether the task of this thread is wanted: Dask lets those of a lost command go on, and
    waits for them when a worker ends."""
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def is_wanted() -> bool:
        task = worker.state.tasks.get(key)
        return task is not None and task.state != "cancelled" and worker.status.name not in ENDED

    return is_wanted


@cache
def place_on_host() -> int:
    """A number from 0 on that no other process of this user has on this host, by which GPUs are dealt out.

    It is a lock, which the kernel gives up with the process; so a worker that is started again gets the place
    of the one that was lost. 0 where there are no such locks.
    """
    for number in range(MOST_PLACES):
        path = os.path.join(tempfile.gettempdir(), f"dfdc-{os.getuid()}-{number}.lock")
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError:
            continue
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return number  # the file stays open
        except OSError:
            os.close(descriptor)
    return 0
