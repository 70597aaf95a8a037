"""One open video: its best stream, decoded frame by frame, each with its number or its time.

FFmpeg through PyAV. The file is handed over open, and only formats that hold pictures themselves are tried:
a list that names other files or addresses opens nothing.
"""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import ceil

import av
from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from utils.core.errors import MediaError
from utils.faces.media import MOST_PIXELS, UNREADABLE, VIDEO_SUFFIXES, check_size, open_media

FORMATS = (
    "mov mp4 matroska webm avi mpeg mpegts mpegtsraw mpegvideo m4v h261 h263 h264 hevc vvc obu av1 ivf flv "
    "live_flv kux asf asf_o ogg mxf gxf dv nut rm wtv nsv nuv dhav vc1 mjpeg mjpeg_2000 yuv4mpegpipe swf amv"
).split()
# An H.264 decoder holds back 16 frames at most, each of two fields.
LOOKAHEAD = 40  # packets
INDEXED = ("mov", "matroska", "avi")
COUNTED = ("mov", "matroska")  # in these every packet has the time at which its frame is shown
MOST_ERRORS = 1000  # of reading; a file on which it goes on and on is given up
SEEK_SECONDS = 2  # a stretch in which a key frame is likely
MOST_THREADS = 4  # more decode one video hardly faster


class Restart(Exception):
    """The video must be decoded anew, in a way that assumes less."""

    def __init__(self, **assumption: bool):
        super().__init__(assumption)
        self.assumption = assumption


