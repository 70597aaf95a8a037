"""Frames by time."""

import av
import cv2
import numpy as np
import pytest
from clips import RATE, picture, write_clip

from utils.faces.decoder import Decoder
from utils.faces.video import FrameReader


def read(path, every=1):
    reader = FrameReader(path, every)
    return [frame for _, frame in reader], reader


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    def setup(stream):
        stream.options = {"g": "20", "bf": "3", "sc_threshold": "0"}

    return write_clip(tmp_path_factory.mktemp("times") / "a.mp4", 200, setup=setup)


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
