"""The augmentations do what the published recipe says, and the same for the same generator state."""

import albumentations as A
import cv2
import numpy as np
import pytest

from utils.augment import AdditiveNoise, CameraNoise, GaussianBlur, Rescale, Sharpen, augmentation
from utils.preprocess import Preprocess

HALF = (0.5, 0.5, 0.5)
SIZE = Preprocess(299, HALF, HALF)
WINDOW = Preprocess(96, HALF, HALF, (70, 88, 250, 268))


@pytest.fixture(scope="module")
def face(clip) -> np.ndarray:
    """A real picture of the size of an aligned face, RGB."""
    video = cv2.VideoCapture(str(clip))
    frame = video.read()[1]
    video.release()
    return cv2.cvtColor(cv2.resize(frame, (320, 320), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)


def run(transform: A.ImageOnlyTransform, image: np.ndarray, seed: int = 0) -> np.ndarray:
    transform.p = 1
    transform.set_random_seed(seed)
    return transform(image=image)["image"]


@pytest.mark.parametrize("name", ["published", "bundled"])
@pytest.mark.parametrize("preprocess", [SIZE, WINDOW])
def test_same_state_same_image(face, name, preprocess):
    augment = augmentation(name)
    images = [augment(face, preprocess, np.random.default_rng((0, seed))) for seed in (1, 2, 1)]
    assert images[0].shape == (preprocess.size, preprocess.size, 3) and images[0].dtype == np.uint8
    assert np.array_equal(images[0], images[2])
    assert not np.array_equal(images[0], images[1])


def test_the_crop_itself_is_left_alone(face):
    before = face.copy()
    for name in ("published", "bundled"):
        for seed in range(5):
            augmentation(name)(face, SIZE, np.random.default_rng(seed))
    assert np.array_equal(face, before)


def test_published_never_moves_the_face_and_bundled_flips_half():
    """Left half dark, right half bright: which side is brighter shows a flip."""
    sides = np.full((320, 320, 3), 60, np.uint8)
    sides[:, 160:] = 180

    def flipped(name: str, seed: int) -> bool:
        image = augmentation(name)(sides, WINDOW, np.random.default_rng(seed)).mean(axis=(0, 2))
        return image[:40].mean() > image[-40:].mean()

    assert not any(flipped("published", seed) for seed in range(25))
    assert 25 < sum(flipped("bundled", seed) for seed in range(80)) < 55


def test_published_probabilities():
    transforms = augmentation("published").before.transforms
    assert [transform.p for transform in transforms] == [0.1, 0.1, 0.1, 0.1, 0.1, 0.5, 0.3, 0.8, 0.2, 0.1]


def test_noise_of_one_plane_leaves_the_colour_alone():
    grey = np.full((200, 200, 3), 128, np.uint8)
    plane = run(AdditiveNoise((8, 8), per_channel=False), grey).astype(int) - 128
    assert np.array_equal(plane[..., 0], plane[..., 1]) and np.array_equal(plane[..., 0], plane[..., 2])
    assert plane.std() == pytest.approx(8, rel=0.05)


def test_noise_by_variance_is_of_each_channel_its_own():
    grey = np.full((200, 200, 3), 128, np.uint8)
    noise = run(AdditiveNoise((25, 25), of_variance=True), grey).astype(int) - 128
    assert noise.std() == pytest.approx(5, rel=0.05) and abs(noise.mean()) < 0.1
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.05


def test_sharpen_is_the_blend_of_the_formula(face):
    alpha, lightness = 0.3, 0.75
    kernel = np.full((3, 3), -1.0)
    kernel[1, 1] = 8 + lightness
    image = face.astype(np.float64)
    blend = (1 - alpha) * image + alpha * cv2.filter2D(image, -1, kernel)
    sharp = run(Sharpen((alpha, alpha), (lightness, lightness)), face)
    assert np.abs(sharp - blend.clip(0, 255)).max() <= 0.51  # rounding


def test_camera_noise_grows_with_the_texture_and_with_the_intensity(face):
    flat = np.full((120, 120, 3), 128, np.uint8)
    assert np.abs(run(CameraNoise((0.05, 0.05), (0.5, 0.5)), flat).astype(int) - 128).max() <= 1
    change = [
        np.abs(run(CameraNoise((0.01, 0.01), (strength, strength)), face).astype(int) - face).mean()
        for strength in (0.1, 0.3, 0.5)
    ]
    assert 1 < change[0] < change[1] < change[2]


def test_camera_noise_is_poisson_in_lightness():
    """Mean and variance of the brightening are the deviation of the lightness * intensity, in grey levels."""
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[::2] = 100  # lightness 0 and 100: deviation 50
    dark = run(CameraNoise((0, 0), (0.4, 0.4)), stripes)[1::2, :, 0].astype(float)
    assert dark.mean() == pytest.approx(20, abs=1)
    assert dark.var() == pytest.approx(20, rel=0.1)


def test_blur_follows_from_the_kernel_size_alone(face):
    """OpenCV's choice for five pixels is 1 4 6 4 1."""
    blurred = run(GaussianBlur((5, 5)), face)
    weights = np.array([1, 4, 6, 4, 1]) / 16
    expected = cv2.sepFilter2D(face.astype(np.float64), -1, weights, weights)
    assert np.abs(blurred - expected).max() <= 1
    sizes = {GaussianBlur((3, 7)).get_params()["size"] for _ in range(60)}
    assert sizes == {3, 5, 7}


def test_brightness_and_contrast_are_about_zero():
    """Contrast multiplies, so black stays black; brightness adds a share of 255."""
    black, grey = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 100, np.uint8)
    assert run(A.RandomBrightnessContrast((0, 0), (0.2, 0.2)), black).max() == 0
    assert run(A.RandomBrightnessContrast((0, 0), (0.2, 0.2)), grey)[0, 0, 0] == 120
    assert run(A.RandomBrightnessContrast((0.2, 0.2), 0.0), grey)[0, 0, 0] == 151


def test_sepia_rows():
    colour = np.full((4, 4, 3), (50, 100, 150), np.uint8)
    rows = np.array([[0.393, 0.769, 0.189], [0.349, 0.686, 0.168], [0.272, 0.534, 0.131]])
    assert np.abs(run(A.ToSepia(), colour)[0, 0] - rows @ (50, 100, 150)).max() <= 1


def test_rescale_takes_away_detail_and_keeps_the_size(face):
    small = run(Rescale((0.3, 0.3)), face)
    assert small.shape == face.shape
    assert cv2.Laplacian(small, cv2.CV_64F).var() < 0.5 * cv2.Laplacian(face, cv2.CV_64F).var()
    assert run(Rescale((0.3, 0.3)), face[:1, :1]).shape == (1, 1, 3)
