"""What the C library does with freed memory: return it to the system, or keep it for the next tensor.

Each forward pass asks for the same large blocks as the one before. glibc maps every block of more than 32 MiB
anew and returns it when it is freed, so that the system finds, clears and maps its pages one at a time, again
and again: a third of the time of an Xception on a virtual machine. PyTorch's tuning guide advises another
allocator for it (jemalloc, TCMalloc), which has to be installed and preloaded; glibc can be told as well.
"""

from __future__ import annotations

import ctypes
import sys

# of <malloc.h>
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_MMAP_MAX = -4

# Where glibc's own thresholds, which grow with what is freed, end up on 64-bit machines.
MMAP_THRESHOLD = 32 << 20
MMAP_MAX = 65536  # blocks, mallopt(3)


def keep_freed_memory(keep: bool = True) -> bool:
    """Let this process keep memory that it frees (keep), or return large blocks at once, as glibc does.

    What is kept stays the process's own until it ends, up to the most that it ever needed at one time. For
    scripts: it is a setting of the whole process. Returns whether it had an effect; it has none where the C
    library isn't glibc.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if not hasattr(library, "mallopt") or not hasattr(library, "gnu_get_libc_version"):
        return False
    if keep:
        return bool(library.mallopt(M_MMAP_MAX, 0) and library.mallopt(M_TRIM_THRESHOLD, -1))
    library.mallopt(M_MMAP_MAX, MMAP_MAX)
    library.mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
    library.mallopt(M_TRIM_THRESHOLD, 2 * MMAP_THRESHOLD)
    library.malloc_trim(0)
    return True
