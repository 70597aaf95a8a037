"""Frames of videos, images and animations, one at a time, by number or by time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import av
import numpy as np

from utils.core.errors import MediaError
from utils.faces.convert import Converter
from utils.faces.decoder import MOST_THREADS, Decoder
from utils.faces.media import (
    CROP_NAME,
    IMAGE_SUFFIXES,
    MEDIA_SUFFIXES,
    SOURCE_FILE,
    UNREADABLE,
    VIDEO_SUFFIXES,
    find_media,
    is_picture,
    reading,
)
from utils.faces.numbering import Restart
from utils.faces.pictures import count_pictures, read_image, read_pictures
from utils.faces.truncation import announced_size

__all__ = [
    "CROP_NAME", "IMAGE_SUFFIXES", "MEDIA_SUFFIXES", "SOURCE_FILE", "UNREADABLE", "VIDEO_SUFFIXES",
    "FrameReader", "find_media", "read_image",
]  # fmt: skip


LONGEST = 7 * 24 * 3600  # seconds; a length above it is taken for none


class FrameReader:
    """The frames every-1, 2*every-1, ... of a video; iterate for (index, (H, W, 3) uint8 BGR frame).

    Streams: one frame is held at a time, and frames in between are decoded, where others are made from
    them, but not converted. A video shorter than `every` gives its last readable frame. An image is a video
    of one frame, always given as frame 0; an animation is a video. Frames come as they are meant to be
    seen: upright, of square pixels, without interlacing, 8-bit BGR, each in its own shape. What FFmpeg can't
    decode or marks as corrupt is left out; the others keep their numbers.

    threads: of the decoder; None = as many as there are cores, up to 4.

    Iterating raises MediaError, whose text is the reason, for what isn't a video or has no frame, and
    MemoryError or cv2.error where there is no memory for one. While iterating, `announced` is the number of
    frames that the file claims, or that `duration` counted (0 = unknown); afterwards `decoded` is how many
    could be decoded, and `warning` says what is damaged or missing.
    """

    def __init__(self, path: str | os.PathLike, every: int = 1, threads: int | None = None):
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        self.path = Path(path)
        self.every = every
        self.threads = threads or min(len(os.sched_getaffinity(0)), MOST_THREADS)
        self.announced = 0
        self.decoded = 0
        self.warning: str | None = None
        self._duration: float | None = None
        self._frame_times: list[float] | None = None
        self._key_times: list[float] = []
        self._probed = False

    @property
    def duration(self) -> float | None:
        """Seconds from the first frame to the end of the last; None = an image, or nothing in it tells.

        Opens the file where that hasn't been done, and reads all of it where its header doesn't say, as in
        recordings that were streamed. Raises MediaError.
        """
        self._probe()
        return self._duration

    @property
    def key_times(self) -> list[float]:
        """Seconds at which the frames are that `at` can begin from; empty = unknown. As `duration`."""
        self._probe()
        return self._key_times

    @property
    def readable_share(self) -> float:
        """How much of the file is there, 0..1: less than 1 if it is shorter than it says. MediaError."""
        size = announced_size(self.path)
        with reading():
            return 1.0 if not size else min(1.0, os.path.getsize(self.path) / size)

    def _probe(self) -> None:
        if self._probed:
            return
        if is_picture(self.path):
            self.announced = count_pictures(self.path)
            if self.announced > 1 and len(times := self.frame_times) > 1:
                self._duration = 2 * times[-1] - times[-2]
        else:
            with Decoder(self.path, threads=1) as decoder:
                self._duration = decoder.duration
                if not self._duration and (times := self.frame_times):
                    self._duration = times[-1] + decoder.frame_seconds
                self.announced = self._announced(decoder)
                self._key_times = decoder.key_times()
        if self._duration is not None and not 0 < self._duration <= LONGEST:
            self._duration = None
        self._probed = True

    @property
    def frame_times(self) -> list[float]:
        """Seconds at which frames are shown, sorted: reads the whole file. Raises MediaError."""
        if self._frame_times is None and is_picture(self.path):
            self._frame_times = []
            with suppress(MediaError):  # of a later picture; who reads that one will hear of it
                self._frame_times += (seconds for seconds, _ in read_pictures(self.path))
        elif self._frame_times is None:
            with Decoder(self.path, threads=1) as decoder:
                self._frame_times = decoder.frame_times()
        return self._frame_times

    def _announced(self, decoder: Decoder) -> int:
        return len(self._frame_times or ()) or decoder.announced

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        self.announced, self.decoded, self.warning = 0, 0, None
        given = 0
        for index, frame in self._pictures() if is_picture(self.path) else self._frames():
            given += 1
            yield index, frame
        if not given:
            raise MediaError("no frame of it can be decoded")

    def at(self, times: Iterable[float]) -> Iterator[tuple[float, np.ndarray]]:
        """(seconds, frame) of the first frame at or after each of the sorted times, each frame once.

        times: seconds from the first frame. Those after the last frame give nothing. Key frames are sought,
        so that a few frames of a long video cost little. An image is at 0. Raises as iterating does.
        """
        times = list(times)
        if times != sorted(times):
            raise ValueError("the times must be sorted")
        self.announced, self.decoded, self.warning = 0, 0, None
        if is_picture(self.path):
            yield from self._pictures_at(times)
        else:
            yield from self._frames_at(times)

    def _frames_at(self, times: list[float]) -> Iterator[tuple[float, np.ndarray]]:
        converter, ways = Converter(), {}
        while times:
            try:
                with Decoder(self.path, self.threads, **ways) as decoder:
                    self.announced = self._announced(decoder)
                    try:
                        for seconds, frame in decoder.frames_at(times):
                            times = [time for time in times if time > seconds]
                            self.decoded += 1
                            yield seconds, converter(frame, decoder.pixel_shape, decoder.matrix)
                    finally:
                        lost = decoder.failures + decoder.corrupt
                        self.warning = f"damaged: {lost} frames on the way don't decode" if lost else None
                break
            except Restart as restart:
                ways |= restart.assumption
        if not self.decoded:
            raise MediaError("no frame of it can be decoded")

    def _pictures_at(self, times: list[float]) -> Iterator[tuple[float, np.ndarray]]:
        self.announced = count_pictures(self.path)
        for seconds, frame in read_pictures(self.path):
            self.decoded += 1
            if times and times[0] <= seconds:
                yield seconds, frame
                times = [time for time in times if time > seconds]
            if not times:
                return

    def _pictures(self) -> Iterator[tuple[int, np.ndarray]]:
        self.announced = count_pictures(self.path)
        frame, index = None, -1
        try:
            for index, (_, frame) in enumerate(read_pictures(self.path)):
                self.decoded = index + 1
                if self.announced == 1 or self.decoded % self.every == 0:
                    yield index, frame
        except MediaError as error:
            if frame is None:
                raise
            self.warning = str(error)
        if frame is not None and 1 < self.announced and self.decoded < self.every:
            yield index, frame

    def _frames(self) -> Iterator[tuple[int, np.ndarray]]:
        converter, last = Converter(), -1
        for decoder, index, frame in self._decoded(lambda index: index % self.every == self.every - 1):
            last = index
            yield index, converter(frame, decoder.pixel_shape, decoder.matrix)
        if last < 0:
            for decoder, index, frame in self._decoded(lambda index: True):  # noqa: B007
                last = index
            if last >= 0:
                yield last, converter(frame, decoder.pixel_shape, decoder.matrix)

    def _decoded(self, wanted: Callable[[int], bool]) -> Iterator[tuple[Decoder, int, av.VideoFrame]]:
        """The frames that are wanted; read anew, but none given twice, where an assumption was wrong."""
        last, ways = -1, {}
        while True:
            try:
                with Decoder(self.path, self.threads, **ways) as decoder:
                    self.announced = self._announced(decoder)
                    try:
                        for index, frame in decoder.frames(wanted):
                            if index > last:
                                last = index
                                yield decoder, index, frame
                        self.warning = self._truncation(decoder)
                    finally:
                        self.decoded = decoder.decoded - decoder.corrupt
                        self.warning = self.warning or self._damage(decoder)
                return
            except Restart as restart:
                ways |= restart.assumption

    def _truncation(self, decoder: Decoder) -> str | None:
        if self.readable_share < 1:
            return f"truncated or damaged: {self._count(decoder)}"
        if decoder.ends_early():
            return f"maybe truncated: {self._count(decoder)}"
        return None

    def _damage(self, decoder: Decoder) -> str | None:
        if not decoder.failures and not decoder.corrupt:
            return None
        left_out = f", {decoder.corrupt} corrupt ones left out" if decoder.corrupt else ""
        return f"truncated or damaged: {self._count(decoder)}{left_out}"

    def _count(self, decoder: Decoder) -> str:
        counted = "" if decoder.stream.frames else "about "
        total = f" of {counted}{self.announced}" if self.announced else ""
        return f"{decoder.decoded - decoder.corrupt}{total} frames could be decoded"
