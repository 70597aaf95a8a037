"""Kinds of trouble that clips come with, each in a small clip made on the spot."""

from fractions import Fraction

import av
import numpy as np
import pytest
from clips import RATE, picture, with_orientation, write_clip

from utils.core.errors import MediaError
from utils.faces.convert import Converter, display_size
from utils.faces.video import FrameReader, find_media


def read(path, every=1):
    reader = FrameReader(path, every)
    return [frame for _, frame in reader], reader


def corners(frame):
    """Whether the upper left, upper right, lower left and lower right of a picture are white."""
    height, width = frame.shape[:2]
    return [bool(frame[y, x].min() > 128) for y in (6, height - 7) for x in (6, width - 15)]


class TestContainers:
    @pytest.mark.parametrize(
        ("suffix", "codec", "format"),
        [
            (".ts", "libx264", "mpegts"), (".mts", "libx264", "mpegts"), (".m2ts", "mpeg2video", "mpegts"),
            (".3gp", "libx264", None), (".flv", "libx264", None), (".wmv", "wmv2", "asf"),
            (".vob", "mpeg2video", "vob"), (".mpg", "mpeg1video", None), (".webm", "libvpx-vp9", None),
            (".mkv", "libx265", None), (".mp4", "libsvtav1", None), (".avi", "mjpeg", None),
        ],
    )  # fmt: skip
    def test_all_frames_and_no_warning(self, tmp_path, suffix, codec, format):
        path = write_clip(tmp_path / f"a{suffix}", 12, codec, format)
        assert find_media(tmp_path) == ([path], [])
        frames, reader = read(path)
        assert len(frames) == reader.decoded == 12 and reader.warning is None
        for number, frame in enumerate(frames):
            assert np.abs(frame.astype(int) - picture(number)).mean() < 6
        given = [index for index, _ in FrameReader(path, 5)]
        assert given == [4, 9]

    @pytest.mark.parametrize("name", ["clip.jpg", "clip.avi", "clip"])
    def test_the_content_counts_not_the_suffix(self, tmp_path, name):
        plain = write_clip(tmp_path / "a.mp4")
        assert len(read(plain.rename(tmp_path / name))[0]) == 12

    def test_more_sound_than_4096_packets_between_two_pictures(self, tmp_path):
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as container:
            video = container.add_stream("libx264", rate=RATE)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            audio = container.add_stream("pcm_s16le", rate=8000, layout="mono")
            frames = [av.VideoFrame.from_ndarray(picture(n), format="bgr24") for n in range(4)]
            for frame, at in zip(frames, (0, 1, 400, 401), strict=True):
                frame.pts, frame.time_base = at, Fraction(1, RATE)
                packets = video.encode(frame.reformat(format="yuv420p"))
                assert all(container.mux(packet) is None for packet in packets)
            container.mux(video.encode(None))
            for number in range(9000):
                sound = av.AudioFrame.from_ndarray(np.zeros((1, 8), np.int16), format="s16", layout="mono")
                sound.sample_rate, sound.pts, sound.time_base = 8000, 8 * number, Fraction(1, 8000)
                container.mux(audio.encode(sound))
        frames, reader = read(path)
        assert len(frames) == reader.decoded == 4 and reader.warning is None

    def test_the_default_stream_is_taken_not_the_first(self, tmp_path):
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as container:
            streams = [container.add_stream("libx264", rate=RATE) for _ in range(2)]
            for stream, (width, height) in zip(streams, [(128, 96), (64, 48)], strict=True):
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            streams[0].disposition, streams[1].disposition = 0, av.stream.Disposition.default
            for number in range(5):
                for stream in streams:
                    image = picture(number, stream.width, stream.height)
                    frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format="yuv420p")
                    frame.pts, frame.time_base = number, Fraction(1, RATE)
                    container.mux(stream.encode(frame))
            for stream in streams:
                container.mux(stream.encode(None))
        assert {frame.shape for frame in read(path)[0]} == {(48, 64, 3)}

    def test_a_single_picture_is_taken_last_whatever_its_flags(self, tmp_path):
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as container:
            streams = [container.add_stream(codec, rate=RATE) for codec in ("mjpeg", "libx264")]
            for stream, size, kind in zip(streams, (128, 64), ("yuvj420p", "yuv420p"), strict=True):
                stream.width, stream.height, stream.pix_fmt = size, 48, kind
            streams[0].disposition = av.stream.Disposition.default
            for stream, count in zip(streams, (1, 5), strict=True):
                for number in range(count):
                    image = av.VideoFrame.from_ndarray(picture(number, stream.width), format="bgr24")
                    frame = image.reformat(format=stream.pix_fmt)
                    frame.pts, frame.time_base = number, Fraction(1, RATE)
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
        assert [frame.shape for frame in read(path)[0]] == [(48, 64, 3)] * 5

    def test_sound_with_a_cover(self, tmp_path):
        def setup(stream):
            stream.disposition = av.stream.Disposition.attached_pic

        path = write_clip(tmp_path / "a.mp4", 1, "mjpeg", setup=setup)
        with pytest.raises(MediaError, match="cover"):
            read(path)

    def test_a_codec_without_a_decoder_is_named(self, tmp_path):
        data = write_clip(tmp_path / "a.mp4").read_bytes()
        at = data.rfind(b"avc1")
        (tmp_path / "b.mp4").write_bytes(data[:at] + b"xyz1" + data[at + 4 :])
        with pytest.raises(MediaError, match="xyz1"):
            read(tmp_path / "b.mp4")

    def test_encrypted(self, tmp_path):
        write_clip(
            tmp_path / "a.mp4", encryption_scheme="cenc-aes-ctr", encryption_key="76" * 16,
            encryption_kid="a7" * 16,
        )  # fmt: skip
        with pytest.raises(MediaError, match="encrypted"):
            read(tmp_path / "a.mp4")

    def test_sound_alone(self, tmp_path):
        with av.open(str(tmp_path / "a.mp4"), "w") as container:
            stream = container.add_stream("aac", rate=8000, layout="mono")
            sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            sound.sample_rate = 8000
            container.mux(stream.encode(sound))
            container.mux(stream.encode(None))
        with pytest.raises(MediaError, match="audio"):
            read(tmp_path / "a.mp4")


