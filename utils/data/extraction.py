"""Videos in, aligned face crops out: decode -> detect -> align -> PNG, all at once, frame by frame.

A thread (for a GPU several, each a video) decodes ahead, the caller's thread detects batches of frames that
run across videos, and a small pool aligns, encodes and writes. What lies in a folder of crops is the affair
of `utils.data.crops`.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch

from utils.core.errors import DataError, MediaError, UserError
from utils.data.crops import Job, Settings, begin_folder, finish_folder, write_crop_file
from utils.faces.align import align_face
from utils.faces.detector import Face, FaceDetector
from utils.faces.stream import Prefetch, Shared
from utils.faces.tracker import FaceTracker, Track
from utils.faces.video import FrameReader

# Frames decoded, detected and waiting are counted in pixels, so that memory doesn't depend on their size.
PIXELS_AT_ONCE = {"cpu": 8_000_000, "cuda": 32_000_000}
BATCHES_AHEAD = 2
DECODERS = {"cpu": 1, "cuda": 4}  # a GPU is faster than one thread decodes
ENDED_AT_ONCE = 100  # a long run of files without any frame must not hold back their reports

# After these, writing the next video's crops would fail too.
_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EMFILE}


class OutputError(UserError):
    """The disk failed: nothing more can be written."""


@dataclass
class Tally:
    """What a run has done so far; failures and warnings are (file, reason)."""

    videos: int = 0  # whose crops are complete now
    without_face: int = 0  # of them
    frames: int = 0
    crops: int = 0
    part: float = 0.0  # of the video being worked on, 0..1
    failures: list[tuple[Path, str]] = field(default_factory=list)
    warnings: list[tuple[Path, str]] = field(default_factory=list)


@dataclass
class _Video:
    """One job on its way through the stages."""

    job: Job
    reader: FrameReader
    track: Track = field(default_factory=Track)
    frames: int = 0  # detected
    begun: bool = False
    crops: list[Future] = field(default_factory=list)
    error: str | None = None  # why nothing can come of it


@dataclass
class _Batch:
    """Frames of one or several videos, and the videos that end with them."""

    frames: list[tuple[_Video, int, np.ndarray]] = field(default_factory=list)
    ended: list[_Video] = field(default_factory=list)
    pixels: int = 0


def read_batches(jobs: Iterable[Job], every: int, batch_size: int, pixels: int) -> Iterator[_Batch]:
    """Decode all jobs in turn; a batch is full at `batch_size` frames or at so many pixels."""
    batch = _Batch()
    for job in jobs:
        video = _Video(job, FrameReader(job.path, every))
        decoded = 0
        try:
            with closing(iter(video.reader)) as frames:
                for index, frame in frames:
                    decoded += 1
                    batch.frames.append((video, index, frame))
                    batch.pixels += frame.shape[0] * frame.shape[1]
                    if len(batch.frames) >= batch_size or batch.pixels >= pixels:
                        yield batch
                        batch = _Batch()
        except MediaError as error:
            if decoded:
                video.reader.warning = str(error)
            else:
                video.error = str(error)
        batch.ended.append(video)
        if len(batch.ended) >= ENDED_AT_ONCE:
            yield batch
            batch = _Batch()
    if batch.frames or batch.ended:
        yield batch


class Extractor:
    """Finds and writes the faces of videos.

    workers: threads that align, encode and write. batch_size: frames that the detector gets at once, fewer
    if they are large.
    """

    def __init__(
        self, detector: FaceDetector | FaceTracker, settings: Settings, workers: int, batch_size: int
    ):
        self.detector = detector
        self.settings = settings
        self.workers = workers
        self.batch_size = batch_size
        self.tally = Tally()
        self._disk_error: OSError | None = None
        self._ended: deque[_Video] = deque()  # decoded and detected; crops maybe still to be written
        self._room = threading.Semaphore(4 * workers)  # for frames that wait to be aligned

    def run(self, jobs: Iterable[Job], progress: Callable[[Tally], None]) -> Tally:
        """Extract all jobs; `progress` is called after each batch.

        A video that fails is noted in the tally and the rest goes on. Raises OutputError if the disk fails
        and DataError if the GPU's memory doesn't suffice; what is complete by then stays.
        """
        kind = torch.device(self.detector.device).type
        pixels = PIXELS_AT_ONCE.get(kind, PIXELS_AT_ONCE["cpu"])
        shared = Shared(jobs)
        sources = [
            read_batches(shared, self.settings.every, self.batch_size, pixels)
            for _ in range(DECODERS.get(kind, 1))
        ]
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="writer")
        try:
            with Prefetch(sources, BATCHES_AHEAD) as batches:
                for batch in batches:
                    self._detect(batch, pool)
                    self._ended.extend(batch.ended)
                    while self._ended and all(crop.done() for crop in self._ended[0].crops):
                        self._finish(self._ended.popleft())
                    progress(self.tally)
            while self._ended:
                self._finish(self._ended.popleft())
                progress(self.tally)
        finally:
            pool.shutdown(cancel_futures=True)
        return self.tally

    def _detect(self, batch: _Batch, pool: ThreadPoolExecutor) -> None:
        frames = [frame for _, _, frame in batch.frames]
        tracks = [video.track for video, _, _ in batch.frames]
        try:
            faces = self.detector.detect(frames, tracks)
        except torch.cuda.OutOfMemoryError:
            raise DataError(
                "the GPU's memory doesn't suffice for these frames; try batch_size=1 or detect_size=640"
            ) from None
        for (video, index, frame), face in zip(batch.frames, faces, strict=True):
            video.frames += 1
            if face is not None and self._begin(video):
                self._room.acquire()
                crop = pool.submit(self._write, video.job, index, frame, face)
                crop.add_done_callback(lambda _: self._room.release())
                video.crops.append(crop)
            announced = video.reader.announced
            self.tally.part = (index + 1) / announced if announced > index else 0.0
        if batch.ended:
            self.tally.part = 0.0
        self.tally.frames += len(batch.frames)
        if self._disk_error is not None:
            raise _output_error(self._disk_error)

    def _begin(self, video: _Video) -> bool:
        """Make the folder before its first crop; False if it can't be used."""
        if not video.begun and video.error is None:
            try:
                begin_folder(video.job, self.settings)
                video.begun = True
            except OSError as error:
                video.error = _explain(error)
        return video.begun

    def _write(self, job: Job, index: int, frame: np.ndarray, face: Face) -> tuple[int, Face] | None:
        """Align and write one face, in the pool; None if its landmarks are degenerate."""
        if self._disk_error is not None:
            return None
        crop = align_face(frame, face.landmarks)
        if crop is None:
            return None
        # Level 1: three times faster than the usual level, for files a tenth larger.
        ok, data = cv2.imencode(".png", crop, [cv2.IMWRITE_PNG_COMPRESSION, 1])
        if not ok:
            raise AssertionError("OpenCV can't encode a PNG")
        try:
            write_crop_file(job.folder, index, data)
        except OSError as error:
            if error.errno in _DISK_ERRORS:
                self._disk_error = error
            raise
        return index, face

    def _finish(self, video: _Video) -> None:
        """Write `faces.csv` once all crops of the video are there, and count it."""
        rows = []
        try:
            if video.error is None and self._begin(video):
                rows = [row for crop in video.crops if (row := crop.result()) is not None]
                finish_folder(video.job, rows)
        except OSError as error:
            video.error = _explain(error)
        if self._disk_error is not None:
            raise _output_error(self._disk_error)
        if video.error is not None:
            self.tally.failures.append((video.job.path, video.error))
            return
        if video.reader.warning:
            self.tally.warnings.append((video.job.path, video.reader.warning))
        self.tally.videos += 1
        self.tally.crops += len(rows)
        self.tally.without_face += not rows


def _explain(error: OSError) -> str:
    """What went wrong in a video's folder; raises OutputError if the other folders have no better chance."""
    if error.errno in _DISK_ERRORS:
        raise _output_error(error) from None
    return f"can't write {error.filename or 'its crops'} ({error.strerror})"


def _output_error(error: OSError) -> OutputError:
    return OutputError(f"can't write {error.filename or 'to the output folder'}: {error.strerror}")
