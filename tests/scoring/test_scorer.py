"""Scoring: which frames are judged, how faces are batched and averaged, what bad input comes to."""

import csv
import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fill import fill
from readers import EveryFrame, MeanRed, write_red_video
from small_config import write_config, write_weights

from utils.core.config import load_config
from utils.core.errors import UserError, WeightsError
from utils.faces.prefetch import Limits
from utils.faces.video import FrameReader
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import score, score_media
from utils.weights.checkpoint import save_weights
from utils.weights.networks import build_network


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_weights(tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture
def config(tmp_path, weights):
    return load_config(write_config(tmp_path / "conf.py", weights), SubmissionConfig)


def face_frame(clip):
    return next(iter(FrameReader(clip, every=30)))[1]


def test_faces_are_rgb(tmp_path):
    """MeanRed sees the red of a red frame; in BGR order it would see none."""
    files = [write_red_video(tmp_path / "a.mp4", 40)]
    [result] = score_media(files, EveryFrame(), MeanRed(), SubmissionConfig())
    assert result.probability > 0.3


def test_what_each_network_says_of_each_face_is_kept(tmp_path):
    files = [write_red_video(tmp_path / "a.mp4", 40)]
    [result] = score_media(files, EveryFrame(), MeanRed(), SubmissionConfig(batch_size=3))
    assert result.by_network.shape == (4, 1)
    assert result.by_network.mean() == pytest.approx(result.probability)


def test_what_is_known_of_each_face_is_kept_where_asked_for(tmp_path):
    """Red grows with the frame's number; no face in the first two frames that are judged."""
    files = [write_red_video(tmp_path / name, 55) for name in ("a.mp4", "b.mp4")]
    detector = EveryFrame(lambda frame: frame[0, 0, 2] > 120)
    common = files, detector, MeanRed(), SubmissionConfig(batch_size=4)
    plain, kept = list(score_media(*common)), list(score_media(*common, keep=1))
    assert [result.probability for result in kept] == [result.probability for result in plain]
    assert plain[0].detail is None
    for result in kept:
        detail = result.detail
        assert [face.frame for face in detail.faces] == [29, 39, 49] and detail.looked_at == 5
        assert [face.seconds for face in detail.faces] == pytest.approx([2.9, 3.9, 4.9])
        assert detail.missed == pytest.approx([0.9, 1.9])
        assert detail.faces[0].box == (0, 0, 120, 160) and detail.faces[0].eyes == pytest.approx(75)
        assert detail.probabilities == result.by_network[:, 0].tolist()
        assert sorted(detail.crops) == [0, 2]
        assert detail.crops[2][160, 160, 0] / 255 == detail.probabilities[2]  # RGB
    [nobody] = score_media(files[:1], EveryFrame(lambda frame: False), MeanRed(), SubmissionConfig(), keep=1)
    assert nobody.detail.looked_at == len(nobody.detail.missed) == 5 and not nobody.detail.faces


@pytest.mark.parametrize(("across", "batches"), [(False, [4, 1, 3, 1]), (True, [4, 4, 1])])
def test_scores_are_means_of_frames_9_19_and_batches_run_across_videos_on_a_gpu_alone(
    tmp_path, monkeypatch, across, batches
):
    monkeypatch.setattr("utils.scoring.scorer.limits_for", lambda *_: Limits(across=across))
    files = [write_red_video(tmp_path / f"{n}.mp4", n) for n in (45, 5, 32, 10)]
    frames = [(9, 19, 29, 39), (4,), (9, 19, 29), (9,)]  # a clip below the stride gives its last frame
    ensemble = MeanRed()
    config = SubmissionConfig(batch_size=4, face_limit=25)
    results = list(score_media(files, EveryFrame(), ensemble, config))
    assert [result.path for result in results] == files
    assert [result.faces for result in results] == [4, 1, 3, 1]
    assert ensemble.batches == batches
    for result, indices in zip(results, frames, strict=True):
        assert result.probability == pytest.approx(np.mean(indices) * 5 / 255, abs=0.02)
        assert not result.reason and not result.warning


def test_a_result_comes_as_soon_as_its_faces_are_scored(tmp_path):
    first, second = write_red_video(tmp_path / "a.mp4", 40), tmp_path / "b.mp4"
    stream = score_media(iter([first, second]), EveryFrame(), MeanRed(), SubmissionConfig(batch_size=2))
    assert next(stream).path == first  # b.mp4 doesn't exist and has not been asked for yet
    assert "can't be read" in next(stream).reason


def test_what_cannot_be_judged_gets_one_half_and_its_reason_in_its_place(tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    empty, whole = tmp_path / "empty.mp4", write_red_video(tmp_path / "whole.mp4", 10)
    empty.touch()
    faceless = write_red_video(tmp_path / "faceless.mp4", 45)
    detector = EveryFrame(lambda frame: frame[0, 0, 2] < 50)
    config = SubmissionConfig(frame_stride=10)
    results = list(score_media([text, whole, empty, faceless], detector, MeanRed(), config))
    frame_9 = pytest.approx(45 / 255, abs=0.02)
    assert [result.probability for result in results] == [0.5, frame_9, 0.5, frame_9]
    assert [bool(result.reason) for result in results] == [True, False, True, False]
    nobody = next(score_media([faceless], EveryFrame(lambda frame: False), MeanRed(), config))
    assert (nobody.probability, nobody.faces, nobody.reason) == (0.5, 0, "no face found in 4 frames")


def test_a_probability_that_is_no_number_is_not_passed_on(tmp_path):
    class Overflow(MeanRed):
        def predict_each(self, faces):
            return np.full((len(faces), 1), np.nan)

    files = [write_red_video(tmp_path / "a.mp4", 12)]
    result = next(score_media(files, EveryFrame(), Overflow(), SubmissionConfig()))
    assert result.probability == 0.5 and "finite" in result.reason


def test_score_of_real_clips_names_and_other_weights(tmp_path, clip, no_face_clip, config):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
    shutil.copy(clip, tmp_path / "a" / "x.mp4")
    shutil.copy(no_face_clip, tmp_path / "b" / "x.mp4")
    table = score([tmp_path, clip, os.path.relpath(clip)], config, device="cpu")  # one file twice
    assert table.columns.tolist()[:5] == ["filename", "label", "faces", "reason", "path"]
    assert table.people.tolist() == [1, 0, 1] and np.isnan(table["last"][1])
    assert 0 < table["first"][0] < table["last"][0] < table.duration[0] < 5
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
    write_red_video(tmp_path / "a.mp4", 3)
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