class Decoder:
    """A video file that is open; a context manager.

    `threaded`: frames are decoded side by side. `numbered`: packets tell how many frames come before
    theirs, so that frames which nobody wants, and which no other is made from, aren't decoded. `seeking`:
    key frames are found by time. Each is given up by raising Restart: the first after damage, the others
    where the file's times are missing or wrong.

    After or during decoding: `decoded` frames (those left undecoded on purpose are counted), `failures`
    (packets that don't decode), `corrupt` (frames that FFmpeg marks as such; they aren't given).
    """

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int,
        threaded: bool = True,
        numbered: bool = True,
        seeking: bool = True,
    ):
        self.decoded = self.failures = self.corrupt = 0
        self._file = open_media(path)
        suffix = os.path.splitext(path)[1].lower()
        # FFmpeg may look at the suffix where the content isn't clear, and at nothing else of the name
        self._file.name = f"video{suffix if suffix in VIDEO_SUFFIXES else ''}"
        try:
            self._container = _open(self._file)
            self.stream = best_stream(self._container)
            self._prepare(threads, threaded)
        except BaseException:
            self._file.close()
            raise
        self.threaded = threaded and threads > 1
        self.seeking = seeking
        self._position = self.stream.start_time or 0  # decoding time of the packet read last
        self.numbered = numbered and self._container.format.name.startswith(COUNTED)
        self.numbered = self.numbered and self.stream.codec_context.name == "h264"

    def __enter__(self) -> Decoder:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()
        self._file.close()

    @property
    def announced(self) -> int:
        """How many frames the file says that it holds, counted or by its length; 0 = it doesn't."""
        rate = self.stream.average_rate or self.stream.guessed_rate
        if self.stream.frames:
            return self.stream.frames
        return max(round((self.duration or 0) * float(rate or 0)), 0)

    @property
    def duration(self) -> float | None:
        """Seconds from the first frame to the end of the last, as the file says."""
        stream = self.stream
        if stream.duration and stream.duration > 0:
            return float(stream.duration * stream.time_base)
        end = _tagged_duration(stream)
        if end is None and self._container.duration and self._container.duration > 0:
            end = self._container.duration / av.time_base
        start = float((stream.start_time or 0) * stream.time_base)
        # Matroska's length counts from zero, wherever its first frame stands
        return end - start if end is not None and 0 < start < end else end

    def key_times(self) -> list[float]:
        """Seconds from the first frame to each key frame that the file's index names, sorted; maybe none.

        Moves to the start of the file, since Matroska's index is read by the first search.
        """
        if not self._container.format.name.startswith(INDEXED):
            return []
        try:
            self._container.seek(self._position, stream=self.stream)
        except av.FFmpegError:
            return []
        base = self.stream.time_base
        stamps = sorted(entry.timestamp for entry in self.stream.index_entries if entry.is_keyframe)
        return [float((stamp - stamps[0]) * base) for stamp in stamps]

    @property
    def pixel_shape(self) -> Fraction | None:
        """Width of a pixel over its height: the container's, or that of the frames decoded last."""
        now = self.stream.codec_context.sample_aspect_ratio
        return self._pixel_shape if now == self._coded_shape else now

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, av.VideoFrame]]:
        """The frames with a number that is wanted, in order. Raises Restart, MediaError."""
        return self._by_number(wanted) if self.numbered else self._by_count(wanted)

    def _by_count(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, av.VideoFrame]]:
        for packet in self._packets():
            for frame in self._decode(packet):
                number, self.decoded = self.decoded, self.decoded + 1
                if self._is_whole(frame) and wanted(number):
                    yield number, frame

    def _by_number(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, av.VideoFrame]]:
        numbers: dict[int, int] = {}  # by time, of the frames to come that are wanted
        for packet, number in with_numbers(self._packets()):
            is_wanted = number is not None and wanted(number)
            if is_wanted:
                numbers[packet.pts] = number
            for frame in self._decode(packet, skip=number is not None and not is_wanted):
                if self._is_whole(frame) and frame.pts in numbers:
                    yield numbers.pop(frame.pts), frame
            self.decoded += number is not None
        self.decoded -= self.failures

    def frames_at(self, times: Sequence[float]) -> Iterator[tuple[float, av.VideoFrame]]:
        """(seconds, frame) of the first whole frame at or after each time, each frame once.

        times: seconds from the first frame, sorted. Seeks to the key frame before, where that saves decoding.
        Raises Restart, MediaError.
        """
        base = self.stream.time_base
        start = self.stream.start_time or 0
        # a thousandth of a tick: times of frames are known as rounded floats
        targets = deque(start + ceil(time / base - 0.001) for time in times)
        while targets:
            self._seek_before(targets[0])
            for frame in self._from_here(targets):
                yield float((frame.pts - start) * base), frame
                while targets and targets[0] <= frame.pts:
                    targets.popleft()
                if not targets or self._seeking_saves(targets[0]):
                    break
            else:
                return

    def _from_here(self, targets: Sequence[int]) -> Iterator[av.VideoFrame]:
        """Frames from where the file is read on, those at or after the first of the times, which changes."""
        is_h264 = self.stream.codec_context.name == "h264"
        for packet in self._packets():
            skip = is_h264 and packet is not None and packet.pts is not None and packet.pts < targets[0]
            if packet is not None and packet.dts is not None:
                self._position = packet.dts
            for frame in self._decode(packet, skip):
                if frame.pts is None:  # a bare stream: count, as if frames were evenly spaced
                    raise Restart(timed=False)
                self.decoded += 1
                if self._is_whole(frame) and frame.pts >= targets[0]:
                    yield frame

    def _seeking_saves(self, target: int) -> bool:
        """Whether a key frame is expected between here and the target."""
        if not self.seeking:
            return False
        entries = self.stream.index_entries if self._container.format.name.startswith(INDEXED) else ()
        known = entries.search_timestamp(target) if len(entries) else -1
        if known >= 0 and entries[known].timestamp > self._position:
            return True
        ends = known == len(entries) - 1  # the index may be read only as far as the file
        return ends and (target - self._position) * self.stream.time_base > SEEK_SECONDS

    def _seek_before(self, target: int) -> None:
        """To the last key frame at or before the target; where it can't be found, Restart without seeking."""
        if not self._seeking_saves(target):
            return
        context, base = self.stream.codec_context, self.stream.time_base
        depth = context.reorder_depth
        for seconds in (0, 1, 10):
            try:
                self._container.seek(target - int(seconds / base), stream=self.stream)
                first = next(packet for packet in self._container.demux(self.stream) if packet.size)
                if first.pts is not None and first.pts <= target:
                    self._container.seek(target - int(seconds / base), stream=self.stream)
                    context.reorder_depth = depth  # FFmpeg forgets it, and would show frames out of order
                    return
            except (av.FFmpegError, StopIteration):
                break
        raise Restart(seeking=False)

    def _packets(self) -> Iterator[av.Packet | None]:
        """The stream's packets, at the end None. What can't be read is passed over."""
        errors = 0
        while True:
            try:
                # an empty packet would end decoding
                yield from (packet for packet in self._container.demux(self.stream) if packet.size)
                break
            except MemoryError:
                raise
            except av.FFmpegError:
                errors += 1
                self._damage()
                if errors > MOST_ERRORS:
                    break
            except OSError as error:
                raise MediaError(f"{UNREADABLE} ({error.strerror})") from None
        yield None

    def _decode(self, packet: av.Packet | None, skip: bool = False) -> list[av.VideoFrame]:
        """The frames that come out; skip: this packet's isn't needed, unless others are made from it."""
        context = self.stream.codec_context
        context.skip_frame = "NONREF" if skip else "DEFAULT"
        try:
            return context.decode(packet)
        except EOFError:
            return []
        except MemoryError:
            raise
        except av.FFmpegError:
            self._damage()
            self.failures += 1
            return []

    def _is_whole(self, frame: av.VideoFrame) -> bool:
        if frame.is_corrupt:
            self._damage()
            self.corrupt += 1
        return not frame.is_corrupt

    def _damage(self) -> None:
        """With frames decoded side by side it isn't certain which of them an error concerns."""
        if self.threaded:
            raise Restart(threaded=False)

    def _prepare(self, threads: int, threaded: bool) -> None:
        stream = self.stream
        context = stream.codec_context
        if context is None:
            raise MediaError("its video is in a codec that can't be decoded here")
        check_size(context.width, context.height)
        for other in self._container.streams:
            if other is not stream:
                other.discard = Discard.all
        context.thread_count = threads if threaded else 1
        context.thread_type = "AUTO" if threaded and threads > 1 else "NONE"
        context.options = {"max_pixels": str(MOST_PIXELS)}
        self._pixel_shape, self._coded_shape = stream.sample_aspect_ratio, context.sample_aspect_ratio


