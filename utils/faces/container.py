"""Opening a video file, safely: which formats are tried, and which of its streams is taken.

The file is handed over open, and only formats that hold pictures themselves are tried: a list that names
other files or addresses opens nothing.
"""

from __future__ import annotations

import logging
import re
from typing import BinaryIO

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from utils.core.errors import MediaError
from utils.core.shortage import is_short
from utils.faces.media import MOST_PIXELS, UNREADABLE, check_size

logging.getLogger("libav").setLevel(logging.CRITICAL + 1)  # what other threads decode meanwhile isn't told

FORMATS = (
    "mov mp4 matroska webm avi mpeg mpegts mpegtsraw mpegvideo m4v h261 h263 h264 hevc vvc obu av1 ivf flv "
    "live_flv kux asf asf_o ogg mxf gxf dv nut rm wtv nsv nuv dhav vc1 mjpeg mjpeg_2000 yuv4mpegpipe swf amv"
).split()


INDEXED = ("mov", "matroska", "avi")  # name their key frames in one place
ALONE = 40_000_000  # pixels of a frame, more than 8K has, of which several at once are too much memory
SAMPLED, MOST_HIDDEN = 1000, 20  # one of so many entries of an index is looked at; so many may be hidden


def best_stream(container: InputContainer) -> VideoStream:
    """The stream of moving pictures that ffmpeg takes: the default one, else the largest; a single picture
    last. Raises MediaError if there is none but a cover.
    """

    def rank(stream: VideoStream) -> tuple[bool, bool, int]:
        context = stream.codec_context
        area = context.width * context.height if context is not None else 0
        return _moves(stream), bool(stream.disposition & Disposition.default), area

    kinds = sorted({stream.type for stream in container.streams})
    streams = container.streams.video
    if all(stream.disposition & Disposition.attached_pic for stream in streams):
        kinds = [kind if kind != "video" else "a cover picture" for kind in kinds]
        raise MediaError(f"no frame: it holds {', '.join(kinds)} only" if kinds else "no frame, nor anything")
    return max(streams, key=rank)


def _moves(stream: VideoStream) -> bool:
    """Whether a stream holds more than one picture, as far as the file says."""
    still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
    length = _tagged_duration(stream)
    is_one = stream.frames == 1 or (length is not None and length * (stream.guessed_rate or 0) == 1)
    return not stream.disposition & still and not is_one


def open_container(file: BinaryIO) -> InputContainer:
    """The video in an open file. Raises MediaError with the reason, MemoryError where memory is short."""
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
    try:
        return av.open(
            file, "r", options={"max_pixels": str(MOST_PIXELS)}, container_options=options,
            metadata_errors="replace", buffer_size=1 << 16,
        )  # fmt: skip
    except av.ArgumentError:
        reason = "by its content no video that is read here: a list of other files, sound, a rare format"
        raise MediaError(reason) from None
    except av.FFmpegError as error:
        if is_short(error):
            raise
        reason = "can't be opened as a video: damaged, cut short or something else by content"
        raise MediaError(reason) from None
    except OSError as error:
        raise MediaError(f"{UNREADABLE} ({error.strerror})") from None


def prepare(container: InputContainer, stream: VideoStream, threads: int) -> int:
    """Have the stream decoded by so many threads or fewer, which is returned, and no other read.

    Raises MediaError where there is no decoder, or a frame is too large.
    """
    context = stream.codec_context
    if context is None:
        raise MediaError(f"no decoder here for its codec, {codec_name(container, stream)}")
    check_size(context.width, context.height)
    for other in container.streams:
        if other is not stream:
            other.discard = Discard.all
    if context.width * context.height > ALONE:
        threads = 1
    context.thread_count, context.thread_type = threads, "AUTO" if threads > 1 else "NONE"
    context.options = {"max_pixels": str(MOST_PIXELS)}
    if context.name == "mjpeg":  # which else shows half a picture, the rest being what lay in memory
        context.options["err_detect"] = "explode"
    return threads


def hides_much(stream: VideoStream) -> bool:
    """Whether an edit hides so many frames in a row that FFmpeg's search for a time takes minutes.

    What it takes grows with their square.
    """
    entries = stream.index_entries
    return sum(entries[place].is_discard for place in range(0, len(entries), SAMPLED)) > MOST_HIDDEN


def codec_name(container: InputContainer, stream: VideoStream) -> str:
    """What the file calls the codec of a stream without a decoder, such as "none (xyz1 / 0x317A7978)"."""
    av.logging.set_level(av.logging.INFO)  # FFmpeg says it in its log only
    try:
        said = re.search(rf"Stream #0:{stream.index}\b.*?: Video: ([^,\n]+)", container.dumps_format())
    finally:
        av.logging.set_level(None)
    return said[1] if said else "of a kind that isn't known"


def stated_duration(container: InputContainer, stream: VideoStream) -> float | None:
    """Seconds from the first frame to the end of the last, as the file says; None = it doesn't."""
    if stream.duration and stream.duration > 0:
        seconds = float(stream.duration * stream.time_base)
        # guessed from so few packets of a format without an index, it isn't worth much
        return seconds if seconds >= 1 or container.format.name.startswith(INDEXED) else None
    end = _tagged_duration(stream)
    if end is None and container.duration and container.duration > 0:
        end = container.duration / av.time_base
    start = float((stream.start_time or 0) * stream.time_base)
    # Matroska's length counts from zero, wherever its first frame stands
    return end - start if end is not None and start < end else end


def _tagged_duration(stream: VideoStream) -> float | None:
    """The end of a stream as a tag of Matroska gives it, 00:00:02.002000000."""
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
