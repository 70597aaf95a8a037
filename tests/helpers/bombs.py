"""Small videos whose index, texts or chapters cost their reader hours or gigabytes, and harmless twins."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

from clips import write_clip

MANY = 2**31 - 2
IN_STBL = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def put(data: bytes, changes: Sequence[tuple[bytes, int, int]]) -> bytes:
    """An mp4 with other numbers of four bytes: (name of the box, place behind it, number)."""
    data = bytearray(data)
    for name, place, number in changes:
        at = data.index(name) + 4 + place
        data[at : at + 4] = struct.pack(">I", number)
    return bytes(data)


def box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + kind + content


def into(data: bytes, path: Sequence[bytes], new: bytes) -> bytes:
    """An mp4 with a box more at the end of the last of these, each in the one before."""
    data = bytearray(data)
    at = data.index(path[-1]) - 4
    end = at + struct.unpack(">I", data[at : at + 4])[0]
    data[end:end] = new
    for name in path:
        at = data.index(name) - 4
        data[at : at + 4] = struct.pack(">I", struct.unpack(">I", data[at : at + 4])[0] + len(new))
    return bytes(data)


def alike(data: bytes, count: int) -> bytes:
    """The mp4 with so many frames of one byte each, in one chunk."""
    return put(data, [(b"stsz", 4, 1), (b"stsz", 8, count), (b"stts", 8, count), (b"stsc", 12, count)])


def texts(count: int) -> bytes:
    """A box of so many texts about an mp4."""
    one = [
        box(b"----", box(b"mean", bytes(4) + b"org") + box(b"name", bytes(4) + b"%06d" % number)
            + box(b"data", bytes([0, 0, 0, 1, 0, 0, 0, 0]) + b"x"))
        for number in range(count)
    ]  # fmt: skip
    handler = box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    return box(b"udta", box(b"meta", bytes(4) + handler + box(b"ilst", b"".join(one))))


def mp4s(folder: Path) -> dict[str, bytes]:
    """By name; "good" ones are to be read."""
    data = write_clip(folder / "plain.mp4", codec="mpeg4").read_bytes()
    pieces = write_clip(
        folder / "pieces.mp4", codec="mpeg4", movflags="frag_keyframe+empty_moov"
    ).read_bytes()
    edits = struct.pack(">II", 0, 1000) + struct.pack(">III", 10**6, 0, 1 << 16) * 1000
    edits = box(b"edts", box(b"elst", edits))
    chunks = box(b"stco", struct.pack(">II", 0, 100_000) + struct.pack(">I", 48) * 100_000)
    sound = put(data.replace(b"vide", b"soun").replace(b"mp4v", b"sowt"), [(b"stts", 12, 1)])
    return {
        "frames.mp4": alike(data, 60_000_000), "hidden.mp4": alike(data, 2_000_000),
        "fragment.mp4": put(pieces, [(b"trun", 0, 1), (b"trun", 4, 50_000_000)]),
        "edits.mp4": alike(into(data.replace(b"edts", b"free"), (b"moov", b"trak"), edits), 100_000),
        "chunks.mp4": alike(into(data.replace(b"stco", b"free"), IN_STBL, chunks), MANY),
        "shifts.mp4": into(data, IN_STBL, box(b"ctts", struct.pack(">IIII", 0, 1, MANY, 5))),
        "sound.mp4": alike(sound, MANY), "texts.mp4": into(data, (b"moov",), texts(20_000)),
        "packed.mp4": data.replace(b"mvhd", b"cmov"),
        "good times.mp4": put(data, [(b"stts", 8, MANY)]),
        "good texts.mp4": into(data, (b"moov",), texts(500)),
    }  # fmt: skip


def element(kind: str, content: bytes) -> bytes:
    """Of Matroska; kind: in hexadecimal digits."""
    return bytes.fromhex(kind) + (len(content) | 1 << 56).to_bytes(8, "big") + content


def tags(count: int) -> bytes:
    one = [
        element("67c8", element("45a3", b"%06d" % number) + element("4487", b"x")) for number in range(count)
    ]
    return element("1254c367", element("7373", b"".join(one)))


def cues(times: Sequence[int]) -> bytes:
    place = element("b7", element("f7", b"\1") + element("f1", b"\1"))
    return element(
        "1c53bb6b", b"".join(element("bb", element("b3", time.to_bytes(3, "big")) + place) for time in times)
    )


def mkvs(folder: Path) -> dict[str, bytes]:
    """As `mp4s`."""
    data = write_clip(folder / "plain.mkv", codec="mpeg4").read_bytes()
    start = data.index(bytes.fromhex("18538067")) + 4
    pictures = data.index(bytes.fromhex("1f43b675"))
    head, body = data[:start] + b"\1" + b"\xff" * 7, data[start + 8 :]  # of unknown size

    def before(new: bytes) -> bytes:
        return head + body[: pictures - start - 8] + new + body[pictures - start - 8 :]

    def behind(new: bytes, place: int | None = None) -> bytes:
        """Where only the table of contents leads."""

        def contents(place: int) -> bytes:
            seek = element("53ab", new[:4]) + element("53ac", place.to_bytes(8, "big"))
            return element("114d9b74", element("4dbb", seek))

        place = len(contents(0)) + len(body) if place is None else place
        return head + contents(place) + body + new

    atoms = [element("b6", element("73c4", (40_000 - number).to_bytes(3, "big"))) for number in range(40_000)]
    return {
        "texts.mkv": before(tags(50_000)),
        "texts behind.mkv": behind(tags(50_000)),
        "chapters.mkv": before(element("1043a770", element("45b9", b"".join(atoms)))),
        "index.mkv": before(cues(range(100_000, 0, -1))),
        "good texts.mkv": before(tags(500)),
        "good texts behind.mkv": behind(tags(500)),
        "good place.mkv": behind(tags(500), 2**64 - 1),
        "good index.mkv": before(cues(range(20_000))),
    }


def others(folder: Path) -> dict[str, bytes]:
    """As `mp4s`."""
    data = write_clip(folder / "plain.flv", codec="flv").read_bytes()
    about = b"".join(b"\0\6%06d\1\1" % number for number in range(150_000))
    about = b"\2\0\x0aonMetaData\x08" + struct.pack(">I", 150_000) + about + b"\0\0\x09"
    tag = b"\x12" + len(about).to_bytes(3, "big") + bytes(7) + about + struct.pack(">I", 11 + len(about))
    ogg = write_clip(folder / "plain.ogv", codec="libvpx").read_bytes()
    at = ogg.index(b"OggS", 4)  # the page of texts; their sum isn't right any more, which comes later
    texts = b"".join(ogg[at : at + 26] + b"\xff" * 256 + bytes(255 * 255) for _ in range(5))
    stream = write_clip(folder / "plain.ts", codec="mpeg2video").read_bytes()
    return {
        "texts.flv": data[:13] + tag + data[13:],
        "texts.ts": b"ID3\3\0\0\0\x10\0\0" + bytes(16 << 14) + stream,
        "good.ts": stream,
        "texts.ogv": ogg[:at] + texts + ogg[at:],
        "good.ogv": ogg,
    }
