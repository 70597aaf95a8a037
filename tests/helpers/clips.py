"""Small clips made on the spot, in any codec and container that FFmpeg writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

RATE = 25


def picture(number: int, width: int = 64, height: int = 48) -> np.ndarray:
    """(H, W, 3) uint8 BGR, white in its upper left quarter, at its right edge grey of level 8 * number."""
    image = np.zeros((height, width, 3), np.uint8)
    image[: height // 2, : width // 2] = 255
    image[:, -width // 8 :] = 8 * number % 256
    return image


def write_clip(
    path: Path,
    frames: Sequence[np.ndarray] | int = 12,
    codec: str = "libx264",
    format: str | None = None,
    setup: Callable[[av.VideoStream], object] = lambda stream: None,
    change: Callable[[av.Packet], av.Packet] = lambda packet: packet,
    **options: str,
) -> Path:
    """Encode BGR pictures, or so many of `picture`'s.

    setup: what is to be set of the stream first; change: gives the packet to write for one encoded;
    options: the container's.
    """
    if isinstance(frames, int):
        frames = [picture(number) for number in range(frames)]
    with av.open(str(path), "w", format=format, options=options) as container:
        stream = container.add_stream(codec, rate=RATE)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.thread_count = 1  # several make other files from one time to the next
        setup(stream)
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(image, format="bgr24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            for packet in stream.encode(frame):
                container.mux(change(packet))
        for packet in stream.encode(None):
            container.mux(change(packet))
    return path


def with_orientation(packet: av.Packet, quarter_turns: int, mirrored: bool) -> av.Packet:
    """A key frame's packet of H.264 with a message of its own that asks for quarter turns (H.264, D.1.26)."""
    if not packet.is_keyframe:
        return packet
    bits = f"0{mirrored:b}0{quarter_turns * 16384:016b}01001"  # ..., repeated up to the next sequence
    bits = bits.ljust(-(-len(bits) // 8) * 8, "0")
    body = int(bits, 2).to_bytes(len(bits) // 8, "big")
    message = bytes([6, 47, len(body)]) + body + b"\x80"
    message = message.replace(b"\0\0\0", b"\0\0\3\0").replace(b"\0\0\1", b"\0\0\3\1")
    changed = av.Packet(b"\0\0\0\1" + message + bytes(packet))
    changed.pts, changed.dts, changed.time_base = packet.pts, packet.dts, packet.time_base
    changed.stream, changed.is_keyframe = packet.stream, True
    return changed
