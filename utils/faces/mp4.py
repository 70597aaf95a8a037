"""What an mp4 or mov would have its reader build: how many entries of an index, by its own tables.

A few bytes of it can ask for any number of them. Nothing is decoded here, and little of the file is read.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from utils.core.errors import MediaError

MOST_FRAMES = 5_000_000  # of a file, its packets of sound among them: 13 hours at 60 frames a second
MOST_BOXES = 1_000_000  # an hour in pieces of a second has less than a tenth
MOST_TAGS = 10_000  # texts about a file; looking each up among those before takes long
MOST_SYNCS = 100_000  # key frames of a kind that a search tries one by one
CONTAINERS = frozenset(
    b"moov trak mdia minf stbl dinf edts mvex moof traf mfra udta meta ilst iprp ipco sinf schi wave".split()
)
ABOUT = frozenset(b"udta meta ilst".split())
TABLES = frozenset(b"stsz stz2 stts ctts stsc stco co64 elst sbgp trun".split())
SOUND, LEAST_SOUND = 1024, 160  # samples of bare sound that are one entry, commonly and at least


@dataclass
class _Track:
    """What one track says. shifts, chunks, edits, times: how many; rows: of how many samples each chunk is;
    kinds: of what the track is."""

    samples: int = 0
    shifts: int = 0
    chunks: int = 0
    edits: int = 0
    times: int = 0
    long: bool = False  # a sample lasts longer than a tick
    rows: list[np.ndarray] = field(default_factory=list)
    kinds: set[bytes] = field(default_factory=set)

    def entries(self, size: int) -> int:
        """How many the index has at most, in a file of so many bytes."""
        groups = self._groups(SOUND)
        if groups * SOUND > size:  # it can't hold so many
            groups = self._groups(LEAST_SOUND)
        if self.kinds == {b"vide"}:
            groups = 0
        elif b"vide" not in self.kinds and self.times == 1 and not self.long:
            return groups * max(1, self.edits - 1)
        return max(self.samples, self.shifts, groups) * max(1, self.edits - 1)

    def _groups(self, most: int) -> int:
        """How many entries of at most so many samples of sound."""
        groups = 0
        for rows in self.rows:  # (n, 3): first chunk from which on, samples of each chunk, a number
            first = np.minimum(np.append(rows[:, 0], self.chunks + 1), self.chunks + 1).astype(np.int64)
            groups += int(np.maximum(np.diff(first), 0) @ (rows[:, 1].astype(np.int64) // most + 1))
        return groups


class Mp4Index:
    """Raises MediaError from `check` if the file, open and seekable, would make too large an index."""

    def __init__(self, file: BinaryIO):
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        self.count: Counter[str] = Counter()
        self.tracks = [_Track()]  # the first takes what stands outside of tracks

    def check(self) -> None:
        self._walk(0, self.size, b"", 0)
        entries = sum(track.entries(self.size) for track in self.tracks) + self.count["fragment samples"]
        # for each piece the reader keeps something of each track
        entries = max(entries, self.count["pieces"] * (len(self.tracks) - 1))
        if entries > MOST_FRAMES:
            raise MediaError(f"an index of {entries} entries; at most {MOST_FRAMES} can be handled")

    def _walk(self, start: int, end: int, parent: bytes, depth: int) -> None:
        for kind, body, body_end in self._boxes(start, end):
            self.count["boxes"] += 1
            self.count["tags"] += parent in ABOUT
            if self.count["boxes"] > MOST_BOXES or self.count["tags"] > MOST_TAGS or depth > 16:
                raise MediaError("its header has more parts than can be handled")
            if kind == b"cmov":
                raise MediaError("its header is compressed (cmov), which isn't read")
            if kind in TABLES or kind in _READERS:
                self._table(kind, body, body_end)
            if kind == b"trak":
                self.tracks.append(_Track())
            if kind in CONTAINERS or self._is_hidden_header(kind, body):
                self.count["pieces"] += kind == b"moof"
                self._walk(body + self._prefix(kind, body), body_end, kind, depth + 1)

    def _boxes(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """(kind, start, end) of what each box holds, as FFmpeg finds them."""
        while start + 8 <= end:
            header = self._read(start, 16)
            size, kind, body = int.from_bytes(header[:4], "big"), header[4:8], start + 8
            if size == 1:
                size, body = int.from_bytes(header[8:16], "big"), start + 16
            stop = start + size if size else end
            if stop < body:
                return
            yield kind, body, min(stop, end)
            start = stop

    def _is_hidden_header(self, kind: bytes, body: int) -> bool:
        """Free space that holds the header after all, as in a file that wasn't closed: FFmpeg reads it."""
        return kind in (b"free", b"hoov") and self._read(body + 4, 4) in (b"mvhd", b"cmov")

    def _prefix(self, kind: bytes, body: int) -> int:
        """Bytes before the boxes within: in texts about a file their first one is looked for."""
        return max(self._read(body, 4096).find(b"hdlr") - 4, 0) if kind == b"meta" else 0

    def _read(self, start: int, size: int) -> bytes:
        self.file.seek(start)
        return self.file.read(size)

    def _table(self, kind: bytes, body: int, end: int) -> None:
        reader = _READERS.get(kind)
        if reader is not None:
            reader(self, self.tracks[-1], body, end)

    def _number(self, start: int) -> int:
        return int.from_bytes(self._read(start, 4), "big")

    def _rows(self, start: int, end: int, columns: int) -> np.ndarray:
        """A table, its number of rows first, of (n, columns) four-byte numbers; only rows that are there."""
        count = min(self._number(start), max(end - start - 4, 0) // (4 * columns), MOST_FRAMES)
        data = self._read(start + 4, 4 * columns * count)
        return np.frombuffer(data, ">u4", len(data) // (4 * columns) * columns).reshape(-1, columns)

    def _count(self, start: int, end: int, bits: int) -> int:
        """How many there are in a table that states it first, of so many bits each; 0: they take no room."""
        return min(self._number(start), max(end - start - 4, 0) * 8 // bits if bits else 1 << 32)

    def _sizes(self, track: _Track, body: int, end: int) -> None:
        track.samples += self._count(body + 8, end, 0 if self._number(body + 4) else 32)

    def _small_sizes(self, track: _Track, body: int, end: int) -> None:
        track.samples += self._count(body + 8, end, 4)

    def _times(self, track: _Track, body: int, end: int) -> None:
        track.times += self._number(body + 4)
        track.long |= self._number(body + 12) != 1

    def _shifts(self, track: _Track, body: int, end: int) -> None:
        track.shifts += int(self._rows(body + 4, end, 2)[:, 0].sum(dtype=np.int64))

    def _chunks(self, track: _Track, body: int, end: int) -> None:
        track.chunks += self._count(body + 4, end, 32)

    def _chunk_rows(self, track: _Track, body: int, end: int) -> None:
        track.rows.append(self._rows(body + 4, end, 3))

    def _edits(self, track: _Track, body: int, end: int) -> None:
        track.edits += self._count(body + 4, end, 96)

    def _kind(self, track: _Track, body: int, end: int) -> None:
        track.kinds |= {self._read(body + 8, 4)} & {b"vide", b"soun"}  # texts have one, too

    def _groups(self, track: _Track, body: int, end: int) -> None:
        """Which samples are of a group; a group of key frames is searched one by one."""
        version, kind = self._read(body, 1), self._read(body + 4, 4)
        rows = self._rows(body + (12 if version == b"\1" else 8), end, 2)
        grouped = int(rows[rows[:, 1] > 0, 0].sum(dtype=np.int64))
        if kind == b"sync" and grouped > MOST_SYNCS:
            raise MediaError(f"{grouped} key frames in groups; at most {MOST_SYNCS} can be handled")

    def _fragment(self, track: _Track, body: int, end: int) -> None:
        fields = (self._number(body) >> 8 & 15).bit_count()  # that each sample has of its own
        self.count["fragment samples"] += self._count(body + 4, end, 32 * fields)

    def _pieces(self, track: _Track, body: int, end: int) -> None:
        """Of an index of fragments: two kinds, which hold 12 bytes or more for each."""
        self.count["pieces"] += max(end - body, 0) // 12

    def _descriptions(self, track: _Track, body: int, end: int) -> None:
        """A table inside of the description of a codec would be taken for the track's."""
        data = self._read(body, min(end - body, 1 << 24))
        if any(name in data for name in TABLES):
            raise MediaError("its header has a table where none belongs")


_READERS = {
    b"stsz": Mp4Index._sizes, b"stz2": Mp4Index._small_sizes,
    b"stts": Mp4Index._times, b"ctts": Mp4Index._shifts,
    b"stsc": Mp4Index._chunk_rows, b"stco": Mp4Index._chunks, b"co64": Mp4Index._chunks,
    b"elst": Mp4Index._edits, b"hdlr": Mp4Index._kind, b"sbgp": Mp4Index._groups,
    b"trun": Mp4Index._fragment, b"sidx": Mp4Index._pieces, b"tfra": Mp4Index._pieces,
    b"stsd": Mp4Index._descriptions,
}  # fmt: skip
