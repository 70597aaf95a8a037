"""Whether a video file was cut short, by the sizes that its own parts state."""

from __future__ import annotations

import os
from typing import BinaryIO

from utils.faces.media import reading

BOXES = frozenset(b"ftyp moov mdat free skip wide moof mfra sidx styp uuid pnot meta".split())
ASF, ASF_PROPERTIES = b"\x30\x26\xb2\x75", bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
LARGEST_RIFF = 0x7FFFFFF0  # bytes; what is longer goes on in further parts of at most 1 or 2 GB
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def announced_size(path: str | os.PathLike) -> int | None:
    """How many bytes the file holds by its own account: mp4 and mov, avi, mkv and webm, wmv; else None.

    Less than there are is no damage: anything may stand behind. Raises MediaError.
    """
    with reading(), open(path, "rb") as file:
        start = file.read(12)
        if start[:4] == EBML:
            return _size_of_matroska(file)
        if start[:4] == ASF:
            return _size_of_asf(start + file.read(4096))
        if _is_avi(start):
            return None if _is_open_ended(start) else int.from_bytes(start[4:8], "little") + 8
        return _size_of_boxes(file) if start[4:8] in BOXES else None


def is_unfinished(path: str | os.PathLike) -> bool:
    """Whether it is an avi whose recording was broken off: its header was never completed. MediaError."""
    with reading(), open(path, "rb") as file:
        start = file.read(12)
    return _is_avi(start) and _is_open_ended(start)


def _is_avi(start: bytes) -> bool:
    return start[:4] == b"RIFF" and start[8:12] == b"AVI "


def _is_open_ended(start: bytes) -> bool:
    """Nothing, or all that fits, for the size that is written last."""
    return not 0 < int.from_bytes(start[4:8], "little") < LARGEST_RIFF


def _size_of_boxes(file: BinaryIO) -> int:
    """The end of the last box, of those that follow each other from the start of an mp4."""
    end, length = 0, os.fstat(file.fileno()).st_size
    while end < length:
        file.seek(end)
        header = file.read(16)
        size, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if kind not in BOXES:
            break
        if size == 1:  # too long for four bytes
            size = int.from_bytes(header[8:16], "big")
        if size < 8:  # 0: up to the end of the file
            return length
        end += size
    return end


def _size_of_asf(header: bytes) -> int | None:
    """As the properties of the file state it, None = a stream."""
    at = header.find(ASF_PROPERTIES) + 40  # behind its name, its length and the file's own name
    return int.from_bytes(header[at : at + 8], "little") or None if at >= 40 else None


def _size_of_matroska(file: BinaryIO) -> int | None:
    """The end of the segment, None where its size isn't stated, as in a stream."""
    file.seek(4)
    header = ebml_number(file)
    if header is None:
        return None
    file.seek(header, os.SEEK_CUR)
    if file.read(4) != SEGMENT:
        return None
    size = ebml_number(file)
    return None if size is None else file.tell() + size


def ebml_number(file: BinaryIO) -> int | None:
    """A number of one to eight bytes, as EBML writes them; None = unknown."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    value = int.from_bytes(first + file.read(length - 1), "big") & ((1 << 7 * length) - 1)
    return None if value == (1 << 7 * length) - 1 else value
