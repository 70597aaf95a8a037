"""What lossy codecs do to pictures: JPEG, and real video encoders.

H.264 (x264) and MPEG-4 Part 2 are FFmpeg's, in memory, by PyAV.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain

import av
import cv2
import numpy as np

BLOCK = 8  # the side of a block of JPEG and of H.264's transform
DECODERS = {"libx264": "h264", "mpeg4": "mpeg4"}  # encoder -> decoder, by FFmpeg's names
QUALITIES = {"libx264": (0, 51), "mpeg4": (1, 31)}
RATE = 25  # frames a second; x264 judges by it how long an error is seen


def jpeg(image: np.ndarray, quality: int, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Through JPEG (4:2:0) and back: (H, W, 3) uint8 RGB, quality 1..100.

    shift: where the block grid starts, in y and x: the picture is drawn out by so many pixels meanwhile.
    """
    padded = cv2.copyMakeBorder(image, shift[0], 0, shift[1], 0, cv2.BORDER_REPLICATE)
    data = cv2.imencode(".jpg", padded[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return np.ascontiguousarray(cv2.imdecode(data, cv2.IMREAD_COLOR)[shift[0] :, shift[1] :, ::-1])


def h264(image: np.ndarray, crf: int, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Through x264 and back as a key frame: (H, W, 3) uint8 RGB, rate factor 0..51; shift as of `jpeg`."""
    padded = cv2.copyMakeBorder(image, shift[0], 0, shift[1], 0, cv2.BORDER_REPLICATE)
    coded = next(video_coded([padded], "libx264", crf))
    return np.ascontiguousarray(coded[shift[0] :, shift[1] :])


def video_coded(frames: Iterable[np.ndarray], encoder: str, quality: int) -> Iterator[np.ndarray]:
    """Encode and decode frames of one size, uint8 RGB (H, W, 3); as many come out, in their order.

    encoder: "libx264", whose quality is the constant rate factor, 0..51, or "mpeg4", whose quality is the
    quantiser, 1..31; the greater, the worse. The first frame is a key frame, as every 250th of H.264 and
    every 12th of MPEG-4; the others are predicted from the one before where that pays, as in a call or a
    live stream. Chroma is halved (4:2:0); odd sides are coded with their last row or column twice.
    Raises ValueError for a quality out of range and for frames of several sizes.
    """
    lowest, highest = QUALITIES[encoder]
    if not lowest <= quality <= highest:
        raise ValueError(f"the quality of {encoder} is {lowest}..{highest}, not {quality}")
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        return
    size = first.shape[:2]
    writer, reader = _writer(encoder, quality, size), av.CodecContext.create(DECODERS[encoder], "r")
    reader.thread_count = 1
    # None at the end: give out what is left, should a codec hold frames back
    for frame in chain([first], frames, [None]):
        packets = writer.encode(None if frame is None else _picture(frame, size))
        for packet in packets if frame is not None else [*packets, None]:
            for decoded in reader.decode(packet):
                yield decoded.to_ndarray(format="rgb24")[: size[0], : size[1]]


def _picture(frame: np.ndarray, size: tuple[int, int]) -> av.VideoFrame:
    """What an encoder takes, its sides even. Raises ValueError if the frame is of another size (H, W)."""
    if frame.shape[:2] != size:
        raise ValueError(f"a frame of {frame.shape[:2]} among those of {size}")
    even = cv2.copyMakeBorder(frame, 0, size[0] % 2, 0, size[1] % 2, cv2.BORDER_REPLICATE)
    return av.VideoFrame.from_ndarray(even, format="rgb24")


def _writer(encoder: str, quality: int, size: tuple[int, int]) -> av.CodecContext:
    """The encoder of pictures of this height and width; one thread, so that runs agree."""
    writer = av.CodecContext.create(encoder, "w")
    writer.height, writer.width = (side + side % 2 for side in size)
    writer.pix_fmt, writer.thread_count = "yuv420p", 1
    writer.time_base, writer.framerate = Fraction(1, RATE), Fraction(RATE)
    if encoder == "libx264":
        writer.options = {"preset": "veryfast", "tune": "zerolatency", "crf": str(quality)}
    else:
        writer.qmin = writer.qmax = quality
    return writer
