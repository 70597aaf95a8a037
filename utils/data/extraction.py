"""Videos in, aligned face crops out: a stream of faces -> PNG, while the next are decoded and detected.

A small pool encodes and writes the crops. What lies in a folder of crops is the affair of
`utils.data.crops`.
"""

from __future__ import annotations

import errno
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from operator import length_hint

import cv2

from utils.core.errors import UserError
from utils.core.shortage import disk_line
from utils.data.crops import Job, Settings, begin_folder, finish_folder, write_crop_file
from utils.data.failures import Extracted, Outcome
from utils.faces.detector import Face
from utils.faces.stream import Clip, Detector, FoundFace, face_stream, limits_for
from utils.faces.video import FrameReader

# Clips begun after the oldest one that isn't through: a film must not hold up many others.
CLIPS_AHEAD = 256
# Level 1: three times faster than the usual level, for files a tenth larger. With one filter for all lines
# writing takes a third less time than with each line's best, and reading, too; of the filters "up", the line
# above, gives files of the same size.
PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP)

# After these, writing the next video's crops would fail too: no room, no disk, no folder any more.
_DISK_ERRORS = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM,
    errno.ENOENT, errno.ENOTDIR, errno.ESTALE,
}  # fmt: skip


class OutputError(UserError):
    """The disk failed: nothing more can be written."""


@dataclass(eq=False)
class _Video:
    """One job on its way through the stages."""

    job: Job
    begun: bool = False
    crops: list[Future] = field(default_factory=list)
    error: str | None = None  # why nothing can come of it
    warning: str | None = None


class Extractor:
    """Finds and writes the faces of videos.

    writers: threads that encode and write. batch_size: frames that the detector gets at once at most.
    """

    def __init__(self, detector: Detector, settings: Settings, writers: int, batch_size: int):
        self.detector = detector
        self.settings = settings
        self.writers = writers
        self.batch_size = batch_size
        self.done = Extracted()
        self._disk_error: OSError | None = None
        self._ended: deque[_Video] = deque()  # detected; crops maybe still to be written
        self._room = threading.Semaphore(16 * writers)  # for crops that wait to be written

    def run(self, jobs: Iterable[Job], progress: Callable[[Extracted], None]) -> Extracted:
        """Extract all jobs; `progress` is called after each batch. Raises as `stream`."""

        def note(part: float, frames: int) -> None:
            self.done.part = part
            self.done.frames += frames
            progress(self.done)

        for outcome in self.stream(jobs, note):
            self.done.add(outcome)
            progress(self.done)
        return self.done

    def stream(
        self,
        jobs: Iterable[Job],
        progress: Callable[[float, int], None],
        begun: Callable[[Job, FrameReader], None] = lambda job, reader: None,
    ) -> Iterator[Outcome]:
        """Extract all jobs; what came of each, as soon as all of it is written.

        progress: told after each batch how much of the video being worked on is done, 0..1, and how many
        frames were searched. begun: told of each before it is read, maybe in another thread. A video that
        fails is an outcome, and the rest goes on. Raises OutputError if the disk fails; what is complete by
        then stays.
        """
        limits = limits_for(self.detector.device, self.batch_size, length_hint(jobs))
        limits = replace(limits, clips=CLIPS_AHEAD)

        def clips() -> Iterator[Clip]:
            for job in jobs:
                reader = FrameReader(job.path, self.settings.every, limits.threads)
                yield Clip(reader, _Video(job), begun=partial(begun, job, reader))

        pool = ThreadPoolExecutor(self.writers, thread_name_prefix="writer")
        try:
            with closing(face_stream(clips(), self.detector, limits=limits)) as stream:
                for step in stream:
                    for clip, found in step.faces:
                        self._submit(clip.source, found, pool)
                    for clip in step.ended:
                        clip.source.error = clip.source.error or clip.failure
                        clip.source.warning = clip.warning
                        self._ended.append(clip.source)
                    while self._ended and all(crop.done() for crop in self._ended[0].crops):
                        yield self._finish(self._ended.popleft())
                    under_way = [clip for clip in step.searched if clip not in step.ended]
                    progress(self._part(under_way), len(step.searched))
            while self._ended:
                yield self._finish(self._ended.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _submit(self, video: _Video, found: FoundFace, pool: ThreadPoolExecutor) -> None:
        """Have a crop written, as soon as there is room for one more that waits."""
        if self._begin(video):
            self._room.acquire()
            crop = pool.submit(self._write, video.job, found)
            crop.add_done_callback(lambda _: self._room.release())
            video.crops.append(crop)
        if self._disk_error is not None:
            raise _output_error(self._disk_error)

    def _part(self, searched: list[Clip]) -> float:
        """How far the video is of which a frame was searched last; none = it has ended."""
        announced = getattr(searched[-1].frames, "announced", 0) if searched else 0
        return min(1.0, searched[-1].looked_at * self.settings.every / announced) if announced else 0.0

    def _begin(self, video: _Video) -> bool:
        """Make the folder before its first crop; False if it can't be used."""
        if not video.begun and video.error is None:
            try:
                begin_folder(video.job, self.settings)
                video.begun = True
            except OSError as error:
                video.error = _explain(error)
        return video.begun

    def _write(self, job: Job, found: FoundFace) -> tuple[int, Face] | None:
        """Write one face, in the pool; None after the disk has failed."""
        if self._disk_error is not None:
            return None
        ok, data = cv2.imencode(".png", found.crop, PNG)
        if not ok:
            raise AssertionError("OpenCV can't encode a PNG")
        try:
            write_crop_file(job.folder, found.index, data)
        except OSError as error:
            if error.errno in _DISK_ERRORS:
                self._disk_error = error
            raise
        return found.index, found.face

    def _finish(self, video: _Video) -> Outcome:
        """Write `faces.csv` once all crops of the video are there; what came of it."""
        rows = []
        try:
            if video.error is None and self._begin(video):
                rows = [row for crop in video.crops if (row := crop.result()) is not None]
                finish_folder(video.job, rows)
        except OSError as error:
            video.error = _explain(error)
        if self._disk_error is not None:
            raise _output_error(self._disk_error)
        return Outcome(video.job.path, len(rows), video.error, video.warning)


def _explain(error: OSError) -> str:
    """What went wrong in a video's folder; raises OutputError if the other folders have no better chance."""
    if error.errno in _DISK_ERRORS:
        raise _output_error(error) from None
    return f"can't write {error.filename or 'its crops'} ({error.strerror})"


def _output_error(error: OSError) -> OutputError:
    return OutputError(f"can't write {disk_line(error)}")
