"""A time budget for scoring: of each clip fewer faces are judged as time runs short.

    budget = Budget(30600, files=400, limit=25)
    limit = budget.limit_for(path)      # as a clip is begun
    budget.done(path)                   # as its result is there
    budget.change(), budget.summary()   # what is to be said of it

How long a face takes is taken from the last files. If the faces of all that are left take longer than the
time that is left, the next clip gets its share of that time instead, and more again once there is time to
spare. Never less than five faces, below which a verdict stays open: a budget that is too small for them is
passed, and that is said.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from utils.scoring.config import SubmissionConfig
from utils.scoring.verdict import FEW_FACES

LAST = 50  # files by which the pace is told
FIRST = 3  # files after the first, which has the device's start in it, before anything is told


class Budget:
    """seconds: of the work from now on; files: how many are to be scored; limit: faces of a clip at most.

    clock: seconds that never go back. Clips may be begun in one thread and done in another.
    """

    def __init__(self, seconds: float, files: int, limit: int, clock: Callable[[], float] = time.monotonic):
        self.seconds, self.files, self.limit = seconds, files, limit
        self.floor = min(FEW_FACES, limit)
        self.clock, self.began, self.lock = clock, clock(), Lock()
        self.under_way: dict[Path, int] = {}  # faces that clips begun and not done may have
        self.ends: deque[tuple[float, int]] = deque(maxlen=LAST + 1)  # when files were done, their faces
        self.begun, self.fewer = 0, 0
        self.lowest = self.said = limit

    @property
    def left(self) -> float:
        """Seconds of the budget; below 0 where it is passed."""
        return self.seconds - (self.clock() - self.began)

    def limit_for(self, path: Path) -> int:
        """Of how many faces the next clip is to be judged at most."""
        with self.lock:
            faces = min(max(self._share(), self.floor), self.limit)
            self.begun += 1
            self.under_way[path] = faces
            self.fewer += faces < self.limit
            self.lowest = min(self.lowest, faces)
            return faces

    def done(self, path: Path) -> None:
        """A clip's result is there."""
        with self.lock:
            self.ends.append((self.clock(), self.under_way.pop(path)))

    def change(self) -> str:
        """A line when clips get fewer faces for the first time, and whenever that has halved; else ""."""
        if self.lowest == self.limit or (self.said < self.limit and self.lowest > self.said / 2):
            return ""
        self.said = self.lowest
        left = f"{self.files - self.begun} file(s) not begun, {max(self.left, 0):.0f} s of the budget left"
        return f"time runs short: up to {self.said} faces of a clip; {left}"

    def summary(self) -> str:
        """What came of it, in a line."""
        took = self.clock() - self.began
        said = f"time_budget_s={self.seconds:g}: {took:.0f} s taken"
        if took > self.seconds:
            said += f", {took - self.seconds:.0f} s more than that"
        if not self.fewer:
            return f"{said}; time for {self.limit} faces of every clip"
        least = f"the least {self.lowest}" + " (the floor)" * (self.lowest == self.floor)
        few = f"{self.fewer} of {self.begun} file(s) had time for fewer than {self.limit} faces"
        return f"{said}; {few}, {least}"

    def _share(self) -> int:
        """The faces for which there is time in each clip that is left."""
        left = self.left
        if left <= 0:
            return self.floor
        if len(self.ends) <= FIRST:
            return self.limit
        (start, _), *rest = self.ends
        pace = (rest[-1][0] - start) / sum(faces for _, faces in rest)  # seconds a face
        if pace <= 0:
            return self.limit
        share = (left / pace - sum(self.under_way.values())) / max(self.files - self.begun, 1)
        return int(min(share, self.limit)) if share > 0 else self.floor


def budget_of(config: SubmissionConfig, files: int) -> Budget | None:
    """The budget that a config sets for so many files, from now on; None where it sets none."""
    if config.time_budget_s is None:
        return None
    return Budget(config.time_budget_s, files, config.face_limit)
