"""A PNG looked through before it is decoded: its size, its sums, and what a decoder would complain of."""

from __future__ import annotations

import zlib

SIGN = b"\x89PNG\r\n\x1a\n"
END = b"IEND\xaeB`\x82"
FRAME = 12  # bytes around the content of a part: length, kind, sum


def size_of(data: bytes) -> tuple[int, int] | None:
    """(width, height) by the header; None = no PNG."""
    if len(data) < 33 or not data.startswith(SIGN) or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def critical_parts(data: bytes) -> bytes | None:
    """The PNG without profiles, texts and the like; None where a part is cut short or its sum is wrong.

    So libpng, which prints what it finds wrong with such parts, finds nothing.
    """
    if not data.startswith(SIGN) or not data.endswith(END):
        return None
    kept, at = [SIGN], len(SIGN)
    while at < len(data):
        end = at + FRAME + int.from_bytes(data[at : at + 4], "big")
        stated = int.from_bytes(data[end - 4 : end], "big")
        if end > len(data) or zlib.crc32(data[at + 4 : end - 4]) != stated:
            return None
        if data[at + 4 : at + 5].isupper():
            kept.append(data[at:end])
        at = end
    return b"".join(kept)
