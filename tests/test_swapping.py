"""Face swaps: the right part moves to the right place, in the target's colours."""

import cv2
import numpy as np

from utils import swapping
from utils.align import similarity


def textured(seed, size=(200, 240)):
    noise = np.random.default_rng(seed).uniform(0, 255, (*size, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 4).clip(0, 255).astype(np.uint8)


LANDMARKS = np.array([[90, 80], [130, 80], [110, 100], [95, 125], [125, 125]], float)


def test_swap_leaves_the_target_alone_beyond_the_oval():
    target, source = textured(1), textured(2)
    swapped = swapping.swap_face(target, LANDMARKS, source, LANDMARKS + 7)
    matrix = cv2.invertAffineTransform(similarity(LANDMARKS, truncate=False))
    mask = cv2.warpAffine(swapping.oval_mask(), matrix, (240, 200))
    assert (swapped[mask == 0] == target[mask == 0]).all()
    assert np.abs(swapped[mask > 0.9].astype(float) - target[mask > 0.9]).mean() > 2
    assert 0.05 < (mask > 0.5).mean() < 0.5


def test_swap_with_itself_changes_nothing_visible():
    image = textured(3)
    swapped = swapping.swap_face(image, LANDMARKS, image, LANDMARKS)
    assert np.abs(swapped.astype(int) - image).max() <= 2


def test_swap_moves_the_source_by_the_landmarks():
    # the same picture shifted, with its landmarks shifted as much, comes back where it was
    image = textured(4, (260, 300))
    shifted = cv2.warpAffine(image, np.array([[1.0, 0, 13], [0, 1, -9]]), (300, 260))
    swapped = swapping.swap_face(image, LANDMARKS, shifted, LANDMARKS + [13, -9])
    assert np.abs(swapped.astype(int) - image).max() <= 3


def test_degenerate_landmarks_leave_the_target_as_it_is():
    target, source = textured(5), textured(6)
    for bad in (np.zeros((5, 2)), np.full((5, 2), np.nan), LANDMARKS + 5000):
        assert (swapping.swap_face(target, bad, source, LANDMARKS) == target).all()
    assert (swapping.swap_face(target, LANDMARKS, source, np.zeros((5, 2))) == target).all()


def test_colours_take_the_target_mean_and_spread():
    source, target = textured(7), (textured(8) * 0.5 + 60).astype(np.uint8)
    mask = np.zeros(source.shape[:2], np.float32)
    mask[50:150, 60:180] = 1
    lab = [cv2.cvtColor(image, cv2.COLOR_BGR2LAB)[mask > 0].astype(float)
           for image in (swapping.match_colours(source, target, mask).astype(np.uint8), target)]
    assert np.abs(lab[0].mean(axis=0) - lab[1].mean(axis=0)).max() < 2
    assert np.abs(lab[0].std(axis=0) - lab[1].std(axis=0)).max() < 2
    flat = np.full_like(source, 90)  # no spread: no division by zero
    assert np.isfinite(swapping.match_colours(flat, target, mask)).all()
