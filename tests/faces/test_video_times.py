"""Frames by time."""

import av
import cv2
import numpy as np
import pytest
from clips import RATE, picture, write_clip
from PIL import Image

from utils.faces.decoder import Decoder
from utils.faces.frames import SpreadFrames
from utils.faces.video import FrameReader


def read(path, every=1):
    reader = FrameReader(path, every)
    return [frame for _, frame in reader], reader


@pytest.fixture
def shown(monkeypatch):
    """Times of the frames that come out of a decoder, wanted or not."""
    stamps, is_whole = [], Decoder._is_whole
    monkeypatch.setattr(
        Decoder, "_is_whole", lambda self, frame: stamps.append(frame.pts) or is_whole(self, frame)
    )
    return stamps


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    def setup(stream):
        stream.options = {"g": "20", "bf": "3", "sc_threshold": "0"}

    return write_clip(tmp_path_factory.mktemp("times") / "a.mp4", 200, setup=setup)


class TestLeftOut:
    """Frames that nobody wants, and which no other is made from, aren't decoded."""

    @pytest.mark.parametrize("threads", [1, 2])
    def test_by_number(self, long_clip, shown, threads):
        all_frames = read(long_clip)[0]
        assert len(shown) == 200
        shown.clear()
        reader = FrameReader(long_clip, every=10, threads=threads)
        for number, frame in reader:
            np.testing.assert_array_equal(frame, all_frames[number])
        assert 20 <= len(shown) < 150
        assert reader.decoded == 200 and reader.warning is None

    def test_by_time(self, long_clip, shown):
        ((seconds, frame),) = FrameReader(long_clip, threads=1).at([18 / RATE])
        assert round(seconds * RATE) == 18 and len(shown) < 15
        np.testing.assert_array_equal(frame, read(long_clip)[0][18])


class TestTimes:
    @pytest.mark.parametrize(
        "times", [[0], [0.0, 0.04], [0.01, 3.33, 3.34, 7.96], [5.0], [1.23, 1.24, 6.5, 99.0]]
    )
    def test_the_first_frame_at_or_after_each(self, long_clip, times):
        all_frames = read(long_clip)[0]
        wanted = sorted({int(np.ceil(time * RATE - 1e-6)) for time in times} & set(range(200)))
        given = list(FrameReader(long_clip).at(times))
        assert [round(seconds * RATE) for seconds, _ in given] == wanted
        for number, (_, frame) in zip(wanted, given, strict=True):
            np.testing.assert_array_equal(frame, all_frames[number])

    def test_seeking_saves_decoding(self, long_clip, monkeypatch):
        packets, decode = [], av.CodecContext.decode
        monkeypatch.setattr(
            Decoder, "_decode", lambda self, packet, skip=False: packets.append(packet) or (
                decode(self.stream.codec_context, packet) if packet is not None else []
            ),
        )  # fmt: skip
        assert len(list(FrameReader(long_clip, threads=1).at([2.5, 7.0]))) == 2
        assert len(packets) < 70

    @pytest.mark.parametrize(
        ("codec", "name"), [("libx264", "a.ts"), ("mpeg4", "a.avi"), ("libx264", "a.264")]
    )
    def test_where_there_is_no_index(self, tmp_path, codec, name):
        format = "h264" if name.endswith("264") else None
        path = write_clip(tmp_path / name, 100, codec, format)
        given = [round(seconds * RATE) for seconds, _ in FrameReader(path).at([0.0, 1.0, 3.2])]
        assert given == [0, 25, 80]

    def test_length_and_key_frames(self, long_clip):
        reader = FrameReader(long_clip)
        assert reader.duration == pytest.approx(8)
        assert reader.key_times == pytest.approx([0.8 * n for n in range(10)])

    def test_unsorted_times_are_refused(self, long_clip):
        with pytest.raises(ValueError):
            list(FrameReader(long_clip).at([2.0, 1.0]))

    def test_an_image_is_at_the_start(self, tmp_path):
        cv2.imwrite(str(tmp_path / "a.png"), picture(3))
        reader = FrameReader(tmp_path / "a.png")
        ((seconds, frame),) = reader.at([0.0, 1.0])
        assert seconds == 0 and frame.shape == (48, 64, 3) and reader.duration is None


class TestLength:
    """Recordings whose header says nothing of their length, or something wrong: all of them is looked at."""

    @pytest.mark.parametrize(
        ("codec", "name", "format", "options"),
        [
            ("libvpx", "a.webm", None, {"live": "1"}), ("libx264", "a.mkv", None, {"live": "1"}),
            ("libx264", "a.264", "h264", {}), ("mpeg2video", "a.mpg", None, {}), ("wmv2", "a.wmv", "asf", {}),
            ("libx264", "a.mp4", None, {"movflags": "frag_keyframe"}), ("libvpx", "a.ivf", None, {}),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("count", [20, 60])
    def test_streamed(self, tmp_path, codec, name, format, options, count):
        path = write_clip(
            tmp_path / name, count, codec, format, lambda stream: stream.options.update(g="12"), **options
        )
        self.check(path, count)

    def test_an_avi_that_was_broken_off(self, tmp_path):
        path = write_clip(tmp_path / "a.avi", 60, "mpeg4")
        data = bytearray(path.read_bytes())
        data[4:8] = bytes(4)  # of the file
        at = data.index(b"strh") + 8 + 32
        data[at : at + 4] = b"\xff\xff\xff\x3f"  # of the stream
        path.write_bytes(data[: data.rindex(b"idx1")])
        self.check(path, 60)

    def check(self, path, count):
        reader = FrameReader(path, 10)
        frames = SpreadFrames(reader, 25)
        given = [frames.seconds_of(number) for number, _ in frames][:25]
        assert reader.duration == pytest.approx(count / RATE, abs=0.1)
        assert len(given) == min(count, 25) and frames.warning is None
        assert min(given) < 0.1 and max(given) > count / RATE - 0.2
        assert abs(reader.announced - count) <= 1

    @pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".tif"])
    def test_all_of_an_animation(self, tmp_path, suffix):
        first, *others = [Image.fromarray(picture(number)) for number in range(40)]
        times = {} if suffix == ".tif" else {"duration": 40}
        first.save(tmp_path / f"a{suffix}", save_all=True, append_images=others, **times)
        frames = SpreadFrames(FrameReader(tmp_path / f"a{suffix}", 10), 25)
        given = [frames.seconds_of(number) for number, _ in frames][:25]
        assert len(set(given)) == 25 and frames.duration == pytest.approx(1.6 if times else 4)
        assert max(given) > 0.9 * frames.duration

    @pytest.mark.parametrize(("codec", "name"), [("libx264", "a.mp4"), ("libx264", "a.mkv")])
    def test_a_picture_that_stands_still_for_a_minute(self, tmp_path, codec, name):
        def late(packet):
            if packet.pts >= 30:
                packet.pts, packet.dts = packet.pts + 1500, packet.dts + 1500
            return packet

        def setup(stream):
            stream.options = {"bf": "0"}

        path = write_clip(tmp_path / name, 60, codec, setup=setup, change=late)
        frames = SpreadFrames(FrameReader(path, 10), 25)
        assert len([number for number, _ in frames]) >= 25
