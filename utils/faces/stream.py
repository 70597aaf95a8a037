"""Generators that run ahead in threads of their own: decoding beside inference."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing


class Shared:
    """An iterator that several threads take from."""

    def __init__(self, items: Iterable):
        self._items = iter(items)
        self._lock = threading.Lock()

    def __iter__(self) -> Shared:
        return self

    def __next__(self):
        with self._lock:
            return next(self._items)


class Prefetch:
    """Runs generators in a thread each, at most `depth` items ahead; a context manager, iterated once.

    The items of one generator come in its order; those of several are mixed as they come.
    """

    _END = object()

    def __init__(self, generators: Sequence[Iterator], depth: int):
        self._queue: queue.Queue = queue.Queue(depth)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(items,), name="decoder", daemon=True)
            for items in generators
        ]

    def _run(self, generator: Iterator) -> None:
        try:
            with closing(generator) as items:
                for item in items:
                    if not self._put(item):
                        return
        except BaseException as error:  # raised again where the items are used
            self._error = error
        self._put(self._END)

    def _put(self, item: object) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __enter__(self) -> Prefetch:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def __iter__(self) -> Iterator:
        running = len(self._threads)
        while running:
            item = self._queue.get()
            if item is not self._END:
                yield item
                continue
            running -= 1
            if self._error is not None:
                raise self._error
