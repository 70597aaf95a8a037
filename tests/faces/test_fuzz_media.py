"""Damaged videos and pictures: frames, a reason or a warning; no traceback, no hang, no quiet half."""

import numpy as np
import pytest
from clips import picture, write_clip
from fuzz import FEW_AND_MANY, fuzz
from PIL import Image

from utils.core.errors import MediaError
from utils.faces.frames import SpreadFrames
from utils.faces.video import FrameReader, read_image

CODECS = {".mp4": "libx264", ".mov": "libx264", ".webm": "libvpx", ".mkv": "libx264"}


def as_written(folder, suffix):
    if suffix in CODECS:
        return write_clip(folder / f"whole{suffix}", 8, CODECS[suffix])
    Image.fromarray(picture(3)[:, :, ::-1]).save(folder / f"whole{suffix}")
    return folder / f"whole{suffix}"


@pytest.mark.parametrize("times", FEW_AND_MANY)
@pytest.mark.parametrize("suffix", CODECS)
def test_videos(tmp_path, clip, suffix, times):
    path = as_written(tmp_path, suffix)
    whole = [frame for _, frame in FrameReader(path, threads=1)]

    def check(file, data):
        reader = FrameReader(file, threads=1)
        try:
            frames = [frame for _, frame in reader]
        except MediaError as error:
            assert str(error) and "\n" not in str(error)
            return
        assert frames and all(frame.dtype == np.uint8 and frame.ndim == 3 for frame in frames)
        is_cut = path.read_bytes().startswith(data)
        if is_cut and len(frames) < len(whole):
            assert reader.warning
        try:
            assert len(list(SpreadFrames(FrameReader(file, threads=1), 3))) <= 200
        except MediaError:
            pass

    fuzz(path, clip.read_bytes(), times, check)


@pytest.mark.parametrize("times", FEW_AND_MANY)
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_pictures(tmp_path, clip, suffix, times):
    """A PNG has sums of its parts: what is shown of one is the picture that was meant."""
    path = as_written(tmp_path, suffix)
    whole = read_image(path)

    def check(file, data):
        try:
            image = read_image(file)
        except MediaError as error:
            assert str(error) and "\n" not in str(error)
            return
        assert image.dtype == np.uint8 and image.ndim == 3
        assert suffix == ".jpg" or np.array_equal(image, whole)

    fuzz(path, clip.read_bytes(), times, check)
