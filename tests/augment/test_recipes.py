"""The augmentations do what the published recipe says, and the same for the same generator state."""

import albumentations as A
import cv2
import numpy as np
import pytest

from utils.augment.recipes import augmentation
from utils.augment.transforms import (
    AdditiveNoise,
    CameraNoise,
    Emboss,
    GaussianBlur,
    MotionBlur,
    Sharpen,
)
from utils.training.config import AUGMENTATIONS
from utils.weights.preprocess import Preprocess

HALF = (0.5, 0.5, 0.5)
SIZE = Preprocess(299, HALF, HALF)
WINDOW = Preprocess(96, HALF, HALF, (70, 88, 250, 268))


def run(transform: A.ImageOnlyTransform, image: np.ndarray, seed: int = 0) -> np.ndarray:
    transform.p = 1
    transform.set_random_seed(seed)
    return transform(image=image)["image"]


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("preprocess", [SIZE, WINDOW])
def test_same_state_same_image(face, name, preprocess):
    augment = augmentation(name)
    seeds = [*range(16), 15]
    images = [augment(face, preprocess, np.random.default_rng((0, seed))) for seed in seeds]
    assert images[0].shape == (preprocess.size, preprocess.size, 3) and images[0].dtype == np.uint8
    assert np.array_equal(images[16], images[15])
    assert len({image.tobytes() for image in images}) >= 4  # "published-wsdan" leaves half of them alone


def test_the_crop_itself_is_left_alone(face):
    before = face.copy()
    for name in AUGMENTATIONS:
        for seed in range(5):
            augmentation(name)(face, SIZE, np.random.default_rng(seed))
    assert np.array_equal(face, before)


def test_published_never_moves_the_face_and_alike_flips_half():
    """Left half dark, right half bright: which side is brighter shows a flip."""
    sides = np.full((320, 320, 3), 60, np.uint8)
    sides[:, 160:] = 180

    def flipped(name: str, seed: int) -> bool:
        image = augmentation(name)(sides, WINDOW, np.random.default_rng(seed)).mean(axis=(0, 2))
        return image[:40].mean() > image[-40:].mean()

    assert not any(flipped("published", seed) for seed in range(25))
    assert 25 < sum(flipped("alike", seed) for seed in range(80)) < 55


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


def plain_share(name: str, count: int = 400) -> tuple[float, float]:
    """Shares of images that come out as they went in, and of those that come out flipped and otherwise so."""
    augment, size = augmentation(name), Preprocess(16, HALF, HALF)
    image = np.random.default_rng(0).integers(60, 180, (320, 320, 3)).astype(np.uint8)
    plain = size.resize(image)
    outcomes = [augment(image, size, np.random.default_rng(seed)) for seed in range(count)]
    same = sum(np.array_equal(outcome, plain) for outcome in outcomes)
    flipped = sum(np.array_equal(outcome, plain[:, ::-1]) for outcome in outcomes)
    return same / count, flipped / count


def test_published_wsdan_leaves_half_of_the_images_alone_and_flips_a_quarter():
    """Without a flip nor anything else: 0.5 + 0.5 * 0.5 * 0.8^3 * 0.4 * 0.9 = 0.546; flipped alone: 0.046."""
    same, flipped = plain_share("published-wsdan", 600)
    assert same == pytest.approx(0.546, abs=0.06)
    assert flipped == pytest.approx(0.046, abs=0.03)


def test_published_wsdan_probabilities_and_weights():
    whole = augmentation("published-wsdan").after
    assert whole.p == 0.5
    assert [transform.p for transform in whole.transforms] == [0.5, 0.2, 0.2, 0.2, 0.6, 0.1]
    noise, blur, light = (whole.transforms[place] for place in (1, 2, 4))
    assert noise.transforms_ps == pytest.approx([0.5, 0.5])
    assert blur.transforms_ps == pytest.approx([0.25, 0.5, 0.25])
    assert light.transforms_ps == pytest.approx([0.25] * 4)
    plane, channels = noise.transforms
    assert plane.spread == pytest.approx((2.55, 12.75)) and not plane.of_variance and not plane.per_channel
    assert channels.spread == (10, 50) and channels.of_variance and channels.per_channel
    assert (light.transforms[1].alpha, light.transforms[1].lightness) == ((0.2, 0.5), (0.5, 1.0))
    assert (light.transforms[2].alpha, light.transforms[2].strength) == ((0.2, 0.5), (0.2, 0.7))


