"""How a command speaks and ends: exit status, one line for a user's mistake, progress of long loops."""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from utils.core.errors import ConfigError, UserError, WeightsError
from utils.core.names import shown
from utils.core.shortage import disk_line, memory_errors, shortage_line

SMALLER_BATCH = "try a smaller batch_size=..."
MORE_MEMORY = "end other programs, or take a machine that has more"  # for who has no such key
LESS_AT_ONCE = "try detect_batch=1 and a smaller batch_size=..."  # for what detects and classifies
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # they ask a command to stop


class Terminated(KeyboardInterrupt):
    """SIGTERM or SIGHUP: they stop a command as Ctrl-C does."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


def run(
    work: Callable[[], int],
    interrupted: str = "interrupted",
    memory_advice: str = MORE_MEMORY,
) -> int:
    """The exit status of `work`; 130 for Ctrl-C, 143 SIGTERM, 129 SIGHUP, after the line `interrupted`.

    In the work each of these is a KeyboardInterrupt. memory_advice: what to do where memory runs out.

    2 for a config or weights that can't be used, 1 for other data, a failing disk, too little memory, or a
    standard output that nobody reads any more.

    Any other exception is a defect, and its traceback is what is needed of it.
    """
    # Threads of torch that have nothing to do sleep, if this is set before it is imported. Else they wait in
    # a loop, and beside other work that takes the cores from those who need them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for stream in (sys.stdout, sys.stderr):  # a file's name may hold what the terminal can't show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        with _signals_as_interrupts():
            status = work()
        if sys.stdout is not None:  # closed by who started the command
            sys.stdout.flush()
        return status
    except UserError as error:
        return fail(str(error), 2 if isinstance(error, ConfigError | WeightsError) else 1)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        drop_unread()
        return 1
    except memory_errors() as error:
        line = shortage_line(error, memory_advice)
        if line is None and not isinstance(error, OSError):
            raise
        return fail(line or disk_line(error), 1)
    except KeyboardInterrupt as stop:
        print(interrupted, file=sys.stderr)
        return stopped_status(stop)


def stopped_status(stop: KeyboardInterrupt) -> int:
    """The exit status of a command that this stopped: 128 + signal."""
    return 128 + getattr(stop, "number", signal.SIGINT)


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """SIGTERM and SIGHUP raise Terminated while the context is open, the first of them only, since a group of
    processes may get more. Where they are ignored (nohup) or heeded already, they stay so."""
    owner, before = os.getpid(), {}

    def stop(number: int, _frame: object) -> None:
        if os.getpid() != owner:  # in a fork, which it ends as if it weren't caught
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
            return
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raise Terminated(number)

    if threading.current_thread() is threading.main_thread():  # others can't catch any
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) == signal.SIG_DFL:
                before[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def explain_shortage(memory_advice: str) -> None:
    """From now on an import that fails for lack of memory or of file handles ends in a line, status 1."""
    before = sys.excepthook

    def tell(kind: type[BaseException], error: BaseException, trace) -> None:
        line = shortage_line(error, memory_advice)
        if line is None:
            before(kind, error, trace)
        else:
            fail(line, 1)

    sys.excepthook = tell


def drop_unread() -> None:
    """Send to nowhere what a broken pipe didn't take, or Python complains of it when it ends."""
    for stream, descriptor in ((sys.stdout, 1), (sys.stderr, 2)):  # both, where 2>&1 made them one
        try:
            if stream is not None:
                stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)


def fail(reason: str, status: int) -> int:
    """Say why, and give back the exit status."""
    print(f"error: {shown(reason)}", file=sys.stderr)
    return status


def parse_mixed(
    parser: argparse.ArgumentParser, argv: Sequence[str] | None
) -> tuple[argparse.Namespace, list[Path], list[str]]:
    """The options, the paths and the `key=value` that a command line holds, in any order.

    What is there as a file is a path, whatever its name; all behind `--` are, names that begin with a dash
    included. The parser has options only.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    cut = argv.index("--") if "--" in argv else len(argv)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    files = [text for text in argv[:cut] if re.match("-[^-]", text) and os.path.lexists(text)]
    if files:
        parser.error(f"no option, but a file: {files[0]}; name it ./{files[0]}, or put it behind --")
    args = parser.parse_intermixed_args(argv[:cut])
    paths, overrides = [], []
    for text in args.arguments:
        is_override = re.match(r"[A-Za-z_]\w*=", text) and not os.path.lexists(text)
        (overrides if is_override else paths).append(text)
    return args, [Path(text) for text in [*paths, *argv[cut + 1 :]]], overrides


def rate_text(rate: float) -> str:
    """A rate in two digits at least, never 0.0 for one that isn't nothing."""
    return f"{rate:.1f}" if rate >= 10 else f"{rate:.2g}"


class FilesBar:
    """A bar over files on standard error, parts of one included, and lines above it."""

    def __init__(self, total: int, done: int = 0):
        from tqdm import tqdm

        self.bar = tqdm(
            total=total,
            initial=done,
            mininterval=0.5 if sys.stderr.isatty() else 20,
            bar_format="{percentage:3.0f}% |{bar:24}| {n:.2f}/{total} files{postfix}"
            " [{elapsed}, {remaining} left]",
        )

    def show(self, done: float, text: str = "") -> None:
        """So many files are done now, the part of one that is being worked on included; never fewer."""
        if text:
            self.bar.set_postfix_str(text, refresh=False)
        self.bar.update(max(0, min(done, self.bar.total) - self.bar.n))

    def say(self, line: str) -> None:
        self.bar.write(shown(line), file=sys.stderr)

    def close(self) -> None:
        self.bar.close()


LINE_SECONDS = 30  # between progress lines where there is no terminal to draw a bar on


class Progress:
    """A bar on a terminal, else a line every half minute: share done, loss, images/s, time left."""

    def __init__(self, what: str, total: int, done: int = 0):
        from tqdm import tqdm  # these two are heavy: not for --help

        from utils.core import distributed

        self.what, self.total, self.done, self.first = what, total, done, done
        self.processes, self.speaks = distributed.world_size(), distributed.is_main()
        self.images, self.loss = 0, None
        self.started = self.said = time.monotonic()
        self.bar = None
        if self.speaks and sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, desc=what, unit="step", dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, images: int, loss: float | None = None) -> None:
        """One step of so many images is done; loss: mean so far."""
        self.done, self.images, self.loss = self.done + 1, self.images + images, loss
        rate = self.images / max(time.monotonic() - self.started, 1e-9) * self.processes
        shown = f"{rate_text(rate)} images/s"
        shown = shown if loss is None else f"loss {loss:.4f}, {shown}"
        if self.bar is not None:
            self.bar.set_postfix_str(shown, refresh=False)
            self.bar.update()
        elif self.speaks and time.monotonic() - self.said >= LINE_SECONDS:
            self.said = time.monotonic()
            left = (self.said - self.started) / (self.done - self.first) * (self.total - self.done)
            minutes = f"{left / 60:.1f} min left"
            print(f"{self.what}: {self.done}/{self.total}, {shown}, {minutes}", file=sys.stderr, flush=True)
