"""A decoded frame as it is meant to be seen: BGR, whole lines, square pixels, upright."""

from __future__ import annotations

import struct
from fractions import Fraction

import av
import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideDataContainer
from av.video.reformatter import Interpolation, VideoReformatter

from utils.core.errors import MediaError
from utils.core.shortage import is_short
from utils.faces.media import check_size

# Numbers of the matrices that FFmpeg names and its converter refuses (ITU-T H.273, table 4).
YCGCO = 8
UNCONVERTIBLE = {11: "SMPTE ST 2085", 14: "ICtCp", 15: "IPT of Dolby Vision", 16: "YCgCo-Re", 17: "YCgCo-Ro"}
UNSPECIFIED, BT709, BT2020 = 2, 1, 9
NARROW_PRIMARIES = frozenset(range(8))
HDR_CURVES = frozenset({16, 18})  # PQ, HLG
UNKNOWN_CURVES = frozenset({0, 2, 3})
UPRIGHT = (1, 0, 0, 1)
# Wider or narrower pixels than these are a mistake in a header, not a shape that anybody filmed in.
PIXEL_SHAPES = (Fraction(1, 5), Fraction(5))


class Converter:
    """Turns decoded frames into (H, W, 3) uint8 BGR arrays; for one thread at a time.

    Bicubic, as OpenCV's reader does it: the same bits for progressive frames of square pixels.
    """

    def __init__(self):
        self._reformatter = VideoReformatter()

    def __call__(
        self, frame: av.VideoFrame, pixel_shape: Fraction | None, matrix: tuple[int, int, int, int] | None
    ) -> np.ndarray:
        """pixel_shape: width of a pixel over its height, None = square; matrix: of `display_matrix`.

        Raises MediaError with the reason.
        """
        size = display_size(frame.width, frame.height, pixel_shape)
        check_size(*size)
        try:
            if frame.interlaced_frame:
                frame = _deinterlaced(frame)
            try:
                shown = self._to_bgr(frame, size)
            except av.FFmpegError:
                shown = self._to_bgr(_with_known_matrix(frame), size)
        except av.FFmpegError as error:
            if is_short(error):
                raise
            reason = f"its {frame.format.name} frames can't be converted ({error.strerror})"
            raise MediaError(reason) from None
        return np.ascontiguousarray(_oriented(shown.to_ndarray(), matrix or UPRIGHT))

    def _to_bgr(self, frame: av.VideoFrame, size: tuple[int, int]) -> av.VideoFrame:
        # Brightness and hues of HDR or of a wide gamut are brought to those of ordinary video.
        target, curve = {}, int(frame.color_trc)
        if curve in HDR_CURVES or frame.color_primaries not in NARROW_PRIMARIES:
            target = {"dst_color_primaries": BT709}
            if curve not in UNKNOWN_CURVES:
                target["dst_color_trc"] = BT709 if curve in HDR_CURVES else curve
        # one thread: slices of several could differ where they meet
        return self._reformatter.reformat(
            frame, *size, format="bgr24", interpolation=Interpolation.BICUBIC, threads=1, **target
        )


def display_size(width: int, height: int, pixel_shape: Fraction | None) -> tuple[int, int]:
    """The size at which a frame's pixels are square: one side is stretched, none is reduced."""
    if not pixel_shape or not PIXEL_SHAPES[0] <= pixel_shape <= PIXEL_SHAPES[1]:
        return width, height
    if pixel_shape > 1:
        return round(width * pixel_shape), height
    return width, round(height / pixel_shape)


def display_matrix(frame: av.VideoFrame) -> tuple[int, int, int, int] | None:
    """How the frame is to be turned: (a, b, c, d), the pixel at (x, y) belongs at (ax + cy, bx + dy).

    None where neither the container nor the stream says so with this frame.
    """
    try:
        # `frame.side_data` would be kept by the frame, and keep it: its pixels would wait for the next search
        # for such circles, by then gigabytes.
        for data in SideDataContainer(frame):
            if data.type.name == "DISPLAYMATRIX":
                values = struct.unpack("=9i", bytes(data))
                return values[0], values[1], values[3], values[4]
    except ValueError:  # side data of a kind that PyAV has no name for hides all others
        turns = round(frame.rotation / 90) % 4  # counter-clockwise
        return (None, (0, -1, 1, 0), (-1, 0, 0, -1), (0, 1, -1, 0))[turns]
    return None


def _oriented(image: np.ndarray, matrix: tuple[int, int, int, int]) -> np.ndarray:
    """Turned and mirrored as a display matrix says, to the next right angle."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, horizontal, vertical = image.transpose(1, 0, 2), c, b
    else:
        horizontal, vertical = a, d
    return image[:: -1 if vertical < 0 else 1, :: -1 if horizontal < 0 else 1]


def _filtered(frame: av.VideoFrame, name: str, options: str) -> av.VideoFrame:
    """The frame after one of FFmpeg's filters that needs no other frame. Raises av.FFmpegError."""
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "buffer", video_size=f"{frame.width}x{frame.height}", pix_fmt=frame.format.name, time_base="1/1000"
    )
    graph.link_nodes(source, graph.add(name, options), graph.add("buffersink")).configure()
    source.push(frame)
    source.push(None)
    return graph.vpull()


def _deinterlaced(frame: av.VideoFrame) -> av.VideoFrame:
    """Lines of the second field are made anew where the fields don't fit; still parts stay as they are.

    From this frame alone, so that it doesn't depend on which others are read.
    """
    try:
        return _filtered(frame, "yadif", "deint=all")
    except av.FFmpegError as error:  # too few lines, say: both fields as they stand
        if is_short(error):
            raise
        return _filtered(frame, "setfield", "prog")


def _with_known_matrix(frame: av.VideoFrame) -> av.VideoFrame:
    """A frame whose colour matrix the converter refuses, in one that it knows. Raises MediaError."""
    number = int(frame.colorspace)
    if number == YCGCO and not frame.format.is_rgb:
        # full range is 2; the other colour properties cancel out
        spread = "pc" if int(frame.color_range) == 2 else "tv"
        known = "iprimaries=bt709:primaries=bt709:itrc=bt709:trc=bt709:fast=1"
        return _filtered(
            frame, "colorspace", f"ispace=ycgco:space=bt709:irange={spread}:range={spread}:{known}"
        )
    if number in UNCONVERTIBLE:
        raise MediaError(f"its colours ({UNCONVERTIBLE[number]}) can't be converted")
    # 10 is BT.2020 at constant luminance, 12 and 13 are derived from the primaries, 3 is reserved
    wide = number == 10 or (number in (12, 13) and int(frame.color_primaries) == 9)
    frame.colorspace = BT2020 if wide else BT709 if number in (12, 13) else UNSPECIFIED
    return frame
