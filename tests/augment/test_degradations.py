"""What damages training pictures: each does what it says, and leaves the rest alone."""

import cv2
import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio as psnr

from utils.augment.codecs import h264_like, jpeg
from utils.augment.degradations import (
    ChromaNoise,
    ColourCast,
    ContinuePicture,
    CutEdge,
    Exposure,
    Occlusion,
    Recompression,
)
from utils.augment.recipes import augmentation
from utils.faces.align import continued, extent_hull, extent_mask
from utils.weights.preprocess import Preprocess

TRANSFORMS = (
    ChromaNoise(), ColourCast(), ContinuePicture(), CutEdge(), Exposure(), Occlusion(),
    Recompression(quality=(25, 95), qp=(22, 40)),
)  # fmt: skip


@pytest.fixture(scope="module")
def tilted(face) -> np.ndarray:
    """The picture at 60% and tilted by 12 degrees in a black square, as an aligned tight crop is."""
    return cv2.warpAffine(face, cv2.getRotationMatrix2D((160, 165), 12, 0.6), (320, 320))


def run(transform, image: np.ndarray, seed: int = 0) -> np.ndarray:
    transform.p = 1
    transform.set_random_seed(seed)
    return transform(image=image)["image"]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda transform: type(transform).__name__)
@pytest.mark.parametrize("shape", [(320, 320), (224, 224), (97, 61)])
def test_same_seed_same_picture_and_the_input_is_left_alone(face, transform, shape):
    image = np.ascontiguousarray(face[: shape[0], : shape[1]])
    before = image.copy()
    first, again, other = (run(transform, image, seed) for seed in (3, 3, 4))
    assert first.shape == image.shape and first.dtype == np.uint8
    assert np.array_equal(first, again) and np.array_equal(image, before)
    if not isinstance(transform, ContinuePicture):  # a whole picture needs no filling
        assert not np.array_equal(first, other)


def test_the_extent_is_the_tilted_picture(tilted):
    mask = extent_mask(tilted)
    assert np.count_nonzero(mask) / mask.size == pytest.approx(0.6**2, rel=0.02)
    assert not tilted[mask == 0].any()
    assert len(extent_hull(np.zeros((9, 9, 3), np.uint8)) or ()) == 0
    spots = tilted.copy()
    spots[150:170, 150:170] = 0  # a black spot inside is no edge
    assert np.array_equal(extent_mask(spots), mask)


@pytest.mark.parametrize("border", [cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE])
def test_a_continued_picture_has_no_black_and_keeps_its_own_pixels(tilted, face, border):
    whole = continued(tilted, border)
    core = cv2.erode(extent_mask(tilted), np.ones((5, 5), np.uint8)) > 0
    assert np.array_equal(whole[core], tilted[core])
    black = (tilted.max(axis=2) == 0).mean()
    assert black > 0.6 and (whole.max(axis=2) < 3).mean() < 0.02
    assert continued(face) is face  # nothing to do
    assert not continued(np.zeros_like(face)).any()


def test_a_mirrored_continuation_is_the_picture_mirrored_at_its_edge(face):
    half = face.copy()
    half[:, 200:] = 0
    whole = continued(half, cv2.BORDER_REFLECT_101, rim=0)
    mirrored = half[:, 200 - 100 : 199][:, ::-1]
    assert np.abs(whole[:, 200 : 200 + 99].astype(int) - mirrored).mean() < 2


def test_a_cut_is_a_half_plane_no_deeper_than_asked(face):
    grey = np.full((200, 200, 3), 128, np.uint8)
    shares = []
    for seed in range(60):
        cut = run(CutEdge((0.1, 0.1)), grey, seed)
        gone = (cut != 128).any(axis=2)
        shares.append(gone.mean())
        if gone.any():  # half planes: what is gone is convex, and so is what is left
            for part in (gone, ~gone):
                hull = cv2.convexHull(np.argwhere(part)[:, ::-1].astype(np.int32))
                filled = np.zeros(part.shape, np.uint8)
                cv2.fillConvexPoly(filled, hull, 1)
                assert np.count_nonzero(filled) - np.count_nonzero(part) < 250
    assert 0.3 < np.mean(np.array(shares) > 0) < 0.9  # a mirrored grey is grey
    assert max(shares) < 0.12 and min(share for share in shares if share) > 0.004


def test_a_mirrored_cut_joins_without_a_step():
    ramp = np.repeat(np.linspace(20, 220, 200)[None, :, None], 200, 0).repeat(3, 2).astype(np.uint8)
    transform = CutEdge()
    cut = transform.apply(ramp, angle=0.0, depth=0.2, fill="mirror", colour=None)
    assert np.abs(np.diff(cut[100, :, 0].astype(int))).max() <= 2
    assert np.abs(cut[100, 170, 0].astype(int) - ramp[100, 149, 0]) <= 3  # the line is at 159.5


def test_darker_by_stops_is_darker_by_a_factor_of_linear_light():
    grey = np.full((64, 64, 3), 180, np.uint8)
    dark = run(Exposure((-2, -2), shot=(6, 6)), grey)
    assert dark.mean() == pytest.approx(180 * 0.25 ** (1 / 2.2), abs=1)
    noisy = run(Exposure((0, 0), shot=(2, 2)), grey)
    light = (180 / 255) ** 2.2
    relative = np.sqrt(light / 100) / light / 2.2  # deviation of 100 electrons' worth of light, after gamma
    assert noisy.std() == pytest.approx(180 * relative, rel=0.2)


def test_a_colour_cast_keeps_the_mean_brightness_and_chroma_noise_the_luma(face):
    grey = np.full((40, 40, 3), 100, np.uint8)
    cast = run(ColourCast(0.3), grey).mean(axis=(0, 1))
    assert cast.mean() == pytest.approx(100, abs=1) and np.ptp(cast) > 3
    noisy = run(ChromaNoise((8, 8)), face)
    luma = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(float) for image in (face, noisy)]
    assert np.abs(luma[0] - luma[1]).mean() < 1 < np.abs(noisy.astype(int) - face).mean()


@pytest.mark.parametrize("codec, strengths", [(jpeg, (90, 60, 30)), (h264_like, (20, 30, 40))])
def test_stronger_compression_loses_more(face, codec, strengths):
    quality = [psnr(face, codec(face, strength)) for strength in strengths]
    assert 45 > quality[0] > quality[1] > quality[2] > 20


def test_the_codec_model_keeps_a_flat_picture_and_makes_blocks_of_a_slope():
    flat = np.full((100, 90, 3), 77, np.uint8)
    assert np.abs(h264_like(flat, 36, (3, 5)).astype(int) - 77).max() <= 4
    ramp = np.repeat(np.linspace(0, 30, 160)[None, :, None], 160, 0).repeat(3, 2).astype(np.uint8)
    steps = np.diff(h264_like(ramp, 44).astype(int)[80, :, 0])
    assert set(np.flatnonzero(steps) % 8) <= {5, 6, 7, 0, 1}  # at block edges alone, deblocked over them


def test_robust_leaves_pictures_recognisable(face):
    """On average as far from the plain face as a photograph of the same person may be; never blank."""
    preprocess = Preprocess(128, (0.5,) * 3, (0.5,) * 3)
    augment = augmentation("robust")
    images = [augment(face, preprocess, np.random.default_rng(seed)) for seed in range(40)]
    assert min(image.std() for image in images) > 4
    assert len({image.tobytes() for image in images}) == 40
    brightness = np.array([image.mean() for image in images])
    assert brightness.min() < 0.6 * brightness.max()
