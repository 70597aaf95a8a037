"""Worker processes that do one work on many files, and outlive a file that crashes or hangs its reader.

    with Crew(work, workers=2) as crew:
        for outcome in crew.run(items): ...

A worker gets a hand of files at a time, so that what runs across files (decoding ahead, batches) does. Each
outcome comes back at once. When a worker is lost, the files it had begun run again, each alone; one that
loses its worker twice, or alone takes too long, has failed, and the rest goes on.

A work is a picklable object:
    open(number, threads)  load what it needs, in worker `number`, with so many threads to compute
    about                  what is to be said of it then, not None
    session(items, heard)  yields (item, outcome) of hashable items; tells `heard.begun(item, media)`
                           when one is read from now on, `heard.part(part, frames)` how far it is
    lost(item, reason)     the outcome of an item that was given up
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from utils.core.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
HAND = 64  # files that a worker is dealt at once at most
PATIENCE = 300.0  # seconds without a frame, besides those that the file lasts
MOST_PATIENCE = 4 * 3600.0  # of these
TRIES = 2  # times that a file may lose its worker
LOAD_SECONDS = 300.0  # for a worker to load what it needs
LEAVE_SECONDS = 15.0  # for a worker that is told to leave; one is killed that a decoder keeps from it
FALSE_STARTS = 3  # workers in a row that end before they have loaded the networks
GAVE_UP = "given up: "  # how the reason of a lost file begins
Progress = Callable[[float, int], None]  # how much of the files that aren't done is done; frames so far
START = "import sys; sys.path.insert(0, {root!r}); from utils.core.worker import serve; serve({descriptor})"


@dataclass(eq=False)
class _Member:
    """One process. hand: what it was dealt and isn't done, in order; begun: those of them being read, with
    when that began and how long they last; heard, done: when something was heard of it, and when it was done
    with a file; part: how much of the files at hand is done."""

    number: int
    process: subprocess.Popen
    pipe: Connection
    ready: bool = False
    hand: dict[Hashable, None] = field(default_factory=dict)
    begun: dict[Hashable, tuple[float, float]] = field(default_factory=dict)
    alone: bool = False  # dealt a single file, which a loss can be blamed on
    busy: bool = False
    heard: float = 0.0
    done: float = 0.0
    part: float = 0.0


class Crew:
    """workers: how many processes. timeout: seconds for one file; None = 300 s, and as many as it lasts,
    without a new frame. folder: where they run; None = here. threads: of each; None = the cores shared out.

    about: what the work says of itself, once a worker is ready. first: the number of the first worker.
    """

    def __init__(
        self, work: Any, workers: int, timeout: float | None = None, folder: str | None = None,
        threads: int | None = None,
    ):  # fmt: skip
        self.work, self.workers, self.timeout, self.folder = work, workers, timeout, folder
        self.threads = threads or threads_of_each(workers)
        self.about: Any = None
        self.first = 0
        self.frames = 0
        self.waiting: deque[Hashable] = deque()
        self.suspects: deque[Hashable] = deque()  # lost a worker in company: to run alone
        self.losses: Counter[Hashable] = Counter()
        self.members: list[_Member] = []
        self.false_starts = 0
        self.outcomes: list[tuple[Hashable, Any]] = []

    @property
    def part(self) -> float:
        return sum(member.part for member in self.members)

    def __enter__(self) -> Crew:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Have all workers start; they load while the caller goes on."""
        for number in range(len(self.members), self.workers):
            self.members.append(self._hire(number))

    def close(self) -> None:
        """End all workers at once, whatever they are at; none leaves a file half-written."""
        for member in self.members:
            member.pipe.close()
        for member in self.members:
            _end(member)
        self.members.clear()

    def ready(self) -> Any:
        """What the work says of itself, when the first worker is ready. Raises what kept it from that."""
        while self.about is None:
            self._listen(1.0)
            self._end_overdue()
        return self.about

    def run(self, items: Sequence[Hashable], progress: Progress = lambda part, frames: None) -> Iterator[Any]:
        """The outcomes of the items, each as soon as it is there.

        progress: told twice a second, and after each outcome, how much of the files that aren't done is done,
        and how many frames were searched. Raises what a worker raised: a UserError, or a defect.
        """
        self.waiting.extend(items)
        left = len(items)
        while left:
            for _, outcome in self.poll(0.5):
                left -= 1
                yield outcome
            progress(self.part, self.frames)

    def add(self, item: Hashable) -> None:
        """One item more to do."""
        self.waiting.append(item)

    def poll(self, seconds: float) -> list[tuple[Hashable, Any]]:
        """Deal, listen for so long at most; (item, outcome) of those that are through. Raises as `run`."""
        for member in self.members:
            if member.ready and not member.busy:
                self._deal(member)
        self._listen(seconds)
        self._end_overdue()
        outcomes, self.outcomes = self.outcomes, []
        return outcomes

    def _hire(self, number: int) -> _Member:
        """Start a process, and tell it what the work is."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = START.format(root=str(ROOT), descriptor=theirs.fileno())
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", command], stdin=subprocess.DEVNULL, cwd=self.folder,
                pass_fds=[theirs.fileno()], env=os.environ | {"OMP_NUM_THREADS": str(self.threads)},
            )  # fmt: skip
        pipe = Connection(ours.detach())
        with suppress(OSError):  # it has ended; `_listen` finds that out
            pipe.send((self.work, self.first + number, self.threads))
        return _Member(number, process, pipe, heard=time.monotonic())

    def _deal(self, member: _Member) -> None:
        """Give a worker that has nothing to do a suspect, or its share of what is waiting."""
        if self.suspects:
            hand = [self.suspects.popleft()]
        else:
            share = len(self.waiting) if self.workers == 1 else -(-len(self.waiting) // (2 * self.workers))
            hand = [self.waiting.popleft() for _ in range(min(HAND, share))]
        if hand:
            member.hand, member.begun = dict.fromkeys(hand), {}
            member.alone, member.busy = len(hand) == 1, True
            member.heard = member.done = time.monotonic()
            with suppress(OSError):  # as in `_hire`
                member.pipe.send(hand)

    def _listen(self, seconds: float) -> None:
        """Take in all messages that are there, or that come within the seconds."""
        for pipe in wait([member.pipe for member in self.members], seconds):
            member = next(member for member in self.members if member.pipe is pipe)
            if not self._hear(member):
                self._lose(member, None)

    def _hear(self, member: _Member) -> bool:
        """Take in what a worker sent; False where nothing is to come of it any more."""
        messages, is_there = [], True
        try:
            while member.pipe.poll():
                messages.append(member.pipe.recv())
        except (EOFError, OSError):
            is_there = False
        for message in messages:
            self._take(member, *message)
        return is_there

    def _take(self, member: _Member, kind: str, *values: Any) -> None:
        member.heard = time.monotonic()
        if kind == "ready":
            member.ready, self.false_starts, self.about = True, 0, values[0]
        elif kind == "begun":
            member.begun[values[0]] = member.heard, 0.0
        elif kind == "lasts":
            member.begun[values[0]] = member.begun[values[0]][0], values[1]
        elif kind == "part":
            member.part = values[0]
            self.frames += values[1]
        elif kind == "done":
            member.hand.pop(values[0])
            member.begun.pop(values[0], None)
            member.done, member.part = member.heard, 0.0
            self.frames += values[2]
            self.outcomes.append((values[0], values[1]))
        elif kind == "idle":
            member.busy, member.part = False, 0.0
        else:
            raise values[0]

    def _end_overdue(self) -> None:
        """Not one that has sent something which isn't taken in yet: ending another takes seconds."""
        for member in list(self.members):
            overdue = self._overdue(member)
            if overdue is not None and not member.pipe.poll():
                self._lose(member, overdue)

    def _overdue(self, member: _Member) -> str | None:
        """Why a worker must be ended, in words; None = it need not."""
        now = time.monotonic()
        if not member.ready and now - member.heard > LOAD_SECONDS:
            return f"nothing is loaded after {LOAD_SECONDS:.0f} s"
        if not member.busy:
            return None
        since, lasts = next(iter(member.begun.values()), (member.heard, 0.0))
        if self.timeout is not None:
            overdue = now - max(since, member.done) > self.timeout
            return f"not done after {self.timeout:g} s (--video-timeout)" if overdue else None
        limit = PATIENCE + min(lasts, MOST_PATIENCE)
        return f"nothing came of it for {limit:.0f} s" if now - member.heard > limit else None

    def _lose(self, member: _Member, overdue: str | None) -> None:
        """A worker is gone: what it had runs again or has failed, and another takes its place."""
        self._hear(member)  # what it sent before
        status = _end(member)
        blamed = list(member.begun) or list(member.hand)[:1]
        self.waiting.extendleft(reversed([item for item in member.hand if item not in blamed]))
        for item in blamed:
            self.losses[item] += 1
            if member.alone and (overdue or self.losses[item] >= TRIES):
                reason = GAVE_UP + (overdue or f"it ended its worker twice ({_cause(status)})")
                self.outcomes.append((item, self.work.lost(item, reason)))
            else:
                self.suspects.append(item)
        if not member.ready:
            self.false_starts += 1
            if self.false_starts >= FALSE_STARTS:
                raise UserError(f"worker processes end before they begin ({overdue or _cause(status)})")
        self.members[self.members.index(member)] = self._hire(member.number)


def _end(member: _Member) -> int:
    """Have a process leave, by closing its pipe, or kill it where it doesn't; its exit status."""
    member.pipe.close()
    try:
        return member.process.wait(LEAVE_SECONDS)
    except subprocess.TimeoutExpired:
        member.process.kill()
    with suppress(subprocess.TimeoutExpired):  # a disk that doesn't answer keeps it from ending
        member.process.wait(LEAVE_SECONDS)
    return -signal.SIGKILL


def threads_of_each(workers: int) -> int:
    """The cores shared out, and no more than OMP_NUM_THREADS says."""
    share = max(1, len(os.sched_getaffinity(0)) // workers)
    said = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(share, int(said)) if said.isdecimal() and int(said) else share


def _cause(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name
    hints = {"SIGSEGV": "a crash in a decoder", "SIGKILL": "killed, maybe for lack of memory"}
    return f"{name}: {hints[name]}" if name in hints else name
