"""A work of numbers for tests of workers, which import it: what becomes of one is in its name."""

import os
import signal
import time
from pathlib import Path
from unittest import mock

from utils.core.console import STOPPING
from utils.core.files import write_whole


class Media:
    duration = 0.0


class Squares:
    """Items are (what, number): "ok" is squared; the others signal, end or block their worker, or raise.

    log: a folder that gets a file a start of an item, `worker-<number>-<pid>` a start of a worker.
    """

    def __init__(self, log: Path):
        self.log = log

    def open(self, number: int = 0, threads: int | None = None) -> None:
        (self.log / f"worker-{number}-{os.getpid()}").touch()
        if (self.log / "broken").exists():
            os._exit(3)
        if (self.log / "stuck").exists():
            time.sleep(3600)
        self.about = "ready"

    def session(self, items, heard):
        for item in items:
            what, number = item
            heard.begun(item, Media())
            (self.log / f"{what}-{number}-{os.getpid()}-{time.monotonic_ns()}").touch()
            if what == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            if what == "hang":
                time.sleep(3600)
            if what == "once" and len(list(self.log.glob(f"once-{number}-*"))) == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "raise":
                raise OSError(28, "No space left on device", "crops")
            if what == "slow":
                time.sleep(0.2)
            if what == "write":
                write_slowly(self.log)
                time.sleep(3600)
            if what == "signalled":
                for sent in STOPPING:
                    os.kill(os.getpid(), sent)
            heard.part(0.5, 3)
            yield item, (item, number**2)

    def lost(self, item, reason):
        return item, reason

    def starts(self, what, number):
        """How often an item was begun."""
        return len(list(self.log.glob(f"{what}-{number}-*")))


def write_slowly(folder: Path) -> None:
    """Write the file `whole`, which takes its place half a second after the file `half` is there."""
    replace = os.replace

    def replace_late(*paths: str) -> None:
        (folder / "half").touch()
        time.sleep(0.5)
        replace(*paths)

    with mock.patch("os.replace", replace_late):
        write_whole(folder / "whole", b"all of it")


def is_written(folder: Path) -> bool:
    """Whether `whole` is there, and nothing half-written beside it."""
    whole = folder / "whole"
    return whole.exists() and whole.read_bytes() == b"all of it" and not list(folder.glob(".*.part"))
