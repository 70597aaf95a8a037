"""One open video: its best stream, decoded by FFmpeg frame by frame, each with its number or its time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import ceil

import av

from utils.core.errors import MediaError
from utils.core.shortage import is_short
from utils.faces.container import (
    INDEXED,
    best_stream,
    hides_much,
    open_container,
    prepare,
    stated_duration,
)
from utils.faces.convert import display_matrix
from utils.faces.guard import GuardedFile
from utils.faces.indexes import check_index
from utils.faces.media import UNREADABLE, VIDEO_SUFFIXES, open_media
from utils.faces.mp4 import MOST_FRAMES
from utils.faces.numbering import Restart, with_numbers
from utils.faces.truncation import is_unfinished

GUESSED = ("mpeg", "mpegts")  # their length is guessed from the first and the last packets
LITTLE = 64 << 20  # bytes; so many are soon read
LENGTH_FIRST = ("flv", "live_flv")
COUNTED = ("mov", "matroska")  # in these every packet has the time at which its frame is shown
MUCH_MORE = 1.5  # times the count in a header: it isn't that of all frames
MOST_DECODED = 10**13  # pixels of one file: five hours of 4K at 60 frames a second
MOST_ERRORS = 1000  # of reading; a file on which it goes on and on is given up
MOST_FAILURES = 50_000  # packets that don't decode
RATE = 25  # frames a second, where a stream doesn't say
SEEK_SECONDS = 2  # a stretch in which a key frame is likely
MOST_THREADS = 4  # more decode one video hardly faster


class Decoder:
    """A video file that is open; a context manager.

    `threaded`: frames are decoded side by side. `numbered`: packets tell how many frames come before theirs,
    so that frames which nobody wants, and which no other is made from, aren't decoded. `seeking`: key frames
    are found by time. `timed`: frames have times; else they are evenly spaced. Each is given up by raising
    Restart: the first after damage, the others where the file's times are missing or wrong.

    After or during decoding: `decoded` frames (those left undecoded on purpose are counted), `failures`
    (packets that don't decode), `corrupt` (frames that FFmpeg marks as such; they aren't given). Of the frame
    given last: `matrix`, how it is to be turned, and `pixel_shape`.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        threads: int,
        threaded: bool = True,
        numbered: bool = True,
        seeking: bool = True,
        timed: bool = True,
    ):
        self.decoded = self.failures = self.corrupt = 0
        self._failed: set[object] = set()
        self._marked: set[object] = set()
        self._pixels = self._read = 0
        suffix = os.path.splitext(path)[1].lower()
        file = open_media(path)
        # FFmpeg may look at the suffix where the content isn't clear, and at nothing else of the name
        self._file = GuardedFile(file, f"video{suffix if suffix in VIDEO_SUFFIXES else ''}")
        try:
            self._is_unfinished = is_unfinished(path)
            check_index(file)
            with self._file.limited():
                self._container = open_container(self._file)
            self.stream = best_stream(self._container)
            threads = prepare(self._container, self.stream, threads if threaded else 1)
            self._pixel_shape = self.stream.sample_aspect_ratio
            self._coded_shape = self.stream.codec_context.sample_aspect_ratio
        except BaseException:
            self._file.close()
            raise
        self.threaded = threads > 1
        self.seeking, self.timed = seeking and timed and not hides_much(self.stream), timed
        self._shown = 0  # end of the frame shown last
        self.matrix: tuple[int, int, int, int] | None = None
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
        by_length = max(round((self._stated_duration() or 0) / self.frame_seconds), 0)
        counted = 0 if self._is_unfinished else self.stream.frames
        # the count in an mp4 whose fragments follow is that of its first part
        return by_length if by_length > MUCH_MORE * counted else counted

    @property
    def duration(self) -> float | None:
        """Seconds from the first frame to the end of the last, as the file says; None = it doesn't, or it is
        better found out by `frame_times`."""
        is_little = os.fstat(self._file.fileno()).st_size < LITTLE
        return None if self._container.format.name in GUESSED and is_little else self._stated_duration()

    def _stated_duration(self) -> float | None:
        return None if self._is_unfinished else stated_duration(self._container, self.stream)

    @property
    def frame_seconds(self) -> float:
        """How long a frame is shown, by the stream's rate."""
        return 1 / float(self.stream.average_rate or self.stream.guessed_rate or RATE)

    def ends_early(self) -> bool:
        """Whether frames end well before the length in the header, in formats without an index at the end.

        Theirs is the length of the longest stream, so it may be that only the sound went on.
        """
        if not self._container.format.name.startswith(LENGTH_FIRST) or not self.duration:
            return False
        shown = float((self._shown - (self.stream.start_time or 0)) * self.stream.time_base)
        return shown < 0.8 * self.duration

    def key_times(self) -> list[float]:
        """Seconds from the first frame to each key frame that the file's index names, sorted; maybe none.

        Moves to the start of the file, since Matroska's index is read by the first search.
        """
        if not self._container.format.name.startswith(INDEXED) or not self.seeking:
            return []
        try:
            self._seek(self._position)
        except av.FFmpegError:
            return []
        base = self.stream.time_base
        stamps = sorted(entry.timestamp for entry in self.stream.index_entries if entry.is_keyframe)
        return [float((stamp - stamps[0]) * base) for stamp in stamps]

    def frame_times(self) -> list[float]:
        """Seconds from the first frame at which frames are shown, sorted, by the packets alone.

        Reads the whole file, and decodes nothing. Evenly spaced where packets have no times.
        """
        base, start = self.stream.time_base, self.stream.start_time or 0
        stamps = [
            packet.dts if packet.pts is None else packet.pts
            for packet in self._packets()
            if packet is not None and not packet.is_discard
        ]
        if None in stamps:
            rate = float(self.stream.guessed_rate or RATE)
            return [number / rate for number in range(len(stamps))]
        return sorted(float((stamp - start) * base) for stamp in stamps)

    @property
    def pixel_shape(self) -> Fraction | None:
        """Width of a pixel over its height: the container's, or that of the frames decoded last."""
        now = self.stream.codec_context.sample_aspect_ratio
        return self._pixel_shape if now == self._coded_shape else now

    def frames(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, av.VideoFrame]]:
        """The frames with a number that is wanted, in order. Raises Restart, MediaError."""
        return self._by_number(wanted) if self.numbered else self._by_count(wanted)

    def _by_count(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, av.VideoFrame]]:
        owed = 0
        for packet in self._packets():
            owed += packet is not None and not packet.is_discard
            for frame in self._decode(packet):
                number, self.decoded = self.decoded, self.decoded + 1
                if self._is_whole(frame) and wanted(number):
                    yield number, frame
        # PyAV keeps quiet of an error among the last frames. (VP8 has packets that show nothing.)
        if self.decoded < owed and self.stream.codec_context.name != "vp8":
            self._damage()

    def _by_number(self, wanted: Callable[[int], bool]) -> Iterator[tuple[int, av.VideoFrame]]:
        numbers: dict[int, int] = {}  # by time, of the frames to come that are wanted
        for packet, number in with_numbers(self._packets()):
            is_wanted = number is not None and wanted(number)
            if is_wanted:
                numbers[packet.pts] = number
            for frame in self._decode(packet, skip=number is not None and not is_wanted):
                number_of = numbers.pop(frame.pts, None)
                if self._is_whole(frame) and number_of is not None:
                    yield number_of, frame
            self.decoded += number is not None
        if numbers:
            self._damage()
        self.failures = max(self.failures, len(numbers))
        self.decoded -= self.failures

    def frames_at(self, times: Sequence[float]) -> Iterator[tuple[float, av.VideoFrame]]:
        """(seconds, frame) of the first whole frame at or after each time, each frame once.

        times: seconds from the first frame, sorted. Seeks to the key frame before, where that saves decoding.
        Raises Restart, MediaError.
        """
        base = self.stream.time_base
        start = (self.stream.start_time or 0) if self.timed else 0
        # a thousandth of a tick: times of frames are known as rounded floats
        targets = deque(start + ceil(time / base - 0.001) for time in times)
        while targets:
            self._seek_before(targets[0])
            for stamp, frame in self._from_here(targets):
                yield float((stamp - start) * base), frame
                while targets and targets[0] <= stamp:
                    targets.popleft()
                if not targets or self._seeking_saves(targets[0]):
                    break
            else:
                return

    def _from_here(self, targets: Sequence[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """Frames from where the file is read on, those at or after the first of the times, which changes."""
        pause = 1 / (self.stream.guessed_rate or RATE) / self.stream.time_base
        is_h264 = self.stream.codec_context.name == "h264"
        for packet in self._packets():
            skip = is_h264 and self.timed and packet is not None and packet.pts is not None
            skip = skip and packet.pts < targets[0]
            if packet is not None and packet.dts is not None:
                self._position = packet.dts
            for frame in self._decode(packet, skip):
                stamp = frame.pts if self.timed else round(self.decoded * pause)
                if stamp is None:  # a bare stream
                    raise Restart(timed=False)
                self.decoded += 1
                if self._is_whole(frame) and stamp >= targets[0]:
                    yield stamp, frame

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

    def _seek(self, stamp: int) -> None:
        with self._file.limited():
            self._container.seek(stamp, stream=self.stream)

    def _seek_before(self, target: int) -> None:
        """To the last key frame at or before the target; where it can't be found, Restart without seeking."""
        if not self._seeking_saves(target):
            return
        context, base = self.stream.codec_context, self.stream.time_base
        depth = context.reorder_depth
        for seconds in (0, 1, 10):
            try:
                self._seek(target - int(seconds / base))
                first = next(packet for packet in self._container.demux(self.stream) if packet.size)
                if first.pts is not None and first.pts <= target:
                    self._seek(target - int(seconds / base))
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
                for packet in self._container.demux(self.stream):
                    self._read += 1
                    if self._read > MOST_FRAMES:
                        raise MediaError(f"more than {MOST_FRAMES} frames; cut it into parts")
                    if packet.size:
                        if packet.has_sidedata("encryption_info"):
                            raise MediaError("encrypted: it can't be decoded without its key")
                        yield packet
                break
            except IndexError:  # PyAV's, at the end of a file in which streams turned up on the way
                break
            except av.FFmpegError as error:
                if is_short(error):
                    raise
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
            frames = context.decode(packet)
            self._pixels += sum(frame.width * frame.height for frame in frames)
            if self._pixels > MOST_DECODED:
                raise MediaError(f"more than {MOST_DECODED:.0e} pixels to decode; cut it into parts")
            return frames
        except EOFError:
            return []
        except av.FFmpegError as error:
            if is_short(error):
                raise
            self._damage()
            self.failures = _counted(packet, self._failed)
            if self.failures > MOST_FAILURES:
                raise MediaError(f"more than {MOST_FAILURES} frames of it don't decode") from None
            return []

    def _is_whole(self, frame: av.VideoFrame) -> bool:
        self._shown = max(self._shown, (frame.pts or 0) + frame.duration)
        matrix = display_matrix(frame)
        if matrix is not None or frame.key_frame:  # H.264 states it once for all frames up to the next key
            self.matrix = matrix
        if frame.is_corrupt:
            self._damage()
            self.corrupt = _counted(frame, self._marked)
        return not frame.is_corrupt

    def _damage(self) -> None:
        """With frames decoded side by side it isn't certain which of them an error concerns."""
        if self.threaded:
            raise Restart(threaded=False)


def _counted(lost: av.Packet | av.VideoFrame | None, known: set[object]) -> int:
    """How many are known with this one: by its time, since after a search it may be met again."""
    stamp = None if lost is None else lost.pts
    known.add(object() if stamp is None else stamp)
    return len(known)
