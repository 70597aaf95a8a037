"""Still images and animations as BGR frames; their sizes are read before anything is decoded.

Pillow decodes JPEG, PNG, BMP and WebP to the same bits as OpenCV does, and prints nothing of damaged ones.
"""

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
from utils.core.shortage import is_short
from utils.faces.media import MOST_PIXELS, check_size, open_media, reading
from utils.faces.pngs import is_damaged, slim

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# What Pillow says of damaged data is no help to a user, and `check_size` is stricter than its own limit.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

MOST_BYTES = 512 << 20  # of a file: as many as 64 million pixels of 8 bytes have
MOST_PICTURES, MOST_ANIMATED = 10_000, 10_000_000_000  # of an animation or of pages, and pixels of them all
FORMATS = ("JPEG", "PNG", "BMP", "DIB", "WEBP", "TIFF", "GIF", "AVIF")
# In these several pictures are shown one after the other, or are pages. (A phone's JPEG may hold a second
# picture too, of depth or of the same scene.)
MULTIPLE = frozenset({"PNG", "WEBP", "GIF", "AVIF", "TIFF"})
ROWS = 512  # of a picture that are converted at once
ORIENTATION = 0x0112  # in EXIF: how it is to be turned, 1 = not at all
PAUSE = 100  # milliseconds, of pictures and pages that don't say how long they are shown, as in a browser
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
        if image.format == "TIFF":
            return _decode_tiff(data)
        return _picture(image, 0)


def read_pictures(path: str | os.PathLike) -> Iterator[tuple[float, np.ndarray]]:
    """(seconds from the start, (H, W, 3) uint8 BGR) of all pictures of an image, an animation or pages.

    Raises MediaError with the reason, also after some pictures.
    """
    data = _read(path)
    with _header(data) as image:
        seconds, count, pixels = 0.0, _count(image), 0
        for number in range(count):
            one = image.format == "TIFF" and count == 1
            picture = _decode_tiff(data) if one else _picture(image, number)
            pixels += picture.size // 3
            _check_total(number + 1, pixels)  # pages differ in size
            yield seconds, picture
            seconds += float(image.info.get("duration") or PAUSE) / 1000


def count_pictures(path: str | os.PathLike) -> int:
    """How many pictures an image or animation holds, read from its headers. Raises MediaError."""
    with _header(_read(path)) as image:
        return _count(image)


def _read(path: str | os.PathLike) -> bytes:
    with open_media(path) as file, reading():
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise MediaError(f"larger than {MOST_BYTES >> 20} MiB, which no picture that can be handled is")
        return file.read()


def _header(data: bytes) -> Image.Image:
    """The image, not decoded yet, of a size that can be handled."""
    if data[4:8] == b"ftyp" and b"avif" not in data[8:64] and b"avis" not in data[8:64]:
        raise MediaError(HEIC)
    try:
        image = Image.open(io.BytesIO(slim(data)), formats=FORMATS)
    except Image.DecompressionBombError:
        raise MediaError(f"too many pixels; at most {MOST_PIXELS // 10**6} million can be handled") from None
    except DAMAGED as error:
        if is_short(error):
            raise
        raise MediaError(NOT_AN_IMAGE) from None
    try:
        check_size(*image.size)
        if image.format == "PNG" and is_damaged(data):
            raise MediaError(NOT_AN_IMAGE)
    except MediaError:
        image.close()
        raise
    return image


def _decode_tiff(data: bytes) -> np.ndarray:
    """The first page, of 16 bits, too; quietly, which Pillow isn't of damaged ones."""
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:  # not the image's fault
            raise
        image = None
    if image is None:
        raise MediaError(NOT_AN_IMAGE)
    check_size(image.shape[1], image.shape[0])
    return image


def _count(image: Image.Image) -> int:
    if image.format not in MULTIPLE:
        return 1
    try:
        count = max(getattr(image, "n_frames", 1), 1)
    except DAMAGED as error:  # the list of pages
        if is_short(error):
            raise
        return 1
    _check_total(count, count * image.width * image.height)
    return count


def _check_total(count: int, pixels: int) -> None:
    """Raises MediaError for more pictures in a file than can be handled, or more pixels of all of them."""
    if count > MOST_PICTURES:
        raise MediaError(f"{count} pictures; at most {MOST_PICTURES} of a file can be handled")
    if pixels > MOST_ANIMATED:
        said = f"{count} pictures of {pixels // 10**6} million pixels together"
        raise MediaError(f"{said}; at most {MOST_ANIMATED // 10**6} million can be handled")


def _as_bgr(image: Image.Image) -> np.ndarray:
    """(H, W, 3) uint8 BGR of any kind of picture; some rows at a time, so that it isn't held five times."""
    image.load()
    bgr = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, ROWS):
        rows = image.crop((0, top, image.width, min(top + ROWS, image.height)))
        if rows.mode.startswith("I;16"):
            rows = Image.fromarray((np.asarray(rows) >> 8).astype(np.uint8))
        bgr[top : top + ROWS] = np.asarray(rows.convert("RGB"))[:, :, ::-1]
    return bgr


def _picture(image: Image.Image, number: int) -> np.ndarray:
    """One picture of an animation or a page, turned as its EXIF says, (H, W, 3) uint8 BGR."""
    try:
        if number:
            image.seek(number)
        check_size(*image.size)  # pages differ
        is_turned = image.getexif().get(ORIENTATION, 1) != 1
        return _as_bgr(ImageOps.exif_transpose(image) if is_turned else image)
    except MediaError:
        raise
    except DAMAGED as error:
        if is_short(error):
            raise
        if number == 0:
            raise MediaError(NOT_AN_IMAGE) from None
        raise MediaError(f"damaged from picture {number} on ({type(error).__name__})") from None
