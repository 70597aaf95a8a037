"""Threads that decode clips side by side, and the frames that wait there for the detector."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Any

import numpy as np
import torch

from utils.core.device import is_gpu, page_locked
from utils.core.errors import MediaError
from utils.faces.config import DETECT_BATCH
from utils.faces.decoder import MOST_THREADS
from utils.faces.tracker import Track

MOST_DECODERS = 16
Frames = Iterable[tuple[int, np.ndarray]]  # (number, (H, W, 3) uint8 BGR)


@dataclass(frozen=True)
class Limits:
    """How much is done at once: what memory depends on.

    decoders: threads. frames: of a clip that are asked for at once, and of a batch for the detector. pixels:
    of all frames that wait, beyond which only the oldest clip is read on; those of one clip that are asked
    for at once are fewer if they exceed it. clips: how many may be begun from the oldest that hasn't ended
    on. across: batches are whole, and of one (height, width), across clips. Else a batch is of one clip, so
    that what is found depends, to the last bit, on that clip alone. threads: of each decoder; None = as its
    reader likes. locked: frames wait in memory from which a GPU fetches them by itself.
    """

    decoders: int = 1
    frames: int = DETECT_BATCH
    pixels: int = 4 * 1080 * 1920
    clips: int = 16
    across: bool = False
    threads: int | None = None
    locked: bool = False


def limits_for(device: torch.device | str, frames: int = Limits.frames, clips: int = 0) -> Limits:
    """What suits a device; frames: how many the detector may get at once; clips: how many there are, 0 =
    unknown.
    """
    if not is_gpu(device):
        return Limits(frames=frames)
    # A GPU detects faster than one thread decodes, and takes little longer for a batch than for a frame. Each
    # clip has a core; where there are few clips, their decoders share the cores.
    cores = len(os.sched_getaffinity(0))
    decoders = min(cores, MOST_DECODERS, clips or MOST_DECODERS)
    threads = min(MOST_THREADS, max(1, cores // decoders))
    return Limits(decoders, frames, 32 * 1080 * 1920, 2 * MOST_DECODERS, True, threads, locked=True)


@dataclass(eq=False)
class Clip:
    """One video or image on its way.

    frames: a `FrameReader`, or any (number, frame) pairs in the order they are to be searched; see
    `utils.faces.frames` for what else it may know. source: what the caller knows it by. limit: of its frames
    with faces, where it isn't the stream's. begun: called before its first frame is read, in the thread that
    reads it. looked_at: frames searched so far; found: those with a face that
    could be aligned. failure: why nothing could be read; warning: what is missing of it. Both are final once
    the clip has ended.
    """

    frames: Frames
    source: Any = None
    limit: int | None = None
    begun: Callable[[], None] | None = None
    looked_at: int = 0
    found: int = 0
    failure: str | None = None
    warning: str | None = None
    track: Track = field(default_factory=Track, repr=False)


@dataclass(eq=False)
class _Reading:
    """A clip being decoded.

    asked: how many of its frames are wanted so far; read: how many are decoded, of which the last ones are
    waiting for the detector or are searched by it. busy: a thread reads a frame; over: nothing is left.
    """

    clip: Clip
    number: int
    frames: Iterator[tuple[int, np.ndarray]]
    waiting: deque[tuple[int, np.ndarray]] = field(default_factory=deque)
    asked: int = 0
    read: int = 0
    searched: int = 0
    busy: bool = False
    over: bool = False

    @property
    def is_wanted(self) -> bool:
        """Whether a frame of it is to be read now."""
        return not self.busy and not self.over and self.read < self.asked

    @property
    def is_ready(self) -> bool:
        """Whether all frames that were asked for are waiting."""
        return bool(self.waiting) and not self.busy and (self.over or self.read >= self.asked)

    @property
    def has_ended(self) -> bool:
        at_rest = not self.busy and not self.waiting and not self.searched
        return at_rest and (self.over or self.read >= self.asked)


class Prefetch:
    """Threads that decode, and the frames that wait for the detector. All state is under one lock."""

    def __init__(self, clips: Iterable[Clip], limit: int | None, limits: Limits):
        self.limit, self.limits = limit, limits
        self.clips, self.begun, self.exhausted = iter(clips), 0, False
        self.readings: list[_Reading] = []  # begun and not ended, the oldest first
        self.unreported: list[Clip] = []  # begun, and the caller hasn't been told
        self.pixels = 0  # waiting
        self.error: BaseException | None = None
        self.stopped = False
        self.changed = threading.Condition()
        self.threads = [
            threading.Thread(target=self._run, name="decoder", daemon=True) for _ in range(limits.decoders)
        ]

    def __enter__(self) -> Prefetch:
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self.stopped = True
            self.changed.notify_all()
        for thread in self.threads:
            thread.join()
        for reading in self.readings:
            _close(reading.frames)

    # the decoders' side

    def _run(self) -> None:
        try:
            while (reading := self._next()) is not None:
                self._read(reading)
        except BaseException as error:  # raised again where the faces are used
            with self.changed:
                self.error = error
                self.changed.notify_all()

    def _next(self) -> _Reading | None:
        """The oldest clip that a frame is wanted of, now this thread's alone; None where nothing is left."""
        with self.changed:
            while not self.stopped and self.error is None:
                reading = self._wanted() or self._begin()
                if reading is not None:
                    reading.busy = True
                    return reading
                if self.exhausted and not self.readings:
                    break
                self.changed.wait()
        return None

    def _wanted(self) -> _Reading | None:
        # The oldest may always be read on: with too many frames of others waiting, nothing else could go on.
        readings = self.readings if self.pixels < self.limits.pixels else self.readings[:1]
        return next((reading for reading in readings if reading.is_wanted), None)

    def _may_begin(self) -> bool:
        if self.exhausted or (self.readings and self.pixels >= self.limits.pixels):
            return False
        return not self.readings or self.begun - self.readings[0].number < self.limits.clips

    def _begin(self) -> _Reading | None:
        """The next clip, if there is one and it may be begun now."""
        if not self._may_begin():
            return None
        clip = next(self.clips, None)
        if clip is None:
            self.exhausted = True
            self.changed.notify_all()
            return None
        reading = _Reading(clip, self.begun, iter(clip.frames))
        self._ask(reading)
        self.begun += 1
        self.readings.append(reading)
        self.unreported.append(clip)
        return reading

    def _ask(self, reading: _Reading) -> None:
        """Want some more frames of a clip: as many as it needs, should all under way hold a face."""
        if reading.waiting or reading.read < reading.asked:
            return
        count, limit = self.limits.frames, reading.clip.limit or self.limit
        if limit is not None:
            count = min(count, limit - reading.clip.found - reading.searched)
        reading.asked += max(count, 0)

    def _read(self, reading: _Reading) -> None:
        """Decode one frame, outside the lock, and put it among those that wait."""
        item, reason, clip = None, None, reading.clip
        if clip.begun is not None and not reading.read:
            clip.begun()  # may open the file, and read all of it
        try:
            item = next(reading.frames, None)
            if item is not None and self.limits.locked:
                item = item[0], page_locked(item[1])
        except MediaError as error:
            reason = str(error)
        with self.changed:
            reading.busy = False
            if item is not None:
                reading.read += 1
                reading.waiting.append(item)
                self.pixels += _pixels(item)
                if sum(map(_pixels, reading.waiting)) >= self.limits.pixels:
                    reading.asked = reading.read
            else:
                reading.over = True
                if reason is not None and not reading.read:
                    clip.failure = reason
                else:
                    clip.warning = reason
            self.changed.notify_all()

    # the caller's side

    def take(self) -> list[tuple[Clip, int, np.ndarray]] | None:
        """The next frames to search; empty where clips have ended without more, None at the end of all.

        Waits for what the decoders bring; raises what they could not go on from.
        """
        with self.changed:
            while self.error is None:
                batch = self._batch_across() if self.limits.across else self._batch_of_one()
                if batch or any(reading.has_ended for reading in self.readings):
                    self.changed.notify_all()
                    return batch
                if self.exhausted and not self.readings:
                    return None
                self.changed.wait()
            raise self.error

    def settle(self) -> tuple[list[Clip], list[Clip]]:
        """After what was taken has been searched: clips begun since, and those that ended; oldest first."""
        with self.changed:
            for reading in self.readings:
                reading.searched = 0
                self._ask(reading)
            ended = [reading for reading in self.readings if reading.has_ended]
            self.readings = [reading for reading in self.readings if not reading.has_ended]
            begun, self.unreported = self.unreported, []
            self.changed.notify_all()
        for reading in ended:
            _close(reading.frames)
            clip = reading.clip
            if clip.failure is None and clip.warning is None:
                clip.warning = getattr(clip.frames, "warning", None)
        return begun, [reading.clip for reading in ended]

    def _batch_of_one(self) -> list[tuple[Clip, int, np.ndarray]]:
        """All frames that wait of the oldest clip that is ready."""
        reading = next((reading for reading in self.readings if reading.is_ready), None)
        return [] if reading is None else self._taken(reading, len(reading.waiting))

    def _batch_across(self) -> list[tuple[Clip, int, np.ndarray]]:
        """Frames of one size: of one that fills a batch, else, if no more can be read now, of the oldest."""
        runs: dict[tuple[int, int], list[tuple[_Reading, int]]] = {}  # how many of each clip are to be had
        for reading in self.readings:
            for size, run in islice(groupby(reading.waiting, key=_size), 1):
                runs.setdefault(size, []).append((reading, sum(1 for _ in run)))
        if not runs:
            return []
        whole = [size for size in runs if sum(count for _, count in runs[size]) >= self._most(size)]
        if not whole and not self._stands_still():
            return []
        size = next(iter(whole or runs))
        batch = []
        for reading, count in runs[size]:
            batch += self._taken(reading, min(count, self._most(size) - len(batch)))
        return batch

    def _taken(self, reading: _Reading, count: int) -> list[tuple[Clip, int, np.ndarray]]:
        items = [reading.waiting.popleft() for _ in range(count)]
        self.pixels -= sum(map(_pixels, items))
        reading.searched += count
        self._ask(reading)
        return [(reading.clip, index, frame) for index, frame in items]

    def _most(self, size: tuple[int, int]) -> int:
        """How many frames of a size are a whole batch; large ones are a quarter of what may wait."""
        return max(1, min(self.limits.frames, self.limits.pixels // 4 // (size[0] * size[1])))

    def _stands_still(self) -> bool:
        """Whether no decoder can go on before frames are taken."""
        busy = any(reading.busy for reading in self.readings)
        return not busy and self._wanted() is None and not self._may_begin()


def _size(item: tuple[int, np.ndarray]) -> tuple[int, int]:
    return item[1].shape[:2]


def _pixels(item: tuple[int, np.ndarray]) -> int:
    return item[1].shape[0] * item[1].shape[1]


def _close(frames: Iterator) -> None:
    close = getattr(frames, "close", None)
    if close is not None:
        close()
