"""Damage in clips, each made on the spot: what decodes is given, and the rest is said."""

import av
import numpy as np
import pytest
from clips import picture, write_clip

from utils.core.errors import MediaError
from utils.faces.truncation import announced_size, is_unfinished
from utils.faces.video import FrameReader


def read(path, every=1):
    reader = FrameReader(path, every)
    return [frame for _, frame in reader], reader


class TestDamage:
    @pytest.mark.parametrize("every", [1, 10])
    @pytest.mark.parametrize("threads", [1, 4])
    @pytest.mark.parametrize("bad", [7, 60])
    def test_a_packet_that_does_not_decode_is_passed_over(self, tmp_path, every, threads, bad):
        count = 0

        def change(packet):
            nonlocal count
            count += 1
            if count != bad:
                return packet
            broken = av.Packet(b"\0\0\0\1\x65" + b"\xff" * 30)
            broken.pts, broken.dts, broken.time_base = packet.pts, packet.dts, packet.time_base
            broken.stream = packet.stream
            return broken

        def setup(stream):
            stream.options = {"g": "1"}  # key frames alone, so that one is damaged at most

        path = write_clip(tmp_path / "a.mp4", 60, setup=setup, change=change)
        reader = FrameReader(path, every, threads)
        frames = dict(reader)
        lost = bad - 1
        assert set(frames) == {n for n in range(every - 1, 60, every) if n != lost}
        if every == 1 or bad == 60:  # what nobody needs may be broken unheard
            assert "59 of 60" in reader.warning
        for number, frame in frames.items():
            assert abs(int(frame[24, -2, 0]) - 8 * number % 256) < 12

    @pytest.mark.parametrize(
        ("codec", "name"),
        [("libx264", "a.mkv"), ("mpeg4", "a.avi"), ("mjpeg", "a.avi"), ("mpeg2video", "a.ts")],
    )
    def test_noise_in_packets_is_heard_whatever_the_threads(self, tmp_path, codec, name):
        noise, count = np.random.default_rng(0), 0
        images = [picture(0)[:, :, :1] // 2 + noise.integers(0, 99, (48, 64, 3), np.uint8) for _ in range(30)]

        def change(packet):
            nonlocal count
            count += 1
            if count not in (13, 15, 17, 19):
                return packet
            data = np.frombuffer(bytes(packet), np.uint8).copy()
            data[len(data) // 3 :] = noise.integers(0, 256, len(data) - len(data) // 3)
            changed = av.Packet(data.tobytes())
            changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
            changed.stream, changed.is_keyframe = packet.stream, packet.is_keyframe
            return changed

        path = write_clip(tmp_path / name, images, codec, change=change)
        readers = [FrameReader(path, threads=threads) for threads in (1, 4)]
        first, second = ([frame for _, frame in reader] for reader in readers)
        assert 20 < len(first) < 30 and f"{len(first)} of" in readers[0].warning
        assert readers[0].warning == readers[1].warning
        for frame, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(frame, other)

    @pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
    def test_cut_short_is_said_and_whole_is_not(self, tmp_path, suffix):
        options = {"movflags": "faststart"} if suffix == ".mp4" else {}
        whole = write_clip(tmp_path / f"a{suffix}", 100, "mpeg4", **options)
        assert read(whole)[1].warning is None
        data = whole.read_bytes()
        (tmp_path / f"b{suffix}").write_bytes(data[: len(data) * 4 // 5])
        frames, reader = read(tmp_path / f"b{suffix}")
        assert 10 < len(frames) < 90
        assert f"{len(frames)} of" in reader.warning and "truncated" in reader.warning

    @pytest.mark.parametrize(("name", "codec", "format"), [("a.flv", "flv", None), ("a.wmv", "wmv2", "asf")])
    def test_a_header_that_states_a_length(self, tmp_path, name, codec, format):
        whole = write_clip(tmp_path / name, 100, codec, format)
        assert read(whole)[1].warning is None
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
        frames, reader = read(whole)
        assert 10 < len(frames) < 80 and "truncated" in reader.warning

    def test_a_file_that_is_gone(self, tmp_path):
        gone = tmp_path / "gone.mp4"
        for look in (announced_size, is_unfinished, lambda path: FrameReader(path).readable_share):
            with pytest.raises(MediaError):
                look(gone)

    def test_a_fragmented_clip_is_whole(self, tmp_path):
        path = write_clip(tmp_path / "a.mp4", 30, movflags="frag_keyframe+empty_moov")
        frames, reader = read(path)
        assert len(frames) == 30 and reader.warning is None

    def test_more_bytes_after_the_end_are_no_damage(self, tmp_path):
        path = write_clip(tmp_path / "a.mp4", 30)
        with open(path, "ab") as file:
            file.write(b"trailing bytes" * 9)
        assert read(path)[1].warning is None
