"""How a command ends: its exit status, and one line on standard error for whatever a user can cause."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from utils.errors import ConfigError, UserError, WeightsError

SMALLER_BATCH = "try a smaller batch_size=..."
OUT_OF_MEMORY = ("can't allocate memory", "out of memory", "Insufficient memory", "bad_alloc")


def run(
    work: Callable[[], int],
    interrupted: str = "interrupted",
    relief: str = "end other programs, or take a machine that has more",
) -> int:
    """The exit status of `work`; 130 for Ctrl-C, after the line `interrupted`.

    relief: what to do where memory runs out.

    2 for a config or weights that can't be used, 1 for other data, a failing disk, too little memory, or a
    standard output that nobody reads any more.

    Any other exception is a defect, and its traceback is what is needed of it.
    """
    for stream in (sys.stdout, sys.stderr):  # a file's name may hold what the terminal can't show
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        status = work()
        if sys.stdout is not None:  # closed by who started the command
            sys.stdout.flush()
        return status
    except UserError as error:
        return fail(str(error), 2 if isinstance(error, ConfigError | WeightsError) else 1)
    except BrokenPipeError:  # the reader of a pipe, such as `head`, has seen enough
        drop_unread()
        return 1
    except OSError as error:
        return fail(f"{error.filename or 'a file'}: {error.strerror or error}", 1)
    except memory_errors() as error:
        if not is_out_of_memory(error):
            raise
        return fail(f"memory ran out; {relief}", 1)
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130


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
    print(f"error: {reason}", file=sys.stderr)
    return status


def memory_errors() -> tuple[type[BaseException], ...]:
    """What may mean that memory ran out; `is_out_of_memory` tells. For an `except`, which asks only then."""
    cv2 = sys.modules.get("cv2")  # loaded by what needs it
    return (MemoryError, RuntimeError, *([cv2.error] if cv2 else []))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: the CPU's, of which torch and OpenCV only say so in words, or a GPU's."""
    words = str(error)
    return isinstance(error, MemoryError) or any(phrase in words for phrase in OUT_OF_MEMORY)
