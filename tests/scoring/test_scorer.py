"""Scoring: which frames are judged, how faces are batched and averaged, what bad input comes to."""

import csv
import os
import shutil
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fill import fill
from small_config import write_config, write_weights

from utils.core.config import load_config
from utils.core.errors import MediaError, UserError, WeightsError
from utils.faces.detector import Face
from utils.faces.video import FrameReader
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import FRAMES_AT_ONCE, face_crops, score, score_media
from utils.weights.checkpoint import save_weights
from utils.weights.networks import build_network

LANDMARKS = np.array([(22, 41), (97, 41), (60, 78), (37, 125), (82, 125)], np.float32)


class EveryFrame:
    """A detector that sees a face wherever `has_face(frame)` says so, and counts the frames it is shown."""

    device = torch.device("cpu")

    def __init__(self, has_face=lambda frame: True):
        self.calls = 0
        self.has_face, self.seen = has_face, 0

    def detect(self, frames, tracks=None):
        self.calls += 1
        self.seen += len(frames)
        face = Face(0.9, np.array([0, 0, 120, 160], np.float32), LANDMARKS)
        return [face if self.has_face(frame) else None for frame in frames]


class MeanRed:
    """An ensemble whose probability is the red in the middle of the face; notes the sizes of its batches."""

    def __init__(self):
        self.batches = []

    def predict(self, faces):
        assert faces.shape[1:] == (320, 320, 3) and faces.dtype == np.uint8
        self.batches.append(len(faces))
        return faces[:, 160, 160, 0] / 255


class Frames:
    """A reader of made-up frames: frame k is red of brightness k; the decoder gives up at `failing_at`."""

    def __init__(self, count, failing_at=None):
        self.count, self.failing_at = count, failing_at
        self.warning, self.given, self.alive, self.most_alive = None, 0, 0, 0

    def _freed(self):
        self.alive -= 1

    def __iter__(self):
        for k in range(self.count):
            if k == self.failing_at:
                raise MediaError(f"the decoder gave up after {k} frames")
            frame = np.zeros((160, 160, 3), np.uint8)
            frame[:, :, 2] = k % 256
            self.given, self.alive = self.given + 1, self.alive + 1
            self.most_alive = max(self.most_alive, self.alive)
            weakref.finalize(frame, self._freed)
            yield k, frame


def reds(crops):
    return [int(crop[160, 160, 0]) for crop in crops]


