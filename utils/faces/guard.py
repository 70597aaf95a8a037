"""A file as FFmpeg reads it, which ends what takes too long before the first frame: opening, and a search."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from utils.core.errors import MediaError

MOST_SECONDS = 5  # of computing, to open a small file or to find a place in it; commonly thousandths
SLOWEST = 100_000_000  # bytes a second, that are allowed besides: without an index a search reads all before
MOST_READ = 2  # times its size; one that is read again and again is a trap
SMALL = 16 << 20  # bytes; so much may be read of any file


class GuardedFile:
    """The open file, for PyAV, which seems to end where `limited()` was in force and too much was done.

    What computes without reading isn't ended by this.
    """

    def __init__(self, file: BinaryIO, name: str):
        self._file, self.name = file, name
        self._refused: str | None = None
        self._until: float | None = None
        self._left = 0

    def fileno(self) -> int:
        return self._file.fileno()

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        if self._until is not None and time.thread_time() > self._until:
            self._refused = f"opening it, or a search in it, takes too long: more than {MOST_SECONDS} s"
        elif self._until is not None and self._left < 0:
            self._refused = "opening it reads the same parts again and again"
        if self._refused is not None:  # PyAV prints what is raised here
            return b""
        data = self._file.read(size)
        self._left -= len(data)
        return data

    @contextmanager
    def limited(self) -> Iterator[None]:
        """While this lasts, there is an end to reading. Raises MediaError if it was met."""
        size = os.fstat(self.fileno()).st_size
        self._until = time.thread_time() + MOST_SECONDS + size / SLOWEST
        self._left = MOST_READ * size + SMALL
        try:
            yield
        except MediaError:
            self._check()
            raise
        finally:
            self._until = None
        self._check()

    def _check(self) -> None:
        if self._refused is not None:
            raise MediaError(self._refused)
