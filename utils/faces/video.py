"""Frames of videos and images: which files there are below a folder, and reading them one frame at a time."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

# Read when OpenCV first opens a video: what FFmpeg says of a damaged file is no help to a user.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")

import cv2  # noqa: E402
import numpy as np  # noqa: E402

from utils.core.errors import MediaError, UserError  # noqa: E402

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v"})
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES

# These containers store how many frames they hold; the others have it estimated from length and frame rate.
_COUNTED_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi"})
LONGEST_SIDE = 32766  # pixels; the limit of OpenCV's warp
MOST_PIXELS = 64_000_000  # of a frame; detecting in one takes about 40 times as many bytes
UNREADABLE = "can't be read"  # begins the reason where not the file is at fault but what it lies on
# A folder of crops says whose they are in this file, so that they are not taken for new images.
SOURCE_FILE = ".source.json"
CROP_NAME = re.compile(r"[0-9]{3,9}\.png")


def find_media(path: str | os.PathLike, skip_crops: bool = False) -> tuple[list[Path], int]:
    """The videos and images at `path`, sorted, and the number of other files that were left out.

    A folder is searched recursively, links to folders included; suffixes in any case; hidden files and
    folders don't count. With skip_crops, crops that make_dataset.py wrote are left out, uncounted.
    A folder that can't be listed is named in a log message. Raises UserError if `path` isn't there or is a
    file of another kind.
    """
    path = Path(path)
    if os.path.isfile(path):
        if path.suffix.lower() not in MEDIA_SUFFIXES:
            known = " ".join(sorted(suffix[1:] for suffix in MEDIA_SUFFIXES))
            raise UserError(f"{path}: not a video or an image by its suffix; known are {known}")
        return [path], 0
    if not os.path.isdir(path):
        raise UserError(f"{path}: no such file or folder")
    found, left_out = [], 0
    for file in _files_below(path, skip_crops):
        # is_file: a pipe or a dead link called .mp4 would block or fail
        if os.path.splitext(file)[1].lower() in MEDIA_SUFFIXES and os.path.isfile(file):
            found.append(Path(file))
        else:
            left_out += 1
    return sorted(found), left_out


def _files_below(root: Path, skip_crops: bool) -> Iterator[str]:
    """Paths of all files that aren't hidden; each folder once, even if links lead to it in a circle."""
    seen = set()

    def say(error: OSError) -> None:
        logging.getLogger(__name__).warning("%s: can't list this folder (%s)", error.filename, error.strerror)

    for folder, folders, names in os.walk(root, onerror=say, followlinks=True):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = [name for name in folders if not name.startswith(".")]
        own = skip_crops and SOURCE_FILE in names
        for name in names:
            if not name.startswith(".") and not (own and CROP_NAME.fullmatch(name)):
                yield os.path.join(folder, name)


class FrameReader:
    """The frames every-1, 2*every-1, ... of a video; iterate for (index, (H, W, 3) uint8 BGR frame).

    Streams: one frame is held at a time, and frames in between are decoded but not converted. A video
    shorter than `every` gives its last readable frame. An image is a video of one frame, always given as
    frame 0; grey, 16-bit and transparent images become 8-bit BGR. Rotation that the file asks for is done.

    Iterating raises MediaError, whose text is the reason, for what isn't a video or has no frame, and
    cv2.error where OpenCV has no memory for one (FFmpeg's own lack looks like the end of the video). While
    iterating, `announced` is the number of frames that the file claims (0 = unknown); afterwards `decoded`
    is how many could be decoded, and `warning` says so if many are missing.
    """

    def __init__(self, path: str | os.PathLike, every: int = 1):
        if every < 1:
            raise ValueError(f"every must be at least 1, not {every}")
        self.path = Path(path)
        self.every = every
        self.announced = 0
        self.decoded = 0
        self.warning: str | None = None

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        self.announced, self.decoded, self.warning = 0, 0, None
        if self.path.suffix.lower() in IMAGE_SUFFIXES:
            frame = read_image(self.path)
            self.announced = self.decoded = 1
            yield 0, frame
            return
        given = 0
        for index, frame in self._frames(self.every):
            given += 1
            yield index, frame
        if not given and self.decoded:
            for index, frame in self._frames(self.decoded):
                given += 1
                yield index, frame
        if not given:
            raise MediaError("no frame of it can be decoded")
        self.warning = self._judge_length()

    def _frames(self, every: int) -> Iterator[tuple[int, np.ndarray]]:
        capture = self._open()
        try:
            self.announced = max(int(capture.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
            self.decoded = 0
            while capture.grab():
                self.decoded += 1
                if self.decoded % every == 0:
                    ok, frame = capture.retrieve()
                    if ok:
                        _check_size(frame)
                        yield self.decoded - 1, frame
        except cv2.error as error:
            if error.code == cv2.Error.StsNoMem:  # not the video's fault
                raise
            reason = f"the decoder gave up after {self.decoded} frames ({_one_line(error)})"
            raise MediaError(reason) from None
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        # An absolute path, because FFmpeg would take `a:b.mp4` for a protocol.
        name = os.path.abspath(self.path)
        try:
            size = os.path.getsize(name)
            name.encode()  # OpenCV 5.0 crashes on a name that isn't UTF-8
            with open(name, "rb"):
                pass
        except OSError as error:
            raise MediaError(f"{UNREADABLE} ({error.strerror})") from None
        except UnicodeEncodeError:
            raise MediaError("its name isn't UTF-8; rename it") from None
        if not size:
            raise MediaError("empty file")
        capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise MediaError("can't be opened as a video: damaged, cut short or something else by content")
        return capture

    def _judge_length(self) -> str | None:
        missing = self.announced - self.decoded
        if self.path.suffix.lower() in _COUNTED_SUFFIXES:
            # a few frames may be announced and not shown (edit lists), which is no damage
            if missing > max(3, self.announced // 50):
                return f"truncated or damaged: {self.decoded} of {self.announced} frames could be decoded"
        elif missing > self.announced // 5:
            return f"{self.decoded} of about {self.announced} frames could be decoded: maybe truncated"
        return None


def read_image(path: Path) -> np.ndarray:
    """The image as (H, W, 3) uint8 BGR, turned as its EXIF says; raises MediaError with the reason."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise MediaError(f"{UNREADABLE} ({error.strerror})") from None
    if not data.size:
        raise MediaError("empty file")
    try:
        image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise MediaError(f"can't be decoded ({_one_line(error)})") from None
    if image is None:
        raise MediaError("can't be decoded as an image: damaged, cut short or something else by content")
    _check_size(image)
    return image


def _check_size(frame: np.ndarray) -> None:
    height, width = frame.shape[:2]
    if max(height, width) > LONGEST_SIDE:
        raise MediaError(f"{width}x{height} pixels; at most {LONGEST_SIDE} a side can be handled")
    if height * width > MOST_PIXELS:
        raise MediaError(f"{width}x{height} pixels; at most {MOST_PIXELS // 10**6} million can be handled")


def _one_line(error: cv2.error) -> str:
    return " ".join((error.err or str(error)).split())[:120]
