"""Alignment: the published values, and what must hold for any landmarks."""

import json

import cv2
import numpy as np
import pytest

from utils.faces.align import TEMPLATE, align_face, extent_hull, extent_mask, similarity
from utils.faces.video import FrameReader, read_image

GREY_LEVELS = 3  # by which the warps of OpenCV 4.10 and 5.0 differ


def difference(one, two):
    return np.abs(one.astype(int) - two.astype(int))


def test_golden_crop(golden):
    data = golden("align")
    crop = align_face(data["norm_crop/frame_bgr_uint8"], data["norm_crop/landmarks"])
    assert crop.shape == (320, 320, 3) and crop.dtype == np.uint8
    assert difference(crop, data["norm_crop/crop_bgr_uint8"]).max() <= GREY_LEVELS


@pytest.mark.parametrize("clip_name", ["519", "519_515", "lynaeydofd", "widuwuoiur"])
def test_golden_crops_of_real_clips(shared, clip_name):
    table = json.loads((shared / "reference" / "golden_detections.json").read_text())[f"{clip_name}.mp4"]
    landmarks = {entry["frame"]: np.reshape(entry["landmarks"], (5, 2)) for entry in table}
    compared = 0
    for index, frame in FrameReader(shared / "videos" / f"{clip_name}.mp4", every=10):
        if index in (9, 149):
            want = read_image(shared / "reference" / "golden_crops" / f"{clip_name}_{index:03d}.png")
            gap = difference(align_face(frame, landmarks[index]), want)
            assert np.quantile(gap, 0.999) <= GREY_LEVELS and gap.mean() < 0.5
            compared += 1
        if index >= 149:
            break
    assert compared == 2


def test_landmarks_on_the_template_keep_the_picture():
    frame = np.random.default_rng(0).integers(0, 256, (320, 320, 3), np.uint8)
    matrix = similarity(TEMPLATE, truncate=False)
    np.testing.assert_allclose(matrix, [[1, 0, 0], [0, 1, 0]], atol=1e-9)
    np.testing.assert_array_equal(cv2.warpAffine(frame, matrix, (320, 320)), frame)


def test_a_known_similarity_is_found():
    angle, scale, shift = 0.4, 2.5, np.array([300.0, -40.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity(TEMPLATE @ turn.T + shift, truncate=False)
    np.testing.assert_allclose(matrix[:, :2] @ turn, np.eye(2), atol=1e-9)
    np.testing.assert_allclose(matrix[:, :2] @ shift + matrix[:, 2], 0, atol=1e-6)


def test_no_reflection():
    mirrored = TEMPLATE * [-1, 1] + [400, 0]
    assert np.linalg.det(similarity(mirrored)[:, :2]) > 0


def test_landmarks_are_truncated_toward_zero():
    landmarks = TEMPLATE + 0.2
    landmarks[0] = [-3.9, 5.9]
    truncated = landmarks.astype(int)
    assert truncated[0].tolist() == [-3, 5]
    np.testing.assert_array_equal(similarity(landmarks), similarity(truncated, truncate=False))
    assert not np.allclose(similarity(landmarks), similarity(landmarks, truncate=False))


@pytest.mark.parametrize(
    "landmarks",
    [
        np.zeros((5, 2)),
        np.full((5, 2), 17.3),
        np.full((5, 2), 0.9) + np.linspace(-0.05, 0.05, 5)[:, None],  # one place once truncated
        np.where(np.eye(5, 2, dtype=bool), np.nan, TEMPLATE),
        np.full((5, 2), np.inf),
    ],
)
def test_degenerate_landmarks_give_none(landmarks):
    assert similarity(landmarks) is None
    assert align_face(np.zeros((8, 8, 3), np.uint8), landmarks) is None


def test_outside_the_frame_is_black():
    crop = align_face(np.full((320, 160, 3), 200, np.uint8), TEMPLATE)
    # truncating the template's halves shifts the picture by less than a pixel or two
    assert crop[4:-4, 4:155].min() == 200 and crop[:, 165:].max() == 0
    far = align_face(np.full((30, 30, 3), 200, np.uint8), TEMPLATE + 5000)
    assert far.shape == (320, 320, 3) and far.max() == 0


def test_the_extent_of_a_tilted_picture_is_its_own(face):
    tilted = cv2.warpAffine(face, cv2.getRotationMatrix2D((160, 165), 12, 0.6), (320, 320))
    mask = extent_mask(tilted)
    assert np.count_nonzero(mask) / mask.size == pytest.approx(0.6**2, rel=0.02)
    assert not tilted[mask == 0].any()
    assert extent_hull(np.zeros((9, 9, 3), np.uint8)) is None
    spots = tilted.copy()
    spots[150:170, 150:170] = 0  # a black spot inside is no edge
    assert np.array_equal(extent_mask(spots), mask)
