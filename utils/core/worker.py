"""The other end of a `Crew`: a process that loads what a work needs once, then does the files it is dealt.

It leaves as soon as the process that started it is gone or has closed the pipe, but no file half-written.
Signals that stop a command are that process's affair.
"""

from __future__ import annotations

import pickle
import queue
import signal
import threading
import time
import traceback
from collections.abc import Hashable
from contextlib import suppress
from multiprocessing.connection import Connection

from utils.core.console import STOPPING
from utils.core.files import leave

TELL_SECONDS = 0.5  # between two messages of how far it is


class _Sender:
    """Messages to the crew, from several threads; of how far it is, two a second at most."""

    def __init__(self, pipe: Connection):
        self.pipe, self.lock = pipe, threading.Lock()
        self.units, self.told = 0, 0.0

    def send(self, *message: object) -> None:
        with self.lock:
            self.pipe.send(message)

    def begun(self, item: Hashable, media: object) -> None:
        """A file is read from now on; media: what knows its `duration`, which asks the decoder."""
        self.send("begun", item)
        with suppress(Exception):  # what is wrong with the file is found out when it is read
            self.send("lasts", item, media.duration or 0.0)

    def part(self, done: float, units: int) -> None:
        """So much of the files at hand that are not done is done; `units` frames more were searched."""
        self.units += units
        if time.monotonic() - self.told >= TELL_SECONDS:
            self.told = time.monotonic()
            self.send("part", done, self.units)
            self.units = 0

    def done(self, item: Hashable, outcome: object) -> None:
        """A file is through; with it, the frames that haven't been told of."""
        self.send("done", item, outcome, self.units)
        self.units = 0


def serve(descriptor: int) -> None:
    """Do what comes through the pipe with this file descriptor, until its other end is closed."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    pipe = Connection(descriptor)
    sender, inbox = _Sender(pipe), queue.SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, inbox), daemon=True).start()
    try:
        work, number, threads = pickle.loads(inbox.get())  # imports what takes seconds
        work.open(number, threads)
        sender.send("ready", work.about)
        while True:
            for item, outcome in work.session(pickle.loads(inbox.get()), sender):
                sender.done(item, outcome)
            sender.send("idle")
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except BaseException as error:
        sender.send("error", _sendable(error))
    leave(0)  # threads that decode need not be waited for


def _receive(pipe: Connection, inbox: queue.SimpleQueue) -> None:
    """Pickled messages, unpacked by who takes them, so that the pipe's end is noticed at all times."""
    try:
        while True:
            inbox.put(pipe.recv_bytes())
    except (EOFError, OSError):
        leave(1)


def _sendable(error: BaseException) -> BaseException:
    """The error, with its traceback as a note, or its words where it can't travel."""
    error.add_note("in a worker:\n" + "".join(traceback.format_exception(error)))
    with suppress(Exception):
        pickle.loads(pickle.dumps(error))
        return error
    return RuntimeError("".join(traceback.format_exception(error)))
