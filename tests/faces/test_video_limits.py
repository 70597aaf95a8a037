"""Limits on length, streams, metadata and pictures: what a file says may be absurd, and is bounded."""

import io
import struct
import zlib

import numpy as np
import pytest
from bombs import put
from clips import picture, write_clip
from PIL import Image

from utils.core.errors import MediaError
from utils.faces import decoder, pictures
from utils.faces.frames import SpreadFrames
from utils.faces.video import FrameReader


@pytest.fixture
def mp4(tmp_path):
    path = write_clip(tmp_path / "a.mp4", codec="mpeg4")
    return path, path.read_bytes()


def test_a_length_of_a_century_is_taken_for_none(mp4):
    path, data = mp4
    path.write_bytes(put(data.replace(b"edts", b"free"), [
        (b"mvhd", 12, 1), (b"mvhd", 16, 2**32 - 2), (b"mdhd", 12, 1), (b"mdhd", 16, 2**32 - 2),
        (b"stts", 12, 2**31 - 2),
    ]))  # fmt: skip
    reader = FrameReader(path)
    assert reader.duration is None and len(list(reader)) == 12
    assert len(list(SpreadFrames(FrameReader(path, 3), 25))) == 4


def test_a_million_frames_a_second_are_as_many_frames(mp4):
    path, data = mp4
    path.write_bytes(put(data, [(b"mdhd", 12, 10**6), (b"stts", 12, 1)]))
    assert len(list(FrameReader(path))) == 12


def test_ten_thousand_streams_are_refused(mp4):
    path, data = mp4
    moov, trak = data.index(b"moov") - 4, data.index(b"trak") - 4
    size = struct.unpack(">I", data[moov : moov + 4])[0]
    one = data[trak : trak + struct.unpack(">I", data[trak : trak + 4])[0]]
    more = struct.pack(">I", size + 9999 * len(one))
    path.write_bytes(data[:moov] + more + data[moov + 4 : trak] + one * 10_000 + data[trak + len(one) :])
    with pytest.raises(MediaError):
        list(FrameReader(path))


def test_more_pixels_than_can_be_decoded_end_a_video(mp4, monkeypatch):
    frame = next(iter(FrameReader(mp4[0])))[1]
    monkeypatch.setattr(decoder, "MOST_DECODED", 5 * frame.shape[0] * frame.shape[1])
    with pytest.raises(MediaError, match="pixels"):
        list(FrameReader(mp4[0]))


def test_frames_that_are_too_large_are_decoded_one_at_a_time(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4")
    with decoder.Decoder(path, threads=4) as one:
        assert one.threaded
    monkeypatch.setattr("utils.faces.container.ALONE", 64 * 48 - 1)
    with decoder.Decoder(path, threads=4) as one:
        assert not one.threaded and len(list(one.frames(lambda _: True))) == 12


def png_with(*parts: tuple[bytes, bytes]) -> bytes:
    """A PNG with parts of these kinds behind its header."""
    file = io.BytesIO()
    Image.fromarray(picture(3)[:, :, ::-1]).save(file, "PNG")
    data, more = file.getvalue(), b""
    for kind, content in parts:
        more += struct.pack(">I", len(content)) + kind + content
        more += struct.pack(">I", zlib.crc32(kind + content))
    return data[:33] + more + data[33:]


@pytest.mark.parametrize("parts", [
    [(b"tEXt", b"a\0" + b"x" * (30 << 20))], [(b"eXIf", b"II*\0" + b"x" * (30 << 20))],
    [(b"tEXt", b"a\0b")] * 5000,
], ids=["text", "exif", "many"])  # fmt: skip
def test_texts_of_a_png_are_passed_over(tmp_path, parts):
    path = tmp_path / "a.png"
    path.write_bytes(png_with(*parts))
    [(_, frame)] = FrameReader(path)
    assert np.array_equal(frame, picture(3))


def test_texts_that_unpack_to_more_than_they_look_and_too_many_are_refused(tmp_path):
    path = tmp_path / "a.png"
    bomb = zlib.compress(bytes(100 << 20), 9)
    for parts in ([(b"zTXt", b"a\0\0" + bomb)], [(b"iCCP", b"a\0\0" + bomb)], [(b"tEXt", b"")] * 102_000):
        path.write_bytes(png_with(*parts))
        with pytest.raises(MediaError):
            list(FrameReader(path))


def test_what_turns_a_png_is_still_heeded(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    path = tmp_path / "a.png"
    path.write_bytes(png_with((b"eXIf", exif.tobytes()[6:]), *[(b"tEXt", b"a\0b")] * 5000))
    [(_, frame)] = FrameReader(path)
    assert np.array_equal(frame, picture(3)[::-1, ::-1])


def gif(side: int, count: int) -> bytes:
    """An animation of one changing pixel on a large canvas."""
    start = b"GIF89a" + struct.pack("<HHBBB", side, side, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    one = b"!\xf9\x04\x08\x01\0\0\0," + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return start + one * count + b";"


@pytest.mark.parametrize(("side", "count"), [(8000, 200), (16, 10_001)])
def test_animations_of_too_many_pictures_are_refused_by_their_headers(tmp_path, side, count, monkeypatch):
    monkeypatch.setattr(pictures, "_picture", lambda *_: pytest.fail("decoded"))
    path = tmp_path / "a.gif"
    path.write_bytes(gif(side, count))
    with pytest.raises(MediaError, match=f"^{count} pictures"):
        list(FrameReader(path))


def test_pages_count_by_their_own_sizes(tmp_path, monkeypatch):
    pages = [Image.new("RGB", (side, side)) for side in (10, 100, 100)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    monkeypatch.setattr(pictures, "MOST_ANIMATED", 15_000)
    reader = FrameReader(tmp_path / "a.tif")
    assert len(list(reader)) == 2 and "million" in reader.warning


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_rows_that_are_converted_apart_are_those_of_the_whole(tmp_path, monkeypatch, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), np.uint8)
    image = Image.fromarray(pixels[:, :, 0].astype(np.uint16) << 8 if mode == "I;16" else pixels)
    image = image if mode == "I;16" else image.convert(mode)
    image.save(tmp_path / "a.png")
    whole = image.convert("L" if mode == "1" else "RGB")
    if mode == "I;16":
        whole = Image.fromarray(pixels[:, :, 0])
    monkeypatch.setattr(pictures, "ROWS", 7)
    [(_, frame)] = FrameReader(tmp_path / "a.png")
    assert np.array_equal(frame, np.asarray(whole.convert("RGB"))[:, :, ::-1])
