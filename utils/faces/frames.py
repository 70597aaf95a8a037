"""Which frames of a clip are judged: every n-th one from its start on, or some spread over all of it.

Both are iterated for (number, (H, W, 3) uint8 BGR frame), and know afterwards when a frame is seen. Frames
that are spread lie where reading them costs little: a video is decoded from key frames on, so that short
stretches behind key frames all over a long one cost no more than its first seconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from math import ceil

import numpy as np

from utils.core.errors import MediaError
from utils.faces.tracker import LOOK_EVERY
from utils.faces.video import FrameReader

RATE = 25.0  # frames a second, of a file that doesn't say
LONGEST_HOLE = 12.0  # seconds between stretches; over a longer one the video is decoded
MUCH = 1.5  # a clip of so many times what may be decoded is decoded as a whole
ROUNDS = (1, 2, 4)  # how finely the clip is cut up, from round to round, as long as faces are missing


class StrideFrames:
    """The frames of a reader, and when each is seen. reader: a `FrameReader`."""

    far: frozenset[int] = frozenset()  # numbers of frames that the ones before say little of

    def __init__(self, reader: FrameReader):
        self.reader = reader
        self.warning: str | None = None  # of what lies before the last frame that was asked for

    @cached_property
    def duration(self) -> float | None:
        """Seconds; None = unknown, an image, or what can't be read any more."""
        try:
            return self.reader.duration
        except MediaError:
            return None

    @property
    def expected(self) -> float:
        """About how many frames come if all are asked for; 0 = unknown."""
        return self.reader.announced / self.reader.every

    def seconds_of(self, number: int) -> float | None:
        """When the frame of this number is seen, if its frames are evenly spaced; None = unknown."""
        if not self.duration or not self.reader.announced:
            return None
        return min(number * self.duration / self.reader.announced, self.duration)

    def number_of(self, number: int) -> int:
        """The frame's number in the clip."""
        return number

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        self.warning = None
        yield from self.reader
        self.warning = self.reader.warning


