"""Damaged files by the hundred: bytes flipped, cut out, doubled, overwritten or taken from another file."""

from __future__ import annotations

import faulthandler
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FEW_AND_MANY = [20, pytest.param(200, marks=pytest.mark.slow)]  # of each of ten kinds of file
SECONDS = 60  # for one small file; a busy machine may take long
KINDS = ("flip", "cut", "truncate", "double", "zero", "splice", "high")
EDIT = st.tuples(st.sampled_from(KINDS), st.floats(0, 1), st.integers(1, 255), st.floats(0, 0.2))


def damaged(data: bytes, other: bytes, edits: list[tuple[str, float, int, float]]) -> bytes:
    """`data` after the edits: (kind, where in 0..1, a byte, how much in 0..1); other: bytes to splice in."""
    for kind, where, byte, share in edits:
        at = int(where * max(len(data) - 1, 0))
        end = at + max(1, int(share * len(data)))
        part = data[at:end]
        new = {
            "flip": bytes([part[0] ^ byte]) + part[1:] if part else b"", "cut": b"", "truncate": b"",
            "double": part * 2, "zero": bytes(len(part)), "splice": other[at:end],
            "high": b"\xff" * min(len(part), 8) + part[8:],
        }[kind]  # fmt: skip
        data = data[:at] + new + (b"" if kind == "truncate" else data[end:])
    return data


def fuzz(path: Path, other: bytes, times: int, check: Callable[[Path, bytes], None]) -> None:
    """Have `check(damaged file, its bytes)` look at `times` damaged versions of the file."""
    whole, number = path.read_bytes(), count()

    @settings(max_examples=times, deadline=None, database=None, derandomize=times < 100,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(st.lists(EDIT, min_size=1, max_size=6))
    def one(edits: list[tuple[str, float, int, float]]) -> None:
        data = damaged(whole, other, edits)
        file = path.with_name(f"damaged{next(number)}{path.suffix}")
        file.write_bytes(data)
        with no_hang(file):
            check(file, data)
        file.unlink()

    one()


@contextmanager
def no_hang(file: Path, seconds: float = SECONDS) -> Iterator[None]:
    """Ends the process if this takes so long, also where a library in C holds it.

    The file stays then, and beside it where the process was, <file>.hang: pytest has no time to say it.
    """
    said = file.with_name(file.name + ".hang")
    with open(said, "w") as told:
        faulthandler.dump_traceback_later(seconds, exit=True, file=told)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
    said.unlink()
