"""A work of numbers for tests of workers, which import it: what becomes of one is in its name."""

import os
import signal
import time
from pathlib import Path


class Media:
    duration = 0.0


class Squares:
    """Items are (what, number): "ok" is squared; the others end or block their worker, or raise.

    log: a folder that gets a file a start of an item.
    """

    def __init__(self, log: Path):
        self.log = log

    def open(self, number: int = 0, threads: int | None = None) -> None:
        if (self.log / "broken").exists():
            os._exit(3)
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
            heard.part(0.5, 3)
            yield item, (item, number**2)

    def lost(self, item, reason):
        return item, reason

    def starts(self, what, number):
        """How often an item was begun."""
        return len(list(self.log.glob(f"{what}-{number}-*")))
