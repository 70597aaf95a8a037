"""A PNG looked through before it is decoded: its size, its sums, and what a decoder would complain of."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from utils.core.errors import MediaError

SIGN = b"\x89PNG\r\n\x1a\n"
END = b"IEND\xaeB`\x82"
PICTURES = (b"tRNS", b"acTL", b"fcTL", b"fdAT")  # parts that a picture depends on, besides the critical ones
# Parts, and bytes of them, of texts, profiles and the like; more are passed over, and many more refused.
FEW, LITTLE, MANY = 1000, 16 << 20, 100_000
FRAME = 12  # bytes around the content of a part: length, kind, sum


def size_of(data: bytes) -> tuple[int, int] | None:
    """(width, height) by the header; None = no PNG."""
    if len(data) < 33 or not data.startswith(SIGN) or data[12:16] != b"IHDR":
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def slim(data: bytes) -> bytes:
    """The PNG without what its texts, profiles and the like have beyond LITTLE and FEW, to be read quickly.

    Whatever is no whole PNG stays as it is. Raises MediaError for too many of them.
    """
    if not data.startswith(SIGN):
        return data
    view, at, few, little, kept = memoryview(data), len(SIGN), FEW, LITTLE, [SIGN]
    while at + FRAME <= len(data):
        end = at + FRAME + int.from_bytes(view[at : at + 4], "big")
        kind = data[at + 4 : at + 8]
        if end > len(data) or kind == b"IEND":
            break
        if not kind[:1].isupper() and kind not in PICTURES:
            few, little = few - 1, little - (end - at)
            if few < -MANY:
                raise MediaError(f"more than {MANY} texts and profiles in it")
            if few < 0 or little < 0:
                little += end - at
                at = end
                continue
        kept.append(view[at:end])
        at = end
    return data if few >= 0 and sum(map(len, kept)) == at else b"".join([*kept, view[at:]])


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
