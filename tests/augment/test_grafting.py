"""Faces laid on others for training: only where the mask is, in the target's colours, never on black."""

import cv2
import numpy as np
import pytest

from utils.augment.grafting import affine, grafted, nearest_donor
from utils.faces.align import TEMPLATE


@pytest.fixture(scope="module")
def donor(face) -> np.ndarray:
    """The same face mirrored, darker and bluer."""
    return (face[:, ::-1] * np.float32((0.5, 0.6, 0.8))).astype(np.uint8)


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng((5, seed))


def test_only_what_the_mask_covers_changes(face, donor):
    for seed in range(10):
        fake, mask = grafted(face, donor, (TEMPLATE, TEMPLATE), rng(seed))
        changed = np.abs(fake.astype(int) - face).max(axis=2)
        assert fake.dtype == np.uint8 and fake.shape == face.shape
        assert not changed[mask == 0].any() and changed[mask > 0.9].mean() > 2


def test_the_donor_takes_the_colours_of_the_target(face, donor):
    for seed in range(10):
        fake, mask = grafted(face, donor, (TEMPLATE, TEMPLATE), rng(seed))
        inside = mask > 0.9
        assert np.abs(fake[inside].mean(axis=0) - face[inside].mean(axis=0)).max() < 12
        assert np.abs(donor[inside].mean(axis=0) - face[inside].mean(axis=0)).max() > 30


def test_black_stays_black_and_nothing_in_common_leaves_the_target(face, donor):
    upper, lower = np.zeros_like(face), np.zeros_like(face)
    upper[:120], lower[280:] = face[:120], donor[280:]
    fake, mask = grafted(upper, donor, (TEMPLATE, TEMPLATE), rng(0))
    assert not fake[130:].any()
    fake, mask = grafted(upper, lower, (TEMPLATE, TEMPLATE), rng(0))
    assert np.array_equal(fake, upper) and not mask.any()


def test_a_donor_is_another_face_of_the_nearest_pose():
    landmarks = np.stack([TEMPLATE + (shift, 0) for shift in (0, 20, 3, -15)])
    assert nearest_donor(landmarks, 0, rng(0)) == 2
    assert {nearest_donor(landmarks[[0, 0]], 1, rng(seed)) for seed in range(5)} == {0}


def test_the_affine_map_brings_points_onto_others():
    move = np.array([[1.1, 0.2, 5], [-0.1, 0.9, -7]])
    onto = TEMPLATE @ move[:, :2].T + move[:, 2]
    assert np.allclose(affine(TEMPLATE, onto), move)
    assert cv2.transform(TEMPLATE[None], affine(TEMPLATE, onto))[0] == pytest.approx(onto)
