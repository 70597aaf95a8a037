"""Which videos and images there are below a path, of what kind they are, and how large they may be."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from utils.core.errors import MediaError, UserError
from utils.core.names import shown
from utils.core.shortage import is_short

# Files in a folder are chosen by suffix; what they are is then found out by their content.
_VIDEOS = "mp4 m4v mov 3gp 3g2 f4v mkv webm avi mpg mpeg vob ts mts m2ts flv wmv asf ogv mxf"
_IMAGES = "jpg jpeg jfif png apng bmp webp gif tif tiff avif heic heif"
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in _VIDEOS.split())
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _IMAGES.split())
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES

LONGEST_SIDE = 32766  # pixels; the limit of OpenCV's warp
MOST_PIXELS = 64_000_000  # of a frame, so that reading and searching one stays within 2 GiB
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
        folder = shown(error.filename)
        logging.getLogger(__name__).warning("%s: can't list this folder (%s)", folder, error.strerror)

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


def open_media(path: str | os.PathLike) -> BinaryIO:
    """The file, open for reading without a buffer. Raises MediaError if it can't be read or is empty.

    OSError where no more files can be opened, of which the file is innocent.
    """
    try:
        file = open(path, "rb", buffering=0)
        if not os.fstat(file.fileno()).st_size:
            file.close()
            raise MediaError("empty file")
    except OSError as error:
        if is_short(error):
            raise
        raise MediaError(f"{UNREADABLE} ({error.strerror})") from None
    return file


def is_picture(path: str | os.PathLike) -> bool:
    """Whether a file is an image or an animation by its first bytes, by its suffix where they don't tell.

    Raises MediaError if it can't be read.
    """
    with open_media(path) as file:
        try:
            start = file.read(32)
        except OSError as error:
            raise MediaError(f"{UNREADABLE} ({error.strerror})") from None
    by_name = Path(path).suffix.lower() in IMAGE_SUFFIXES
    return _starts_picture(start) or (by_name and not _starts_video(start))


def _starts_picture(start: bytes) -> bool:
    if start[4:8] == b"ftyp":  # the box of mp4, which names its kind
        return start[8:12] in (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
    signs = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
    is_bitmap = start[:2] == b"BM" and start[6:10] == bytes(4)  # two letters alone may be a text's
    return start.startswith(signs) or is_bitmap or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def _starts_video(start: bytes) -> bool:
    """Of the containers that phones and editors write: mp4, mkv, avi, mpg, flv, wmv, ogv."""
    signs = (b"\x1a\x45\xdf\xa3", b"RIFF", b"\0\0\1\xba", b"FLV", b"\x30\x26\xb2\x75", b"OggS")
    return start[4:8] == b"ftyp" or start.startswith(signs)


def check_size(width: int, height: int) -> None:
    """Raises MediaError for a frame of more pixels than can be handled."""
    if max(height, width) > LONGEST_SIDE:
        raise MediaError(f"{width}x{height} pixels; at most {LONGEST_SIDE} a side can be handled")
    if height * width > MOST_PIXELS:
        raise MediaError(f"{width}x{height} pixels; at most {MOST_PIXELS // 10**6} million can be handled")
