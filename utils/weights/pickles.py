"""What a pickle would call, found by reading it, whatever the file is called; nothing of it is run."""

from __future__ import annotations

import pickletools
import struct
from pathlib import Path

LOOKED_AT = 1 << 20  # bytes at the start of a file
# What pickletools ends in where the bytes are no pickle, or a damaged one.
DAMAGE = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, TypeError,
    ValueError, struct.error,
)  # fmt: skip
HARMLESS = {"torch", "numpy", "collections"}  # packages of which weights and training logs consist


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle or a ZIP file, as `torch.save` writes; not one that can't be read."""
    start = _start(path, 9)
    if start[8:] == b"{":  # of safetensors, whose first bytes are a length, any
        return False
    return start[:1] == b"\x80" or start.startswith(b"PK\3\4")


def code_in(path: Path) -> str | None:
    """The first function or class of another package that a bare pickle names, such as `posix.system`."""
    words = ["", ""]
    try:
        for code, value, _ in pickletools.genops(_start(path, LOOKED_AT)):
            name = " ".join(words) if code.name == "STACK_GLOBAL" else ""
            if code.name in ("GLOBAL", "INST"):
                name = str(value)
            elif isinstance(value, str):
                words = [words[1], value]
            if name and name.split()[0].split(".")[0] not in HARMLESS:
                return name.replace(" ", ".")
    except DAMAGE:
        return None
    return None


def _start(path: Path, size: int) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return b""
