"""One run at a time on one output: a lock that ends with its process, however that ends.

    with sole_run(Path("out/submission.csv")): ...       # out/.submission.lock
    with sole_run(Path("crops")): ...                    # crops/.lock

A POSIX lock on a small file, which the kernel gives up with the process; so a file that a killed run left
locks nothing. NFS carries such locks from host to host (version 4, or 3 with lockd). Where a file system has
none, that is said, and the run goes on.
"""

from __future__ import annotations

import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from utils.core.errors import UserError
from utils.core.files import remove_leftovers

SHOWN = 200  # characters of what a lock file says


@contextmanager
def sole_run(output: Path) -> Iterator[None]:
    """Hold the lock of `output`, a file or the folder that a run fills, while the context is open.

    Its folder must be there; what killed runs left half-written in it is removed. Raises UserError, which
    names the process and its host, where another run holds the lock, and where the folder can't be written.
    """
    path = lock_path(output)
    try:
        file = _take(path, output)
    except OSError as error:
        raise UserError(f"{path}: can't be written ({error.strerror}); see to that folder") from None
    try:
        remove_leftovers(path.parent)
        yield
    finally:
        with suppress(OSError):  # before it is unlocked: who opens it until then sees that it is gone
            if _is_at(file, path):
                path.unlink()
        with suppress(OSError):
            file.close()


def lock_path(output: Path) -> Path:
    """`out/submission.csv` -> `out/.submission.lock`; of a folder, `.lock` in it."""
    return output / ".lock" if output.is_dir() else output.with_name(f".{output.stem}.lock")


def _take(path: Path, output: Path) -> TextIO:
    """The lock file, open and locked. Raises UserError, OSError."""
    while True:
        file = open(path, "a+", encoding="utf-8", errors="replace")
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            holder = _holder(file)
            file.close()
            advice = "wait for its end, stop it, or name another output"
            raise UserError(f"{output}: another run writes there, {holder}; {advice}") from None
        except OSError as error:
            line = f"{path}: no locks on this file system ({error.strerror}): see to it that no second run"
            print(f"warning: {line} writes there", file=sys.stderr)
            return file
        if _is_at(file, path):
            break
        file.close()  # that of a run which ended in between
    with suppress(OSError):  # a full disk: who it is then can't be said
        file.truncate(0)
        file.write(f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%F %T')}\n")
        file.flush()
    return file


def _is_at(file: TextIO, path: Path) -> bool:
    """Whether the open file is the one that has this name."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def _holder(file: TextIO) -> str:
    """Who holds the lock, as its file says."""
    file.seek(0)
    said = "".join(letter for letter in file.readline(SHOWN) if letter.isprintable())
    return said or "which has just begun"
