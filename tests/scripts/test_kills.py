"""kill -9, SIGTERM, SIGHUP and Ctrl-C at random moments: the same command again ends as undisturbed."""

import shutil

import pytest
import wsdan_runs
from kills import extract, files_in, score, stop_at_random, train, train_wsdan
from small_config import write_config
from submissions import rows
from training_runs import assert_equal, config, log_of

from utils.weights.checkpoint import load_checkpoint

STATE = {
    "state_dict", "trained_state_dict", "n_averaged", "optimizer", "feature_center", "center_scale", "best",
}  # fmt: skip
FEW_AND_MANY = [1, pytest.param(20, marks=pytest.mark.slow)]


@pytest.fixture
def videos(tmp_path, clip, no_face_clip):
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4"):
        shutil.copy(clip, folder / name)
    shutil.copy(no_face_clip, folder / "0.mp4")  # done by the time of most kills
    (folder / "text.mp4").write_text("this is no video")
    return folder


@pytest.mark.parametrize("times", FEW_AND_MANY)
def test_extraction(videos, tmp_path, times):
    def check(whole, stopped):
        assert files_in(whole) == files_in(stopped)

    options = "--every", 12, "--workers", int(times > 1)
    print(stop_at_random(extract, lambda out: (videos, out, *options), tmp_path, times, check))


@pytest.mark.parametrize("times", FEW_AND_MANY)
def test_scoring(videos, weights, tmp_path, times):
    """Batches are others after an interruption, so that a score's last digit may be another."""
    conf = write_config(tmp_path / "conf.py", weights, frame_stride=15, batch_size=2)

    def check(whole, stopped):
        assert files_in(whole).keys() == files_in(stopped).keys() == {"o.csv", "o.errors.csv"}
        assert (whole / "o.errors.csv").read_bytes() == (stopped / "o.errors.csv").read_bytes()
        for (name, label), (other, again) in zip(rows(whole / "o.csv"), rows(stopped / "o.csv"), strict=True):
            assert name == other
            assert label == again or abs(float(label) - float(again)) < 2e-6

    def command(out):
        where = "--workers", int(times > 1)
        return (videos, "--config", conf, "--output", out / "o.csv", "--resume", *where)

    print(stop_at_random(score, command, tmp_path, times, check))


def assert_same_training(whole, stopped):
    """Files, logs but for the times, and all that goes on from the checkpoints, bit for bit."""
    assert files_in(whole).keys() == files_in(stopped).keys()
    assert log_of(whole) == log_of(stopped)
    for name in ("last.pth", "best.pth"):
        one, other = (load_checkpoint(folder / name) for folder in (whole, stopped))
        assert one.keys() == other.keys()
        for part in STATE & one.keys():
            assert_equal(one[part], other[part])


@pytest.mark.parametrize("times", FEW_AND_MANY)
def test_training(data, tmp_path, times):
    def command(out):
        return (config(data, out, n_epoches=3, checkpoint_minutes=0.0),)

    print(stop_at_random(train, command, tmp_path, times, assert_same_training))


@pytest.mark.slow
def test_wsdan_training(tmp_path, clip, times=20):
    """With averaged weights and self-blended faces; centres and drawn attention maps go on, too."""
    faces = wsdan_runs.write_faces(tmp_path / "faces", clip)
    more = {"ema": 0.9, "self_blended": 0.5, "augmentation": "alike", "checkpoint_minutes": 0.0}

    def command(out):
        return (wsdan_runs.config(faces, out, **more),)

    print(stop_at_random(train_wsdan, command, tmp_path, times, assert_same_training))
