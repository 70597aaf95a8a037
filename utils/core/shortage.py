"""What a machine runs short of, memory, file handles and disks, told from faults of files and of the code.

A damaged or hostile file asks for any amount of memory; only where little can't be had either is it short.
"""

from __future__ import annotations

import errno
import mmap
import resource
import subprocess
import sys

OUT_OF_MEMORY = (
    "can't allocate memory", "Cannot allocate memory", "out of memory", "Insufficient memory", "bad_alloc",
    "could not create a primitive", "could not create a memory object", "failed to map segment",
    "can't start new thread", "bad allocation", "unable to mmap",
)  # fmt: skip
OUT_OF_FILES = ("Too many open files", "received 0 items of ancdata")
MEMORY_CODES, FILES_CODES = {errno.ENOMEM}, {errno.EMFILE, errno.ENFILE}
LITTLE = 256 << 20  # bytes; less than any network or frame here needs
# What a command imports that takes most addresses, then a little more than that.
TRIAL = f"import numpy, torch, cv2, av, mmap; mmap.mmap(-1, {LITTLE})"
TRIAL_SECONDS = 300
MORE_FILES = "too many open files; allow more, as with `ulimit -n 4096`, then give the same command again"

ROOM = "make room there, then give the same command again"
RIGHTS = "see to its rights, or name another place"
BACK = "see to its folder, then give the same command again"
DISK_ADVICE = {
    errno.ENOSPC: ROOM, errno.EDQUOT: ROOM, errno.EROFS: RIGHTS, errno.EACCES: RIGHTS,
    errno.EPERM: RIGHTS, errno.ENOENT: BACK, errno.ENOTDIR: BACK, errno.ESTALE: BACK, errno.EIO: BACK,
    errno.EFBIG: "allow larger files, as with `ulimit -f unlimited`, then give the same command again",
}  # fmt: skip


def memory_errors() -> tuple[type[BaseException], ...]:
    """What may mean that memory ran out; `is_out_of_memory` tells. For an `except`, which asks only then."""
    cv2 = sys.modules.get("cv2")  # loaded by what needs it
    return (MemoryError, RuntimeError, OSError, ImportError, *([cv2.error] if cv2 else []))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: the CPU's, of which torch and OpenCV only say so in words, or a GPU's."""
    if isinstance(error, MemoryError) or getattr(error, "errno", None) in MEMORY_CODES:
        return True
    return any(phrase in str(error) for phrase in OUT_OF_MEMORY)


def is_out_of_files(error: BaseException) -> bool:
    """Whether no more files can be opened."""
    if getattr(error, "errno", None) in FILES_CODES:
        return True
    return any(phrase in str(error) for phrase in OUT_OF_FILES)


def is_short(error: BaseException) -> bool:
    """Whether an error met with a file is the machine's fault: nothing is wrong with the file then."""
    return is_out_of_files(error) or (is_out_of_memory(error) and memory_is_short())


def memory_is_short() -> bool:
    """Whether a little memory can't be had now."""
    try:
        mmap.mmap(-1, LITTLE).close()
    except (OSError, MemoryError):
        return True
    return False


def addresses_are_limited() -> bool:
    """Whether `ulimit -v` is set."""
    return resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY


def room_for_torch() -> None:
    """Where addresses are limited (`ulimit -v`), find out whether torch can be loaded. Raises MemoryError.

    In a process of its own: in a little too few of them libraries end theirs by themselves, in many ways.
    """
    if "torch" in sys.modules or not addresses_are_limited():
        return
    command = [sys.executable, "-P", "-c", TRIAL]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TRIAL_SECONDS)
    if done.returncode and "ModuleNotFoundError" not in done.stderr:
        raise MemoryError


def reserve_memory() -> None:
    """Have numpy's and scipy's OpenBLAS take their buffers now: later, without memory, one would end the
    process and the other try for ever.

    Raises MemoryError where memory is short.
    """
    import numpy as np

    if memory_is_short():
        raise MemoryError
    np.ones((256, 256)) @ np.ones((256, 256))
    if addresses_are_limited():  # else they are loaded when first used, which not every run does
        import scipy.optimize  # noqa: F401
        import skimage.transform  # noqa: F401


def shortage_line(error: BaseException, memory_advice: str) -> str | None:
    """What ran out and what to do, in a line; None for another error."""
    if is_out_of_files(error):
        return MORE_FILES
    if not is_out_of_memory(error):
        return None
    if not addresses_are_limited():
        return f"memory ran out; {memory_advice}"
    allowed = f"`ulimit -v` allows {resource.getrlimit(resource.RLIMIT_AS)[0] / 2**30:.1f} GiB of addresses"
    return f"memory ran out: {allowed}; allow more, or {memory_advice}"


def disk_line(error: OSError) -> str:
    """Which file a disk refused, why, and what to do, in a line."""
    advice = DISK_ADVICE.get(error.errno)
    return f"{error.filename or 'a file'}: {error.strerror or error}" + (f"; {advice}" if advice else "")
