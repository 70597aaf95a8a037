"""Still images and animations as BGR frames; their sizes are read before anything is decoded."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Iterator

import cv2
import numpy as np
from PIL import Image, ImageOps

from utils.core.errors import MediaError
from utils.faces.media import MOST_PIXELS, UNREADABLE, check_size, open_media

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# `check_size` is stricter than Pillow's own limit.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "AVIF")
# In these several pictures are shown one after the other, or are pages. (A phone's JPEG may hold a second
# picture too, of depth or of the same scene.)
MULTIPLE = frozenset({"PNG", "WEBP", "GIF", "AVIF", "TIFF"})
BY_PILLOW = frozenset({"GIF", "AVIF"})  # OpenCV, which decodes the others, doesn't turn them
NOT_AN_IMAGE = "can't be decoded as an image: damaged, cut short or something else by content"
# What Pillow's readers raise for damaged data, of which they promise no kind.
DAMAGED = (
    OSError, ValueError, LookupError, TypeError, SyntaxError, EOFError, ArithmeticError, AttributeError,
    RuntimeError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
HEIC = "HEIC pictures can't be decoded here: convert it to JPEG or PNG"


def read_image(path: str | os.PathLike) -> np.ndarray:
    """The image as (H, W, 3) uint8 BGR, turned as its EXIF says; of an animation, the first picture.

    Raises MediaError with the reason.
    """
    data = _read(path)
    with _header(data) as image:
        if image.format in BY_PILLOW or (image.format in MULTIPLE and _count(image) > 1):
            return _picture(image, 0)
    return _decode_still(data)


def read_pictures(path: str | os.PathLike) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds from the start, (H, W, 3) uint8 BGR) of all pictures of an image, an animation or pages.

    Raises MediaError with the reason, also after some pictures.
    """
    data = _read(path)
    with _header(data) as image:
        count = _count(image)
        if count == 1:
            yield 0.0, _picture(image, 0) if image.format in BY_PILLOW else _decode_still(data)
            return
        seconds = 0.0
        for number in range(count):
            picture = _picture(image, number)
            yield seconds, picture
            seconds += float(image.info.get("duration") or 0) / 1000


def count_pictures(path: str | os.PathLike) -> int:
    """How many pictures an image or animation holds, read from its headers. Raises MediaError."""
    with _header(_read(path)) as image:
        return _count(image)


def _read(path: str | os.PathLike) -> bytes:
    with open_media(path) as file:
        try:
            return file.read()
        except OSError as error:
            raise MediaError(f"{UNREADABLE} ({error.strerror})") from None


def _header(data: bytes) -> Image.Image:
    """The image, not decoded yet, of a size that can be handled."""
    if data[4:8] == b"ftyp" and b"avif" not in data[8:64] and b"avis" not in data[8:64]:
        raise MediaError(HEIC)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError:
        raise MediaError(f"too many pixels; at most {MOST_PIXELS // 10**6} million can be handled") from None
    except DAMAGED:
        raise MediaError(NOT_AN_IMAGE) from None
    try:
        check_size(*image.size)
    except MediaError:
        image.close()
        raise
    return image


def _count(image: Image.Image) -> int:
    if image.format not in MULTIPLE:
        return 1
    try:
        return max(getattr(image, "n_frames", 1), 1)
    except DAMAGED:  # the list of pages
        return 1


def _picture(image: Image.Image, number: int) -> np.ndarray:
    """One picture of an animation or a page, turned as its EXIF says, (H, W, 3) uint8 BGR."""
    try:
        image.seek(number)
        check_size(*image.size)  # pages differ
        turned = ImageOps.exif_transpose(image)
        if turned.mode.startswith("I;16"):
            turned = Image.fromarray((np.asarray(turned) >> 8).astype(np.uint8))
        return np.ascontiguousarray(np.asarray(turned.convert("RGB"))[:, :, ::-1])
    except MediaError:
        raise
    except DAMAGED as error:
        if number == 0:
            raise MediaError(NOT_AN_IMAGE) from None
        raise MediaError(f"damaged from picture {number} on ({type(error).__name__})") from None


def _decode_still(data: bytes) -> np.ndarray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:  # not the image's fault
            raise
        raise MediaError(f"can't be decoded ({' '.join((error.err or str(error)).split())[:120]})") from None
    if image is None:
        raise MediaError(NOT_AN_IMAGE)
    check_size(image.shape[1], image.shape[0])
    return image
