"""Effects: what they say, and the same pictures that the transforms and the tables make with them."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio as psnr

from utils.augment import effects
from utils.augment.codecs import BLOCK, h264, jpeg, video_coded


def test_smoothing_takes_grain_and_leaves_edges(face):
    rng = np.random.default_rng(0)
    edge = np.full((64, 64, 3), 60, np.uint8)
    edge[:, 32:] = 200
    grainy = effects.normal_noise(edge, 6, rng)
    for smooth in (effects.bilateral(grainy, 40), effects.non_local_means(grainy, 5)):
        assert smooth[:, :28].std() < 0.7 * grainy[:, :28].std()
        assert np.abs(np.diff(smooth.astype(int), axis=1)).max(axis=(0, 2)).argmax() == 31
    assert np.abs(np.diff(effects.gaussian(edge, 4).astype(int), axis=1)).max() < 30
    assert effects.bilateral(face, 40).shape == face.shape


def test_a_picture_keeps_its_size_and_its_input(face):
    before = face.copy()
    for image in (effects.down_up(face, 0.3), effects.motion_blur(face, 9, 0.4), effects.darken(face, 0.5)):
        assert image.shape == face.shape and image.dtype == np.uint8 and not np.array_equal(image, face)
    assert np.array_equal(face, before)
    assert effects.shrink(face[:, :64], 0.1, least=32).shape == (32, 32, 3)
    assert effects.flatten(face, 0, 77).std() == 0


@pytest.mark.parametrize("coder, strengths", [(jpeg, (90, 50, 20)), (h264, (20, 30, 40))])
def test_codecs_lose_more_the_coarser_they_are_and_their_grid_starts_anywhere(face, coder, strengths):
    quality = [psnr(face, coder(face, strength)) for strength in strengths]
    assert quality[0] > quality[1] > quality[2]
    moved = coder(face, strengths[2], (3, 5))
    assert moved.shape == face.shape and not np.array_equal(moved, coder(face, strengths[2]))
    padded = np.pad(face, ((BLOCK, 0), (0, 0), (0, 0)), mode="edge")
    assert np.array_equal(coder(face, strengths[2], (BLOCK, 0)), coder(padded, strengths[2])[BLOCK:])


def test_a_still_is_a_key_frame(face):
    assert np.array_equal(h264(face, 30), next(video_coded([face], "libx264", 30)))