def write_video(path, frames, size=(160, 160)):
    """A clip whose frame k is red of brightness 5 * k, little changed by the codec."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 10, size)
    for k in range(frames):
        writer.write(np.full((*size[::-1], 3), (0, 0, 5 * k), np.uint8))
    writer.release()
    return path


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture
def config(tmp_path, weights):
    return load_config(write_config(tmp_path / "conf.py", weights), SubmissionConfig)


def face_frame(clip):
    return next(iter(FrameReader(clip, every=30)))[1]


@pytest.mark.parametrize("limit", [1, 7, FRAMES_AT_ONCE, 25])
def test_reading_stops_one_frame_behind_the_last_face(limit):
    reader, detector = Frames(10_000), EveryFrame()
    crops, looked_at = face_crops(reader, detector, limit)
    assert reds(crops) == list(range(limit))
    assert looked_at == detector.seen == limit
    assert reader.given <= limit + 1


def test_frames_without_a_face_do_not_count():
    def odd(frame):
        return frame[0, 0, 2] % 2 == 1

    crops, looked_at = face_crops(Frames(200), EveryFrame(odd), 25)
    assert reds(crops) == list(range(1, 50, 2)) and looked_at >= 50
    crops, looked_at = face_crops(Frames(21), EveryFrame(odd), 25)
    assert reds(crops) == list(range(1, 21, 2)) and looked_at == 21


def test_memory_does_not_grow_with_the_length():
    reader = Frames(3000)
    crops, looked_at = face_crops(reader, EveryFrame(lambda frame: False), 25)
    assert crops == [] and looked_at == 3000
    assert reader.most_alive <= 3 * FRAMES_AT_ONCE


def test_faces_are_rgb():
    crop = face_crops(Frames(200), EveryFrame(lambda frame: frame[0, 0, 2] == 150), 1)[0][0]
    assert crop[160, 160].tolist() == [150, 0, 0]


def test_a_decoder_that_gives_up_keeps_the_faces_so_far():
    reader = Frames(100, failing_at=FRAMES_AT_ONCE)
    assert len(face_crops(reader, EveryFrame(), 25)[0]) == FRAMES_AT_ONCE
    assert "gave up" in reader.warning
    for good in (1, FRAMES_AT_ONCE - 1, FRAMES_AT_ONCE + 3):  # also those of the chunk that it ends
        reader = Frames(100, failing_at=good)
        assert len(face_crops(reader, EveryFrame(), 25)[0]) == good and "gave up" in reader.warning
    with pytest.raises(MediaError):
        face_crops(Frames(100, failing_at=0), EveryFrame(), 25)


def test_scores_are_means_of_frames_9_19_and_batches_run_across_videos(tmp_path):
    files = [write_video(tmp_path / f"{n}.mp4", n) for n in (45, 5, 32, 10)]
    frames = [(9, 19, 29, 39), (4,), (9, 19, 29), (9,)]  # a clip below the stride gives its last frame
    ensemble = MeanRed()
    config = SubmissionConfig(batch_size=4, face_limit=25)
    results = list(score_media(files, EveryFrame(), ensemble, config))
    assert [result.path for result in results] == files
    assert [result.faces for result in results] == [4, 1, 3, 1]
    assert ensemble.batches == [4, 4, 1]
    for result, indices in zip(results, frames, strict=True):
        assert result.probability == pytest.approx(np.mean(indices) * 5 / 255, abs=0.02)
        assert not result.reason and not result.warning


def test_a_result_comes_as_soon_as_its_faces_are_scored(tmp_path):
    first, second = write_video(tmp_path / "a.mp4", 40), tmp_path / "b.mp4"
    stream = score_media(iter([first, second]), EveryFrame(), MeanRed(), SubmissionConfig(batch_size=2))
    assert next(stream).path == first  # b.mp4 doesn't exist and has not been asked for yet
    assert "can't be read" in next(stream).reason


def test_what_cannot_be_judged_gets_one_half_and_its_reason_in_its_place(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    empty, whole = tmp_path / "empty.mp4", write_video(tmp_path / "whole.mp4", 10)
    empty.touch()
    faceless = write_video(tmp_path / "faceless.mp4", 45)
    detector = EveryFrame(lambda frame: frame[0, 0, 2] < 50)
    config = SubmissionConfig(frame_stride=10)
    results = list(score_media([text, whole, empty, faceless], detector, MeanRed(), config))
    frame_9 = pytest.approx(45 / 255, abs=0.02)
    assert [result.probability for result in results] == [0.5, frame_9, 0.5, frame_9]
    assert [bool(result.reason) for result in results] == [True, False, True, False]
    nobody = next(score_media([faceless], EveryFrame(lambda frame: False), MeanRed(), config))
    assert (nobody.probability, nobody.faces, nobody.reason) == (0.5, 0, "no face found in 4 frames")


def test_a_probability_that_is_no_number_is_not_passed_on(tmp_path):
    class Overflow:
        def predict(self, faces):
            return np.full(len(faces), np.nan)

    files = [write_video(tmp_path / "a.mp4", 12)]
    result = next(score_media(files, EveryFrame(), Overflow(), SubmissionConfig()))
    assert result.probability == 0.5 and "finite" in result.reason


def test_score_of_real_clips_names_and_other_weights(tmp_path, clip, no_face_clip, config):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    shutil.copy(clip, tmp_path / "a" / "x.mp4")
    shutil.copy(no_face_clip, tmp_path / "b" / "x.mp4")
    table = score([tmp_path, clip, os.path.relpath(clip)], config, device="cpu")  # one file twice
    assert table.columns.tolist() == ["filename", "label", "faces", "reason", "path"]
    assert table.filename.tolist() == ["a/x.mp4", "b/x.mp4", clip.name]
    assert table.faces.tolist() == [2, 0, 2]
    assert table.label[1] == 0.5 and "no face" in table.reason[1]
    assert table.label[0] == pytest.approx(table.label[2], abs=1e-6) and table.reason[0] == ""
    assert table.path[2] == str(clip)

    other = write_config(tmp_path / "other.py", write_weights(tmp_path / "other.safetensors", sign=-1.0))
    label = score(str(clip), other, device="cpu").label[0]
    assert label == pytest.approx(1 - table.label[2], abs=1e-5)
    assert abs(label - table.label[2]) > 0.01


def test_score_says_what_is_wrong(tmp_path, config):  # tmp_path holds conf.py only
    with pytest.raises(UserError, match="no video or image"):
        score(tmp_path, config, "cpu")
    with pytest.raises(UserError, match="empty list"):
        score([], config, "cpu")
    with pytest.raises(UserError, match="absent.mp4"):
        score(tmp_path / "absent.mp4", config, "cpu")
    write_video(tmp_path / "a.mp4", 3)
    with pytest.raises(WeightsError, match="gone.pth"):
        score(tmp_path / "a.mp4", write_config(tmp_path / "c.py", Path("gone.pth")), "cpu")


def test_images_of_every_kind_are_judged_as_frame_0(tmp_path, clip, config):
    frame = face_frame(clip)
    opaque = np.dstack([frame, np.full(frame.shape[:2], 255, np.uint8)])
    pictures = {
        "plain.png": frame,
        "alpha.png": opaque,
        "deep.png": frame.astype(np.uint16) * 257,
        "grey.png": cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY),
        "odd.BMP": np.ascontiguousarray(frame[:359, :637]),
        "portrait.png": np.vstack([frame, np.zeros((541, *frame.shape[1:]), np.uint8)]),
        "tiny.png": cv2.resize(frame, (20, 20)),
        "dot.png": frame[:1, :1],
    }
    for name, picture in pictures.items():
        assert cv2.imwrite(str(tmp_path / name), picture)
    table = score([tmp_path / name for name in pictures], config, "cpu").set_index("filename")
    judged = [name for name in pictures if name not in ("tiny.png", "dot.png")]
    assert (table.faces[judged] == 1).all() and (table.reason[judged] == "").all()
    for same in ("alpha.png", "deep.png"):
        assert table.label[same] == pytest.approx(table.label["plain.png"], abs=1e-5)
    assert table.label["odd.BMP"] == pytest.approx(table.label["plain.png"], abs=0.02)
    for small in ("tiny.png", "dot.png"):
        assert table.label[small] == 0.5 and table.reason[small] == "no face found in 1 frame"


def test_videos_of_odd_kinds(tmp_path, clip, config):
    frame = face_frame(clip)
    for name, picture in {
        "portrait": np.vstack([frame, np.zeros((400, *frame.shape[1:]), np.uint8)]),
        "odd": np.ascontiguousarray(frame[:357, :635]),
        "tiny": cv2.resize(frame, (20, 20)),
    }.items():
        size = picture.shape[1::-1]
        writer = cv2.VideoWriter(str(tmp_path / f"{name}.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, size)
        for _ in range(31):
            writer.write(picture)
        writer.release()
    writer = cv2.VideoWriter(str(tmp_path / "zero.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 64))
    writer.release()
    (tmp_path / "zero.mp4").touch()
    table = score(tmp_path, config, "cpu").set_index("filename")
    assert table.faces.to_dict() == {"odd.avi": 1, "portrait.avi": 1, "tiny.avi": 0, "zero.mp4": 0}
    assert table.label["zero.mp4"] == table.label["tiny.avi"] == 0.5
    assert table.reason["tiny.avi"].startswith("no face") and table.reason["zero.mp4"]


@pytest.mark.slow
def test_the_whole_submission_is_the_references(shared, tmp_path):
    """The four clips with `fill` weights at the published setting: trained detector, full frame, float32."""
    ensemble = []
    for name, gain, weight in (
        ("xception", 1.0, 0.2),
        ("wsdan-xception", 1.0, 0.7),
        ("wsdan-efficientnet-b3", 2.0, 0.1),
    ):
        path = tmp_path / f"{name}.safetensors"
        save_weights(fill(build_network(name), gain), path, dtype=torch.float32)
        ensemble.append((name, str(path), weight))
    table = score(shared / "videos", SubmissionConfig(ensemble=ensemble)).set_index("filename")
    with open(Path(__file__).resolve().parents[1] / "golden" / "golden_scores.csv", newline="") as file:
        golden = {row["filename"]: float(row["label"]) for row in csv.DictReader(file)}
    assert table.label.to_dict() == pytest.approx(golden, abs=3e-4)
    assert (table.faces == 25).all()