class TestShapes:
    @pytest.mark.parametrize(
        ("turn", "mirrored", "white"),
        [(90, False, 2), (180, False, 3), (270, False, 1), (0, True, 1), (90, True, 3)],
    )
    def test_the_containers_matrix(self, tmp_path, turn, mirrored, white):
        path = write_clip(
            tmp_path / "a.mp4", setup=lambda stream: stream.set_display_rotation(turn, hflip=mirrored)
        )
        for frame in read(path)[0]:
            assert np.flatnonzero(corners(frame)).tolist() == [white]
            assert frame.shape == ((64, 48, 3) if turn % 180 else (48, 64, 3))

    @pytest.mark.parametrize(("turns", "mirrored", "white"), [(1, False, 2), (2, False, 3), (0, True, 1)])
    @pytest.mark.parametrize("every", [1, 5])
    def test_a_matrix_that_only_the_stream_has(self, tmp_path, turns, mirrored, white, every):
        path = write_clip(
            tmp_path / "a.mkv", 12, change=lambda packet: with_orientation(packet, turns, mirrored)
        )
        frames = read(path, every)[0]
        assert len(frames) == 12 // every
        for frame in frames:
            assert np.flatnonzero(corners(frame)).tolist() == [white]

    @pytest.mark.parametrize(
        ("shape", "size"),
        [((2, 1), (128, 48)), ((1, 2), (64, 96)), ((16, 11), (93, 48)), ((1, 1), (64, 48)),
         ((99, 1), (64, 48))],
    )  # fmt: skip
    def test_pixels_that_are_not_square(self, tmp_path, shape, size):
        def setup(stream):
            stream.codec_context.sample_aspect_ratio = Fraction(*shape)

        frames = read(write_clip(tmp_path / "a.mp4", setup=setup))[0]
        assert {frame.shape for frame in frames} == {(size[1], size[0], 3)}
        assert np.flatnonzero(corners(frames[0])).tolist() == [0]

    @pytest.mark.parametrize("codec", ["libvpx-vp9", "libx264"])
    def test_a_shape_that_changes_on_the_way(self, tmp_path, codec):
        sizes, path = [(64, 48), (48, 64), (96, 48)], tmp_path / "a.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=RATE)
            stream.width, stream.height, stream.pix_fmt = *sizes[0], "yuv420p"
            for part, (width, height) in enumerate(sizes):
                encoder = av.CodecContext.create(codec, "w")
                encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
                encoder.time_base, encoder.framerate = Fraction(1, RATE), Fraction(RATE)
                packets = []
                for number in range(6):
                    image = av.VideoFrame.from_ndarray(picture(number, width, height), format="bgr24")
                    image = image.reformat(format="yuv420p")
                    image.pts, image.time_base = number, encoder.time_base
                    packets += encoder.encode(image)
                for packet in packets + encoder.encode(None):
                    packet.pts, packet.dts = packet.pts + 6 * part, packet.dts + 6 * part
                    packet.time_base, packet.stream = Fraction(1, RATE), stream
                    container.mux(packet)
        frames, reader = read(path)
        assert [frame.shape[1::-1] for frame in frames] == [size for size in sizes for _ in range(6)]
        assert all(np.flatnonzero(corners(frame)).tolist() == [0] for frame in frames)

    def test_display_size(self):
        assert display_size(720, 576, Fraction(16, 11)) == (1047, 576)
        assert display_size(720, 480, Fraction(8, 9)) == (720, 540)
        assert display_size(720, 480, None) == (720, 480)

    def test_interlaced_fields_are_made_one_picture(self, tmp_path):
        """Two fields of a bar that moved in between: its edge is a comb as stored, none as given."""
        first, second = np.zeros((2, 48, 64, 3), np.uint8)
        first[:, 10:30], second[:, 18:38] = 255, 255
        woven = first.copy()
        woven[1::2] = second[1::2]

        def setup(stream):
            stream.options = {"flags": "+ildct+ilme", "x264-params": "tff=1", "crf": "5"}

        path = write_clip(tmp_path / "a.mp4", [woven] * 6, setup=setup)
        with av.open(str(path)) as container:
            assert next(container.decode(video=0)).interlaced_frame
        frames, reader = read(path)
        assert len(frames) == 6 and reader.warning is None
        for frame in frames:
            combs = np.abs(np.diff(frame[4:-4, :, 0].astype(int), axis=0)).mean()
            assert combs < 0.4 * np.abs(np.diff(woven[4:-4, :, 0].astype(int), axis=0)).mean()

    @pytest.mark.parametrize(
        ("matrix", "converted"), [(8, True), (10, True), (12, True), (14, False), (15, False)]
    )
    def test_colour_matrices_that_swscale_refuses(self, matrix, converted):
        frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 128, np.uint8), format="bgr24")
        frame = frame.reformat(format="yuv420p")
        frame.colorspace = matrix
        if converted:
            assert np.abs(Converter()(frame, None, None).astype(int) - 128).max() <= 6
        else:
            with pytest.raises(MediaError, match="colours"):
                Converter()(frame, None, None)

    def test_a_converted_frame_is_writable_and_whole(self, clip):
        frame = next(iter(FrameReader(clip)))[1]
        assert frame.flags.c_contiguous and frame.flags.writeable
