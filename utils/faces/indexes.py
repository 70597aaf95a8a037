"""Whether a video's index, texts and chapters can be read in moderate time and memory, before FFmpeg tries.

A few bytes of a file can ask for any number of entries, and FFmpeg compares some with all those before.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import BinaryIO

from utils.core.errors import MediaError
from utils.faces.media import reading
from utils.faces.mp4 import Mp4Index
from utils.faces.truncation import EBML, SEGMENT, ebml_number

# Parts of Matroska, and how many bytes those of a kind may have.
SEEK_HEAD, CLUSTER, CUES = b"\x11\x4d\x9b\x74", b"\x1f\x43\xb6\x75", b"\x1c\x53\xbb\x6b"
TAGS, CHAPTERS = b"\x12\x54\xc3\x67", b"\x10\x43\xa7\x70"
LARGEST = {
    TAGS: ("texts", 128 << 10), CHAPTERS: ("chapters", 256 << 10), CUES: ("an index", 16 << 20),
    SEEK_HEAD: ("a table of contents", 64 << 10),
}  # fmt: skip
SEEK, SEEK_POSITION, CUE_POINT, CUE_TIME = b"\x4d\xbb", b"\x53\xac", b"\xbb", b"\xb3"
FEW_CUES = 512 << 10  # bytes; in whatever order, they are soon sorted
MOST_PARTS = 1000  # before the first picture
LARGEST_OGG = 256 << 10  # bytes of a stream's texts, which are its second packet
LARGEST_ID3 = 64 << 10  # bytes of texts before a video, where no camera writes any


def check_index(file: BinaryIO) -> None:
    """Raises MediaError where the open, seekable file would make its reader build or compare too much."""
    with reading():
        file.seek(0)
        start = file.read(10)
        if start[:4] == EBML:
            _check_matroska(file)
        elif start[:4] == b"OggS":
            file.seek(0)
            _check_ogg(file)
        elif start[:3] == b"ID3":
            size = sum((byte & 127) << 7 * (3 - place) for place, byte in enumerate(start[6:]))
            _check_size("texts", size, LARGEST_ID3)
        else:  # FFmpeg finds the boxes of an mp4 behind other bytes, too
            Mp4Index(file).check()
        file.seek(0)


def _check_size(what: str, size: int, most: int) -> None:
    if size > most:
        raise MediaError(f"{what} of {size} bytes; at most {most} can be handled")


def _check_matroska(file: BinaryIO) -> None:
    """The parts before the first picture, and those that tables of contents name."""
    segment = next((file.tell() for kind, _ in _elements(file, 0) if kind == SEGMENT), None)
    sizes: dict[int, tuple[bytes, int]] = {}
    todo = [] if segment is None else [(segment, MOST_PARTS)]
    while todo:
        at, count = todo.pop()
        for kind, size in islice(_elements(file, at), count):  # of a place that is named the first part alone
            if kind == CLUSTER or file.tell() in sizes:
                break
            if len(sizes) == MOST_PARTS - 1:
                raise MediaError("its header has more parts than can be handled")
            sizes[file.tell()] = kind, size
            if kind in LARGEST:
                what, most = LARGEST[kind]
                _check_size(what, sum(other for known, other in sizes.values() if known == kind), most)
            if kind == SEEK_HEAD:
                todo += [(segment + place, 1) for place in _numbers(file.read(size), SEEK, SEEK_POSITION)]
            if kind == CUES and size > FEW_CUES:
                _check_order(_numbers(file.read(size), CUE_POINT, CUE_TIME))


def _check_ogg(file: BinaryIO) -> None:
    """The texts of each stream; a packet ends with the first length below 255 in the tables of its pages."""
    ended: Counter[bytes] = Counter()
    sizes: Counter[bytes] = Counter()
    for _ in range(MOST_PARTS):
        header = file.read(27)
        if len(header) < 27 or header[:4] != b"OggS":
            break
        stream, lengths = header[14:18], file.read(header[26])
        for length in lengths:
            sizes[stream] += length if ended[stream] == 1 else 0
            ended[stream] += length < 255
        _check_size("texts", sizes[stream], LARGEST_OGG)
        file.seek(sum(lengths), 1)


def _elements(file: BinaryIO, at: int) -> Iterator[tuple[bytes, int]]:
    """(kind, size) of what follows each other from there on, the file standing where its content begins.

    The last is one of unknown size, which is 0 here.
    """
    size: int | None = 0
    while size is not None and at < 1 << 62:
        file.seek(at)
        first = file.read(1)
        if not first or first[0] < 16:
            return
        kind, size = first + file.read(8 - first[0].bit_length()), ebml_number(file)
        at = file.tell() + (size or 0)
        yield kind, size or 0


def _numbers(data: bytes, outer: bytes, inner: bytes) -> Iterator[int]:
    """The numbers of one kind in each element of another."""
    file = io.BytesIO(data)
    for kind, _ in _elements(file, 0):
        if kind == outer:
            for other, size in _elements(file, file.tell()):
                if other == inner:
                    yield int.from_bytes(file.read(min(size, 8)), "big")
                if other == outer:
                    break


def _check_order(times: Iterator[int]) -> None:
    last = 0
    for time in times:
        if time < last:
            raise MediaError("a large index that isn't sorted")
        last = time
