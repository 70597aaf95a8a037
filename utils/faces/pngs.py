"""A PNG looked through before it is decoded: its size, its sums, and what a decoder would complain of."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

SIGN = b"\x89PNG\r\n\x1a\n"
END = b"IEND\xaeB`\x82"
FRAME = 12  # bytes around the content of a part: length, kind, sum


def size_of(data: bytes) -> tuple[int, int] | None:
    """(width, height) by the header; None = no PNG."""
    if len(data) < 33 or not data.startswith(SIGN) or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def is_damaged(data: bytes) -> bool:
    """Whether the sum of a part that the picture depends on is wrong; decoders don't all look.

    Of an animation the first picture counts: one that is cut short within a later one isn't damaged.
    """
    return any(part is None for part in _critical(data))


def critical_parts(data: bytes) -> bytes | None:
    """The PNG without profiles, texts and the like; None where it is cut short or a sum is wrong.

    So libpng, which prints what it finds wrong with such parts, finds nothing.
    """
    if not data.startswith(SIGN) or not data.endswith(END):
        return None
    parts = list(_critical(data))
    return None if None in parts or parts[-1:] != [bytes(4) + END] else b"".join([SIGN, *parts])


def _critical(data: bytes) -> Iterator[bytes | None]:
    """The parts that any decoder needs, up to the end; None for one whose sum is wrong."""
    at, view = len(SIGN), memoryview(data)
    while at + FRAME <= len(data):
        end = at + FRAME + int.from_bytes(view[at : at + 4], "big")
        if end > len(data):  # cut short, or its length is wrong
            if data[at + 4 : at + 8] != b"fdAT":
                yield None
            return
        if data[at + 4 : at + 5].isupper():
            stated = int.from_bytes(view[end - 4 : end], "big")
            yield data[at:end] if zlib.crc32(view[at + 4 : end - 4]) == stated else None
        if data[at + 4 : at + 8] == b"IEND":
            return
        at = end
