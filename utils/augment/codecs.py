"""What lossy codecs do to pictures: JPEG, a model of H.264's intra frames, and real video encoders.

H.264 (x264) and MPEG-4 Part 2 are FFmpeg's, in memory, by PyAV.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction
from itertools import chain

import av
import cv2
import numpy as np

BLOCK = 8
_K = np.arange(BLOCK)
# The orthonormal DCT-II as a matrix: coefficients = DCT @ samples.
DCT = np.cos(np.pi * (2 * _K[None, :] + 1) * _K[:, None] / (2 * BLOCK)) * np.sqrt(2 / BLOCK)
DCT[0] /= np.sqrt(2)
DCT = DCT.astype(np.float32)
ROUNDING = np.float32(1 / 3)  # H.264 encoders round intra coefficients so: a dead zone around 0
# The quantiser of the chroma planes for a luma quantiser of 30 and more; below, both are the same.
CHROMA_QP = (29, 30, 31, 32, 32, 33, 34, 34, 35, 35, 36, 36, 37, 37, 37, 38, 38, 38, 39, 39, 39, 39)


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


def h264_like(image: np.ndarray, qp: int, shift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """A model of an H.264 intra frame: (H, W, 3) uint8 RGB, quantiser qp 0..51 -> the same.

    BT.601 with 4:2:0 chroma, 8x8 DCT with the standard's flat quantiser, step 2^((qp - 4) / 6), and a dead
    zone; then a filter along block edges that are small against the step, as the standard's deblocking
    smooths them. Left out: prediction from neighbouring blocks, entropy coding, motion.
    shift: where the block grid starts, 0..7 in y and x.
    """
    height, width = image.shape[:2]
    multiple = 2 * BLOCK
    bottom, right = (-(height + shift[0])) % multiple, (-(width + shift[1])) % multiple
    padded = cv2.copyMakeBorder(image, shift[0], bottom, shift[1], right, cv2.BORDER_REPLICATE)
    ycc = cv2.cvtColor(padded, cv2.COLOR_RGB2YCrCb)
    size = ycc.shape[1], ycc.shape[0]
    chroma = cv2.resize(ycc[..., 1:], (size[0] // 2, size[1] // 2), interpolation=cv2.INTER_AREA)
    chroma_qp = qp if qp < 30 else CHROMA_QP[qp - 30]
    planes = [
        _coded(ycc[..., 0], qp),
        *(
            cv2.resize(_coded(chroma[..., k], chroma_qp), size, interpolation=cv2.INTER_LINEAR)
            for k in (0, 1)
        ),
    ]
    coded = cv2.cvtColor(cv2.merge(planes), cv2.COLOR_YCrCb2RGB)
    return np.ascontiguousarray(coded[shift[0] : shift[0] + height, shift[1] : shift[1] + width])


def _coded(plane: np.ndarray, qp: int) -> np.ndarray:
    """A plane (H, W) uint8, sides multiples of 8, transformed, quantised, transformed back, deblocked."""
    height, width = plane.shape
    step = np.float32(2 ** ((qp - 4) / 6))
    blocks = plane.astype(np.float32).reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK)
    blocks = blocks.transpose(0, 2, 1, 3) - 128  # (rows, columns, 8, 8)
    levels = DCT @ blocks @ DCT.T / step
    levels = np.sign(levels) * np.floor(np.abs(levels) + ROUNDING)
    blocks = DCT.T @ (levels * step) @ DCT + 128
    whole = blocks.transpose(0, 2, 1, 3).reshape(height, width)
    _deblock(whole, step)
    _deblock(whole.T, step)
    return whole.round().clip(0, 255).astype(np.uint8)


def _deblock(plane: np.ndarray, step: np.float32) -> None:
    """Smooth, in place, the pixels on both sides of a block's upper edge where the step across is small."""
    q0 = np.arange(BLOCK, plane.shape[0], BLOCK)
    a, b, c, d = plane[q0 - 2], plane[q0 - 1], plane[q0], plane[q0 + 1]
    artefact = (np.abs(b - c) < step) & (np.abs(a - b) < step / 2) & (np.abs(c - d) < step / 2)
    middle = (b + c) / 2
    plane[q0 - 1] = np.where(artefact, (a + b + 2 * middle) / 4, b)
    plane[q0] = np.where(artefact, (d + c + 2 * middle) / 4, c)


DECODERS = {"libx264": "h264", "mpeg4": "mpeg4"}  # encoder -> decoder, by FFmpeg's names
QUALITIES = {"libx264": (0, 51), "mpeg4": (1, 31)}
RATE = 25  # frames a second; x264 judges by it how long an error is seen


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
