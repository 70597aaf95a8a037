"""Files that name other files, that are larger than they look, and animations."""

import struct
import subprocess
import sys
import zlib

import av
import numpy as np
import pytest
from bombs import box, into
from clips import picture, write_clip
from PIL import Image, ImageFile

from utils.core.config import ROOT
from utils.core.errors import MediaError
from utils.faces.media import MOST_PIXELS
from utils.faces.pictures import MOST_PICTURES
from utils.faces.video import FrameReader, find_media


def read(path, every=1):
    reader = FrameReader(path, every)
    return [frame for _, frame in reader], reader


LISTS = {
    "concat": "ffconcat version 1.0\nfile target.bin\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\ntarget.bin\n#EXT-X-ENDLIST\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\n",
    "svg": '<svg version="1.1" width="64" '
    'height="48"><image xlink:href="target.bin" width="64" height="48"/></svg>',
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period><AdaptationSet>'
    "<Representation><BaseURL>target.bin</BaseURL></Representation></AdaptationSet></Period></MPD>",
}


class TestHostile:
    @pytest.mark.parametrize("kind", LISTS)
    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".jpg", ".m3u8"])
    def test_a_list_of_other_files_is_no_video_and_opens_nothing(self, tmp_path, kind, suffix):
        write_clip(tmp_path / "target.mp4").rename(tmp_path / "target.bin")
        path = tmp_path / f"list{suffix}"
        path.write_text(LISTS[kind])
        with pytest.raises(MediaError):
            read(path)
        code = (
            "import sys\nopened = []\n"
            "from utils.core.errors import MediaError\nfrom utils.faces.video import FrameReader\n"
            "sys.addaudithook(lambda event, args: event == 'open' and opened.append(str(args[0])))\n"
            f"try: list(FrameReader({str(path)!r}))\nexcept MediaError: pass\n"
            "sys.exit(any('target' in name for name in opened))"
        )
        if kind == "concat":  # the process is what takes time
            # Python's own opening is the only one that is left: FFmpeg's is refused by the list of protocols
            assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0

    def test_a_mov_whose_frames_lie_in_another_file_opens_nothing(self, tmp_path, monkeypatch):
        """FFmpeg would read them there, if it were allowed to: that is looked at, too."""
        data = write_clip(tmp_path / "target.mov", codec="mpeg4").read_bytes()
        path = b"/any/target.mov\0"
        alias = bytes(130) + struct.pack(">HH", 1, 1) + bytes(16)
        alias = box(b"alis", bytes(4) + alias + struct.pack(">HH", 2, len(path)) + path + b"\xff\xff\0\0")
        place = b"moov", b"trak", b"mdia", b"minf", b"dinf"
        named = into(data.replace(b"dref", b"free"), place, box(b"dref", struct.pack(">II", 0, 1) + alias))
        frames = data.index(b"mdat") + 4, data.index(b"moov") - 4
        named = named[: frames[0]] + bytes(frames[1] - frames[0]) + named[frames[1] :]
        (tmp_path / "names.mov").write_bytes(named)
        monkeypatch.chdir(tmp_path)
        with av.open("names.mov", container_options={"enable_drefs": "1"}) as container:
            assert len(list(container.decode(video=0))) == 12
        with pytest.raises(MediaError):
            read(tmp_path / "names.mov")

    @pytest.mark.parametrize("side", [8100, 20_000, 32_000])
    def test_an_image_is_refused_by_its_header(self, tmp_path, side, monkeypatch):
        def chunk(kind, data):
            return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

        header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        data = zlib.compress(bytes((side + 7) // 8 + 1) * 64)
        image = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
        (tmp_path / "bomb.png").write_bytes(image)
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda *_: pytest.fail("decoded"))
        with pytest.raises(MediaError, match=f"{MOST_PIXELS // 10**6} million"):
            read(tmp_path / "bomb.png")

    @pytest.mark.parametrize("change", [lambda old: [old ^ 0x20], lambda old: [old, old], lambda old: [255]])
    def test_a_png_with_any_byte_changed_is_whole_or_refused(self, tmp_path, change):
        path = tmp_path / "a.png"
        Image.fromarray(picture(3)[:, :, ::-1]).save(path)
        data, whole = path.read_bytes(), read(path)[0][0]
        refused = 0
        for at in range(len(data)):
            path.write_bytes(data[:at] + bytes(change(data[at])) + data[at + 1 :])
            try:
                assert np.array_equal(read(path)[0][0], whole)
            except MediaError:
                refused += 1
        assert refused > 0.8 * len(data)

    def test_a_picture_file_that_is_too_large_is_not_read(self, tmp_path):
        with open(tmp_path / "a.jpg", "wb") as file:
            file.write(b"\xff\xd8\xff")
            file.truncate(3 << 30)  # takes no room
        with pytest.raises(MediaError, match="MiB"):
            read(tmp_path / "a.jpg")

    @pytest.mark.parametrize("count", [1000, 2**31 - 1])
    def test_a_count_that_is_no_count(self, tmp_path, count):
        """Of an animation and of a video that say they hold more than they do."""
        images = [Image.fromarray(picture(number)) for number in range(3)]
        images[0].save(tmp_path / "a.png", save_all=True, append_images=images[1:])
        data = (tmp_path / "a.png").read_bytes()
        at = data.index(b"acTL")
        part = data[at : at + 4] + struct.pack(">I", count) + data[at + 8 : at + 12]
        (tmp_path / "a.png").write_bytes(
            data[:at] + part + struct.pack(">I", zlib.crc32(part)) + data[at + 16 :]
        )
        if count > MOST_PICTURES:
            with pytest.raises(MediaError, match=f"^{count} pictures"):
                read(tmp_path / "a.png")
        else:
            frames, reader = read(tmp_path / "a.png")
            assert len(frames) == 3 and reader.warning
        data = bytearray(write_clip(tmp_path / "a.mp4").read_bytes())
        for name, places in ((b"stsz", (12,)), (b"stts", (12,)), (b"stsc", (16,))):
            for place in places:
                at = data.index(name) + place
                data[at : at + 4] = struct.pack(">I", count)
        (tmp_path / "a.mp4").write_bytes(data)
        try:
            frames, reader = read(tmp_path / "a.mp4")
            assert len(frames) <= 12 and (len(frames) == 12 or reader.warning)
        except MediaError:
            pass

    def test_a_video_is_refused_by_its_header(self, tmp_path):
        frame = np.zeros((64, 64, 3), np.uint8)
        path = write_clip(tmp_path / "a.avi", [frame], "mjpeg")
        data = path.read_bytes()
        size = struct.pack("<II", 64, 64)
        large = data.replace(size, struct.pack("<II", 30_000, 30_000))
        large = large.replace(b"\xff\xc0\0\x11\x08" + struct.pack(">HH", 64, 64),
                              b"\xff\xc0\0\x11\x08" + struct.pack(">HH", 30_000, 30_000))  # fmt: skip
        assert large != data
        path.write_bytes(large)
        with pytest.raises(MediaError, match="million|no frame"):
            read(path)


class TestAnimations:
    @pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif", "avif"])
    def test_all_pictures(self, tmp_path, suffix):
        images = [Image.fromarray(picture(8 * number)[:, :, ::-1]) for number in range(4)]
        path = tmp_path / f"a.{suffix}"
        images[0].save(path, save_all=True, append_images=images[1:], duration=100, lossless=True)
        frames, reader = read(path)
        assert len(frames) == reader.decoded == reader.announced == 4 and reader.warning is None
        for number, frame in enumerate(frames):
            assert np.abs(frame.astype(int) - picture(8 * number)).mean() < 3
        assert [index for index, _ in FrameReader(path, 2)] == [1, 3]
        assert [index for index, _ in FrameReader(path, 10)] == [3]
        if suffix != "tif":
            assert [round(seconds, 3) for seconds, _ in FrameReader(path).at([0.0, 0.15])] == [0, 0.2]

    @pytest.mark.parametrize("suffix", ["tif", "gif", "jfif", "avif", "tiff"])
    def test_stills(self, tmp_path, suffix):
        path = tmp_path / f"a.{suffix}"
        kind = {"jfif": "JPEG"}.get(suffix)
        Image.fromarray(picture(3)[:, :, ::-1]).save(path, kind, **({"quality": 95} if kind else {}))
        assert find_media(tmp_path) == ([path], [])
        ((index, frame),) = FrameReader(path, 10)
        assert index == 0 and np.abs(frame.astype(int) - picture(3)).mean() < 4

    def test_heic_is_named(self, tmp_path):
        (tmp_path / "a.heic").write_bytes(struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(500))
        with pytest.raises(MediaError, match="HEIC"):
            read(tmp_path / "a.heic")

    def test_a_damaged_animation_gives_what_decodes(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), np.uint8)
        images = [Image.fromarray(image) for image in noise]
        images[0].save(tmp_path / "a.gif", save_all=True, append_images=images[1:], duration=100)
        data = (tmp_path / "a.gif").read_bytes()
        (tmp_path / "a.gif").write_bytes(data[: len(data) * 2 // 3])
        frames, reader = read(tmp_path / "a.gif")
        assert 1 <= len(frames) < 6
        assert len(list(reader.at([0.0]))) == 1  # what lies behind isn't read

    def test_lack_of_memory_is_no_damage(self, tmp_path, monkeypatch):
        Image.fromarray(picture(3)).save(tmp_path / "a.png")

        def fail(*_, **__):
            raise OSError("out of memory")

        monkeypatch.setattr(Image, "open", fail)
        with pytest.raises(MediaError):
            read(tmp_path / "a.png")
        monkeypatch.setattr("utils.core.shortage.memory_is_short", lambda: True)
        with pytest.raises(OSError, match="out of memory"):
            read(tmp_path / "a.png")