class SpreadFrames:
    """Frames spread over the whole of a clip, numbered as they come.

    reader: a `FrameReader`, whose stride says what a frame may cost, and takes over where the clip's length
    is unknown; count: how many frames are needed if each holds a face. The first `count` come in their order.
    Who asks for more gets frames between them, in rounds, up to seven times as many in all, fewer of a short
    clip: so it is searched the more finely the more faces are missing.
    """

    def __init__(self, reader: FrameReader, count: int):
        self.reader, self.count = reader, count
        self.warning: str | None = None
        self.seconds: list[float | None] = []
        self.far: set[int] = set()

    @property
    def duration(self) -> float | None:
        return self.reader.duration

    @property
    def expected(self) -> float:
        """About how many frames come if all are asked for."""
        return sum(ROUNDS) * self.count

    def seconds_of(self, number: int) -> float | None:
        return self.seconds[number]

    def number_of(self, number: int) -> int:
        """The frame's number in the clip, by the time at which it is seen and the clip's mean rate."""
        seconds = self.seconds[number]
        if seconds is None:  # they come from the start, at the reader's stride
            return (number + 1) * self.reader.every - 1
        return round(seconds * self._rate)

    @property
    def _rate(self) -> float:
        """Frames a second, on average."""
        length = self.duration
        return (self.reader.announced or RATE * length) / length if length else RATE

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        self.warning, self.seconds, self.far = None, [], set()
        length = self.duration
        if not length:
            yield from self._from_the_start()
            return
        share = self.reader.readable_share
        if share < 1:
            self.warning = f"truncated: {share:.0%} of the file are there"
        for way in (self._spread(length * share), self._filled_up()):
            try:
                yield from way
                return
            except MediaError:  # its length or its times may be wrong
                if self.seconds:
                    raise
        yield from self._from_the_start()

    def _from_the_start(self) -> Iterator[tuple[int, np.ndarray]]:
        for number, (_, frame) in enumerate(self.reader):
            self.seconds.append(0.0 if self.reader.announced == 1 else None)
            yield number, frame
        self.warning = self.reader.warning

    def _spread(self, length: float) -> Iterator[tuple[int, np.ndarray]]:
        rate = self._rate
        step = self.reader.every / rate  # seconds that may be decoded for a frame
        enough = max(2 * self.count, length / step)  # frames; about as many as a stride would give
        for factor in ROUNDS:
            if len(self.seconds) >= enough:
                return
            count = min(factor * self.count, ceil(length * rate))
            times = plan(length, self.reader.key_times, count, step)
            times = nearest(times, self.reader.key_times, 1 / rate)
            given = np.sort([*self.seconds, np.inf])
            gaps = given[np.searchsorted(given, times)] - times  # to the next frame that was given
            times = [time for time, gap in zip(times, gaps, strict=True) if gap >= 1 / rate]
            # Of the second round half the frames may do: they lie all over the clip, too.
            groups = 2 if factor == 2 else 1
            for start in range(groups):
                yield from self._at(times[start::groups], step)
        yield from self._filled_up()

    def _filled_up(self) -> Iterator[tuple[int, np.ndarray]]:
        """Frames up to the count: where a picture stands still for long, times all over the clip meet few."""
        known = set(self.seconds)
        if len(known) < min(self.count, self.reader.announced or self.count):
            left = [time for time in self.reader.frame_times if time not in known and time >= 0]
            count = min(self.count - len(known), len(left))
            times = [left[int((number + 0.5) * len(left) / count)] for number in range(count)]
            yield from self._at(times, self.reader.every / self._rate)

    def _at(self, times: Sequence[float], step: float) -> Iterator[tuple[int, np.ndarray]]:
        """The frames at these times, but none for a second time."""
        if not len(times):
            return
        known, looked = set(self.seconds), None
        try:
            for seconds, frame in self.reader.at(times):
                if seconds in known:
                    continue
                if looked is None or seconds - looked > (LOOK_EVERY - 0.5) * step:
                    self.far.add(len(self.seconds))
                    looked = seconds
                self.seconds.append(seconds)
                yield len(self.seconds) - 1, frame
        except MediaError:
            if not known:  # later rounds may ask for times behind the last frame
                raise
        finally:
            self.warning = self.warning or self.reader.warning


def nearest(times: Sequence[float], key_times: Sequence[float], frame: float) -> list[float]:
    """From when on a first frame is the one nearest to each time; never from before the key frame it needs.

    frame: seconds that a frame is shown.
    """
    keys = [0.0, *key_times]
    # a little more than half a frame, or a frame's own time, rounded up, would give the next one
    return [max(time - 0.51 * frame, keys[bisect_right(keys, time) - 1]) for time in times]


def plan(length: float, key_times: Sequence[float], count: int, step: float) -> list[float]:
    """`count` sorted times, in seconds, spread over a clip of so many seconds.

    They are the middles of equal parts. Where the clip is short, or `step` seconds for each time are about
    all of it, it is decoded as a whole. Else those between two key frames are moved towards the first, so far
    that no more than that is decoded. key_times: sorted seconds at which key frames are; without any, none is
    moved.
    """
    middles = [(number + 0.5) * length / count for number in range(count)]
    if length <= max(MUCH * count * step, LONGEST_HOLE) or not key_times:
        return middles
    times: list[float] = []
    for at, group in groupby(middles, key=lambda time: bisect_right(key_times, time) - 1):
        group = list(group)
        first = key_times[at] if at >= 0 else 0.0
        last = key_times[at + 1] if at + 1 < len(key_times) else length
        affordable = len(group) * step
        if group[-1] - first <= affordable or last - first > LONGEST_HOLE:
            times += group
        else:
            times += [first + place * step for place in range(len(group))]
    return times
