"""Which videos and images there are below a path, of what kind they are, and how large they may be."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from utils.core.errors import MediaError, UserError
from utils.core.names import shown
from utils.core.shortage import is_short

# Files in a folder are chosen by suffix, or else by their first bytes; what they are is then found out by
# their content.
_VIDEOS = (
    "mp4 m4v mov qt 3gp 3g2 f4v mkv webm avi divx mpg mpeg mpe m2v vob ts mts m2ts m2t flv wmv asf ogv mxf "
    "rm rmvb dv y4m ivf h264 h265 hevc mjpeg mjpg"
)
_IMAGES = "jpg jpeg jpe jfif png apng bmp dib webp gif tif tiff avif heic heif"
VIDEO_SUFFIXES = frozenset(f".{suffix}" for suffix in _VIDEOS.split())
IMAGE_SUFFIXES = frozenset(f".{suffix}" for suffix in _IMAGES.split())
MEDIA_SUFFIXES = VIDEO_SUFFIXES | IMAGE_SUFFIXES

JPEG_STREAMS = frozenset({".mjpeg", ".mjpg"})

LONGEST_SIDE = 32766  # pixels; the limit of OpenCV's warp
MOST_PIXELS = 64_000_000  # of a frame, so that reading and searching one stays within 2 GiB
UNREADABLE = "can't be read"  # begins the reason where not the file is at fault but what it lies on
# A folder of crops says whose they are in this file, so that they are not taken for new images.
SOURCE_FILE = ".source.json"
CROP_NAME = re.compile(r"[0-9]{3,9}\.png")


def find_media(path: str | os.PathLike, skip_crops: bool = False) -> tuple[list[Path], list[Path]]:
    """The videos and images at `path`, and the other files, which are left out; both sorted.

    A folder is searched recursively, links to folders included; suffixes in any case, of files with other
    suffixes those that begin as videos or images do; hidden files and folders don't count. With skip_crops,
    crops that make_dataset.py wrote are in neither list. A folder that can't be listed is named in a log
    message. Raises UserError if `path` isn't there or is a file of another kind.
    """
    path = Path(path)
    if os.path.isfile(path):
        if not _is_media(path):
            raise UserError(f"{path}: neither a video nor an image, by its suffix or its first bytes")
        return [path], []
    if not os.path.isdir(path):
        raise UserError(f"{path}: no such file or folder")
    found, left_out = [], []
    for file in _files_below(path, skip_crops):
        # is_file: a pipe or a dead link called .mp4 would block or fail
        (found if os.path.isfile(file) and _is_media(file) else left_out).append(Path(file))
    return sorted(found), sorted(left_out)


def _is_media(file: str | os.PathLike) -> bool:
    """Whether a file is to be looked at, by its suffix, or else by its first bytes."""
    if os.path.splitext(file)[1].lower() in MEDIA_SUFFIXES:
        return True
    try:
        with open(file, "rb", buffering=0) as opened:
            start = opened.read(400)
    except OSError as error:
        if is_short(error):
            raise
        return False
    return _starts_picture(start) or _starts_video(start)


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


@contextmanager
def reading() -> Iterator[None]:
    """Makes a MediaError of an OSError, but not where the machine is short of memory or file handles."""
    try:
        yield
    except OSError as error:
        if is_short(error):
            raise
        raise MediaError(f"{UNREADABLE} ({error.strerror})") from None


def open_media(path: str | os.PathLike) -> BinaryIO:
    """The file, open for reading without a buffer. Raises MediaError if it can't be read or is empty.

    OSError where no more files can be opened, of which the file is innocent.
    """
    with reading():
        file = open(path, "rb", buffering=0)
        if not os.fstat(file.fileno()).st_size:
            file.close()
            raise MediaError("empty file")
    return file


def is_picture(path: str | os.PathLike) -> bool:
    """Whether a file is an image or an animation by its first bytes, by its suffix where they don't tell.

    Raises MediaError if it can't be read.
    """
    with open_media(path) as file, reading():
        start = file.read(400)
    suffix = Path(path).suffix.lower()
    if suffix in JPEG_STREAMS:  # which begin as one picture does
        return False
    by_name = suffix in IMAGE_SUFFIXES
    return _starts_picture(start) or (by_name and not _starts_video(start))


def _starts_picture(start: bytes) -> bool:
    if start[4:8] == b"ftyp":  # the box of mp4, which names its kind
        return start[8:12] in (b"avif", b"avis", b"heic", b"heix", b"heim", b"heis", b"mif1", b"msf1")
    signs = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
    is_bitmap = start[:2] == b"BM" and start[6:10] == bytes(4)  # two letters alone may be a text's
    return start.startswith(signs) or is_bitmap or (start[:4] == b"RIFF" and start[8:12] == b"WEBP")


def _starts_video(start: bytes) -> bool:
    """Of the containers that phones, cameras and editors write; those of sound alone aren't meant."""
    signs = (
        b"\x1a\x45\xdf\xa3", b"\0\0\1\xba", b"\0\0\1\xb3", b"FLV\1", b"\x30\x26\xb2\x75", b".RMF",
        b"\x06\x0e\x2b\x34", b"DKIF", b"YUV4MPEG2", b"\x1f\x07\0",
    )  # fmt: skip
    if start[4:8] == b"ftyp":
        return start[8:11] not in (b"M4A", b"M4B", b"M4P")
    if start[4:8] in (b"moov", b"mdat", b"wide"):  # QuickTime of old
        return True
    if start[:4] == b"RIFF":
        return start[8:12] == b"AVI "
    if start[:4] == b"OggS":
        return any(name in start for name in (b"theora", b"OVP80", b"BBCD", b"fishead"))
    # packets of a transport stream, and of one with times before them
    synced = start[0:377:188] == b"GGG" or start[4:389:192] == b"GGG"
    return synced or start.startswith(signs)


def check_size(width: int, height: int) -> None:
    """Raises MediaError for a frame of more pixels than can be handled."""
    if max(height, width) > LONGEST_SIDE:
        raise MediaError(f"{width}x{height} pixels; at most {LONGEST_SIDE} a side can be handled")
    if height * width > MOST_PIXELS:
        raise MediaError(f"{width}x{height} pixels; at most {MOST_PIXELS // 10**6} million can be handled")