def with_numbers(packets: Iterator[av.Packet | None]) -> Iterator[tuple[av.Packet | None, int | None]]:
    """Each packet with how many frames are shown before its own; None for frames that aren't shown.

    Reads LOOKAHEAD packets ahead. Raises Restart where times are missing or can't be told apart.
    """
    shown: list[int] = []  # times of all frames so far, sorted
    waiting: deque[av.Packet] = deque()
    highest = -1  # number that was given

    def number(packet: av.Packet) -> int | None:
        nonlocal highest
        first = highest < 0
        if packet.is_discard:
            return None
        position = bisect_left(shown, packet.pts)
        if first and position:  # the first frames can't be decoded, and the decoder won't show them
            raise Restart(numbered=False)
        highest = max(highest, position)
        return position

    for count, packet in enumerate(packets):
        if packet is None:
            break
        if packet.pts is None or (not count and not packet.is_keyframe):
            raise Restart(numbered=False)
        if not packet.is_discard:
            position = bisect_left(shown, packet.pts)
            if position <= highest or packet.pts in shown[position : position + 1]:
                raise Restart(numbered=False)
            shown.insert(position, packet.pts)
        waiting.append(packet)
        if len(waiting) > LOOKAHEAD:
            yield waiting[0], number(waiting.popleft())
    for packet in waiting:
        yield packet, number(packet)
    yield None, None


def best_stream(container: InputContainer) -> VideoStream:
    """The stream of moving pictures that ffmpeg takes: the default one, else the largest; a cover last.

    Raises MediaError if there is none.
    """

    def rank(stream: VideoStream) -> tuple[bool, bool, int]:
        still = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image
        context = stream.codec_context
        area = context.width * context.height if context is not None else 0
        return not stream.disposition & still, bool(stream.disposition & Disposition.default), area

    if not container.streams.video:
        kinds = sorted({stream.type for stream in container.streams})
        raise MediaError(f"no frame: it holds {', '.join(kinds)} only" if kinds else "no frame, nor anything")
    return max(container.streams.video, key=rank)


def _open(file) -> InputContainer:
    options = {"format_whitelist": ",".join(FORMATS), "protocol_whitelist": "none"}
    try:
        return av.open(
            file, "r", options={"max_pixels": str(MOST_PIXELS)}, container_options=options,
            metadata_errors="replace", buffer_size=1 << 16,
        )  # fmt: skip
    except MemoryError:
        raise
    except av.ArgumentError:
        reason = "by its content a list of other files, a subtitle or the like, not a video"
        raise MediaError(reason) from None
    except av.FFmpegError:
        reason = "can't be opened as a video: damaged, cut short or something else by content"
        raise MediaError(reason) from None
    except OSError as error:
        raise MediaError(f"{UNREADABLE} ({error.strerror})") from None


def _tagged_duration(stream: VideoStream) -> float | None:
    """The end of a stream as a tag of Matroska gives it, 00:00:02.002000000."""
    try:
        hours, minutes, seconds = stream.metadata.get("DURATION", "").split(":")
        return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    except ValueError:
        return None