def test_emboss_is_the_blend_of_the_formula(face):
    alpha, s = 0.4, 0.6
    kernel = np.array([[-1 - s, -s, 0], [-s, 1, s], [0, s, 1 + s]])
    image = face.astype(np.float64)
    blend = (1 - alpha) * image + alpha * cv2.filter2D(image, -1, kernel)
    embossed = run(Emboss((alpha, alpha), (s, s)), face)
    assert np.abs(embossed - blend.clip(0, 255)).max() <= 0.51  # rounding


def test_motion_blur_is_the_mean_over_a_line():
    blur, sizes = MotionBlur((3, 7)), set()
    for _ in range(200):
        kernel = blur.get_params()["kernel"]
        sizes.add(kernel.shape)
        used = kernel[kernel > 0]
        assert used.sum() == pytest.approx(1, abs=1e-6) and np.ptp(used) == 0
        # a line between two different cells, drawn without gaps
        rows, columns = np.nonzero(kernel)
        assert 2 <= len(used) == max(np.ptp(rows), np.ptp(columns)) + 1
    assert sizes == {(3, 3), (5, 5), (7, 7)}
    dot = np.zeros((15, 15, 3), np.uint8)
    dot[7, 7] = 210
    assert run(blur, dot)[..., 0].sum() == pytest.approx(210, abs=7)  # rounding of up to seven pixels


def test_blur_is_a_mean_of_nine(face):
    assert np.array_equal(run(A.Blur((3, 3)), face), cv2.blur(face, (3, 3)))


def test_hue_saturation_value_adds_to_each_and_hue_goes_round():
    """Of OpenCV's 8-bit HSV: hue in 0..179, the others clipped to 0..255."""
    image = np.random.default_rng(1).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    shifted = run(A.HueSaturationValue((20, 20), (30, 30), (-20, -20)), image)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(int) + (20, 30, -20)
    hsv[..., 0] %= 180
    expected = cv2.cvtColor(hsv.clip(0, 255).astype(np.uint8), cv2.COLOR_HSV2RGB)
    assert np.abs(shifted.astype(int) - expected).max() <= 1


def test_hue_saturation_value_is_drawn_within_the_published_limits():
    transform = A.HueSaturationValue(20, 30, 20, p=0.2)
    limits = (transform.hue_shift_limit, transform.sat_shift_limit, transform.val_shift_limit)
    assert limits == ((-20, 20), (-30, 30), (-20, 20))


def test_flip_is_a_mirror(face):
    assert np.array_equal(run(A.HorizontalFlip(), face), face[:, ::-1])


def test_channel_shuffle_changes_the_order_alone():
    colour = np.full((4, 4, 3), (50, 100, 150), np.uint8)
    orders = {tuple(run(A.ChannelShuffle(), colour, seed)[0, 0]) for seed in range(40)}
    assert all(sorted(order) == [50, 100, 150] for order in orders) and len(orders) > 3


def test_published_xception_parameters():
    """The published ranges, of those transforms that the other recipe doesn't share."""
    kinds = augmentation("published").before.transforms
    camera, light, both = kinds[6], kinds[7], kinds[8]
    assert (camera.color_shift, camera.intensity) == ((0.01, 0.05), (0.1, 0.5))
    assert (light.brightness_limit, light.contrast_limit) == ((-0.2, 0.2), (0.0, 0.0))
    assert (both.brightness_limit, both.contrast_limit) == ((-0.2, 0.2), (-0.2, 0.2))
    channels, plane, sharpen, blur = kinds[1], kinds[4], kinds[5], kinds[2]
    assert channels.spread == (10, 50) and channels.of_variance and channels.per_channel
    assert plane.spread == pytest.approx((2.55, 12.75)) and not plane.of_variance and not plane.per_channel
    assert (sharpen.alpha, sharpen.lightness) == ((0.2, 0.5), (0.5, 1.0))
    assert blur.kernel == (3, 7)
