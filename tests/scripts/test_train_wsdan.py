"""WS-DAN training: the script end to end, checkpoints of and for the published code, resuming bit for bit."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fill import fill
from processes import run_processes
from scripts import load_script, run_script
from torch import nn
from torch.nn.functional import normalize
from training_runs import assert_equal, log_of, one_thread
from wsdan_runs import TinyWSDAN, config, keys, script, write_faces

from models import WSDAN, xception
from utils.core.errors import ConfigError, DataError
from utils.data.sampling import Kind, plain_order
from utils.training import engine
from utils.training import run as runs
from utils.training.config import WSDANConfig
from utils.training.preview import first_faces
from utils.training.wsdan import FeatureCenters
from utils.weights.checkpoint import load_checkpoint, save_checkpoint, save_weights

ROOT = Path(__file__).resolve().parents[2]
PUBLISHED = str(ROOT / "wsdan-conf/xception.py")


@pytest.fixture(scope="module")
def data(tmp_path_factory, clip) -> Path:
    return write_faces(tmp_path_factory.mktemp("data"), clip)


@pytest.fixture
def tiny(monkeypatch):
    """The script with the small network, on one thread."""
    monkeypatch.setattr(script, "build_network", tiny_network)
    with one_thread():
        yield


def tiny_network(name: str, num_attentions: int) -> nn.Module:
    return TinyWSDAN(M=num_attentions)


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, momentum, centres, metrics and log of two runs, bit for bit."""
    a, b = (load_checkpoint(path / "last.pth") for path in (one, other))
    assert a.keys() == b.keys()
    for part in {"trained_state_dict", "n_averaged"} & a.keys():
        assert_equal(a[part], b[part])
    for part in ("state_dict", "feature_center", "center_scale", "metrics", "best", "epoch", "logs"):
        assert_equal(a[part], b[part])
    assert_equal(a["optimizer"], b["optimizer"])
    assert log_of(one) == log_of(other)


def test_the_script_end_to_end(data, tmp_path):
    """A config file, one epoch of the real network from a trained Xception, all files, a picture."""
    save_dir, conf, start = tmp_path / "run", tmp_path / "conf.py", tmp_path / "start.safetensors"
    save_weights(fill(xception(num_classes=2)), start)
    values = keys(data, save_dir, tensorboard=True, pretrained=str(start), max_train_videos=2, epochs=5,
                  GPU="0", tag="dfdc", ckpt=False, image_size=(71, 71))  # fmt: skip
    conf.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
    command = [sys.executable, str(ROOT / "train-wsdan.py"), str(conf), "epochs=1", "max_valid_videos=2"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=1200)
    assert done.returncode == 0, done.stderr
    for said in ("effective batch: 4", "device: cpu", "GPU = '0'  (without effect)", str(save_dir),
                 "training, each epoch: 3 real and 3 fake samples of 1 real and 1 fake videos",
                 "learning rate: 0.01"):  # fmt: skip
        assert said in done.stdout

    names = {path.name for path in save_dir.iterdir()}
    assert names == {"ckpt_1.pth", "best.pth", "last.pth", "log.jsonl", "curves.png", "train.log",
                     "first-batch.png", "tensorboard"}  # fmt: skip
    assert "effective batch: 4" in (save_dir / "train.log").read_text()
    (row,) = log_of(save_dir)
    predictors = [f"val_{prefix}{name}" for prefix in ("", "with_crop_")
                  for name in ("log_loss", "balanced_log_loss", "auc", "accuracy")]  # fmt: skip
    terms = [f"train_{name}" for name in ("loss", "raw", "crop", "drop", "center", "raw_accuracy",
                                          "crop_accuracy", "drop_accuracy")]  # fmt: skip
    assert {*predictors, *terms, "lr", "epoch"} <= row.keys()
    total = row["train_raw"] + row["train_crop"] / 3 + row["train_drop"] / 2 + row["train_center"]
    assert row["train_loss"] == pytest.approx(total, rel=1e-5)

    checkpoint = torch.load(save_dir / "best.pth", weights_only=True)
    assert checkpoint["state_dict"].keys() == WSDAN(2, 8, "xception").state_dict().keys()
    assert checkpoint["logs"]["epoch"] == 1 and checkpoint["logs"]["lr"] == 0.01
    assert checkpoint["feature_center"].shape == (2, 8 * 2048)
    assert checkpoint["center_scale"].tolist() == [1, 1]
    assert checkpoint["config"]["epochs"] == 1

    tool = load_script("tools/export_weights.py")
    metadata = tool.export(save_dir / "best.pth", tmp_path / "weights.safetensors")
    assert metadata["network"] == "wsdan-xception" and json.loads(metadata["preprocess"])["size"] == 71


def test_the_picture_shows_faces_crops_and_drops(data, tmp_path, tiny, capsys):
    arguments = [f"{key}={value}" for key, value in keys(data, tmp_path / "run", batch_size=3).items()]
    assert run_script(script, WSDANConfig, PUBLISHED, "--show-batch", str(tmp_path / "a.png"), *arguments,
                      "pretrained=None") == 0  # fmt: skip
    assert "3 faces, their crops and drops" in capsys.readouterr().out
    picture = cv2.imread(str(tmp_path / "a.png"))
    assert picture.shape == (3 * 71, 3 * 71, 3) and picture.std() > 10
    assert not (tmp_path / "run").exists()
    # a dropped region is the mean colour, and the rest of the face is as it was
    face, drop = picture[:, :71].astype(int), picture[:, 142:].astype(int)
    same = np.abs(face - drop).max(axis=2) <= 1
    mean = np.array([0.3473, 0.3744, 0.4479]) * 255
    assert 0 < same.mean() < 1 and np.abs(drop[~same] - mean).max() < 1
    assert run_script(script, WSDANConfig, PUBLISHED, "--show-batch", "a.jpg") == 2


def test_the_picture_shows_a_self_blended_face(data, tmp_path, tiny, capsys):
    values = keys(data, tmp_path / "run", batch_size=3, self_blended=0.2, pretrained=None)
    arguments = [f"{key}={value}" for key, value in values.items()]
    picture = ["--show-batch", str(tmp_path / "a.png")]
    assert run_script(script, WSDANConfig, PUBLISHED, *picture, *arguments) == 0
    assert "3 faces (self-blended: row " in capsys.readouterr().out
    order = plain_order([5, 2, 7, 1, 2, 1])
    assert first_faces(order, 3).tolist() == [(5, 0), (2, 0), (7, 0)]
    order["kind"][4:] = Kind.SELF_BLENDED
    assert first_faces(order, 3).tolist() == [(5, 0), (2, 0), (2, 1)]
    assert first_faces(order, 5).tolist() == [(5, 0), (2, 0), (7, 0), (1, 0), (2, 1)]


def test_stopped_and_resumed_is_unbroken(data, tmp_path, tiny, monkeypatch, capsys):
    """A SIGTERM inside each epoch: head dropout, drawn maps, centres and log go on as if nothing was.

    So do averaged weights and self-blended faces.
    """
    changes = {"ema": 0.9, "self_blended": 0.5, "augmentation": "alike"}
    assert script.train(config(data, tmp_path / "whole", **changes)) == 0
    steps = []

    def due(self) -> bool:
        steps.append(1)
        if len(steps) in (2, 8):
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    monkeypatch.setattr(runs.RunFolder, "due", due)
    broken = config(data, tmp_path / "broken", **changes)
    assert script.train(broken) == 128 + signal.SIGTERM
    assert "ckpt=auto" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "broken" / "last.pth")["tallies"][0]["step"] == 3
    assert script.train(broken) == 128 + signal.SIGTERM
    assert load_checkpoint(tmp_path / "broken" / "last.pth")["epoch"] == 1
    assert script.train(broken) == 0
    assert_same_run(tmp_path / "whole", tmp_path / "broken")
    assert load_checkpoint(tmp_path / "whole" / "last.pth")["feature_center"].norm(dim=1).min() > 0


def test_from_a_kept_checkpoint_of_a_killed_run(data, tmp_path, tiny):
    """Between epochs, as after a power cut: the checkpoint of an epoch, in place of the newest state."""
    script.train(config(data, tmp_path / "whole", epochs=3))
    script.train(config(data, tmp_path / "parts", epochs=2))
    first = tmp_path / "parts" / "ckpt_1.pth"
    script.train(config(data, tmp_path / "parts", epochs=3, ckpt=str(first)))
    assert_same_run(tmp_path / "whole", tmp_path / "parts")


def whole_process(values: dict) -> int:
    script.build_network = tiny_network
    return script.train(WSDANConfig(**values))


def stopped_process(values: dict) -> int:
    """A SIGTERM to the second process alone, in the third step."""
    seed_step = engine.seed_step

    def killing(seed: int, epoch: int, step: int) -> None:
        if step == 2 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        seed_step(seed, epoch, step)

    engine.seed_step = killing
    return whole_process(values)


def test_two_processes_stopped_and_resumed_are_unbroken(data, tmp_path):
    whole, broken = (
        config(data, tmp_path / name, epochs=1, batch_size=2, max_valid_videos=3, ema=0.9)
        for name in ("whole", "broken")
    )
    assert run_processes(whole_process, whole) == [0, 0]
    assert run_processes(stopped_process, broken) == [128 + signal.SIGTERM] * 2
    assert run_processes(whole_process, broken) == [0, 0]
    assert_same_run(tmp_path / "whole", tmp_path / "broken")


def failing_process(values: dict) -> int:
    """The second process' loss is no number."""
    losses = script.training_losses

    def bad(*arguments, **keywords):
        result = losses(*arguments, **keywords)
        return result | {"total": result["total"] * (float("nan") if os.environ["RANK"] == "1" else 1.0)}

    script.training_losses = bad
    with pytest.raises(DataError, match=r"the loss is nan at epoch 1, step 1 .*video\d\d/\d{3}.png"):
        whole_process(values)
    return 1


def test_a_loss_that_is_no_number_stops_all_processes_and_names_the_files(data, tmp_path):
    assert run_processes(failing_process, config(data, tmp_path, batch_size=2)) == [1, 1]
    assert not (tmp_path / "last.pth").exists()


def test_training_learns(data, tmp_path, tiny):
    changes = {"optimizer": "adamw", "schedule": "onecycle", "average_centers": True}
    script.train(config(data, tmp_path, epochs=8, learning_rate=0.02, keep_every=100, **changes))
    rows = log_of(tmp_path)
    assert rows[-1]["train_raw"] < 0.8 * rows[0]["train_raw"]
    assert rows[-1]["val_log_loss"] < 0.6
    best = min(row["val_log_loss"] for row in rows)
    assert load_checkpoint(tmp_path / "best.pth")["metrics"]["log_loss"] == best
    assert {path.name for path in tmp_path.glob("ckpt_*")} == {"ckpt_8.pth"}


def test_an_epoch_can_end_after_some_samples(data, tmp_path, tiny, capsys):
    assert script.train(config(data, tmp_path, epoch_samples=6)) == 0
    real, fake = re.search(r"(\d+) real and (\d+) fake samples", capsys.readouterr().out).groups()
    assert int(real) + int(fake) == 6
    rows = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert [round(row["images_per_second"] * row["seconds"]) for row in rows] == [6, 6]


def test_the_published_decay_of_the_learning_rate(data, tmp_path, tiny):
    script.train(config(data, tmp_path, epochs=3, max_train_videos=2))
    assert [row["lr"] for row in log_of(tmp_path)] == pytest.approx([0.01, 0.0095, 0.009025])


def test_a_published_checkpoint_gives_weights_epoch_and_centres(data, tmp_path, tiny, capsys):
    """Its centres are those that were doubled after every epoch; numpy numbers lie in its logs."""
    torch.manual_seed(5)
    published = torch.randn(2, 64) * 2
    old = {"logs": {"epoch": np.int64(2), "lr": np.float64(9e-4)}, "state_dict": TinyWSDAN().state_dict(),
           "feature_center": published}  # fmt: skip
    save_checkpoint(old, tmp_path / "ckpt_2.pth")
    centers = FeatureCenters(2, 64)
    script.checkpoint_form(config(data, tmp_path), centers).load_state(old)
    assert centers.scale.tolist() == [1, 1] and torch.equal(centers.values, published)
    script.train(config(data, tmp_path, ckpt=str(tmp_path / "ckpt_2.pth"), epochs=3))
    assert "no optimizer state" in capsys.readouterr().out
    assert [row["epoch"] for row in log_of(tmp_path)] == [3]
    moved = load_checkpoint(tmp_path / "last.pth")["feature_center"]
    assert (normalize(moved) - normalize(published)).norm(dim=1).max() < 0.3


def test_wrong_checkpoints_are_refused_in_a_line(data, tmp_path, tiny, monkeypatch, capsys):
    script.train(config(data, tmp_path / "run", epochs=1))
    last = tmp_path / "run" / "last.pth"
    cut, other, classes, bare = (tmp_path / f"{name}.pth" for name in ("cut", "other", "classes", "bare"))
    cut.write_bytes(last.read_bytes()[:-200])
    save_checkpoint({"epoch": 1, "state_dict": nn.Linear(2, 2).state_dict()}, other)
    save_checkpoint({"logs": {"epoch": 1}, "state_dict": TinyWSDAN(3).state_dict()}, classes)
    save_checkpoint({"logs": {"epoch": 1}, "state_dict": TinyWSDAN().state_dict()}, bare)
    capsys.readouterr()
    for path, said in ((cut, "damaged"), (other, "another network"), (classes, "fc.weight has another shape"),
                       (bare, "feature_center"), (tmp_path / "no.pth", "ckpt: no such file")):  # fmt: skip
        arguments = keys(data, tmp_path / "next", ckpt=str(path), epochs=2, pretrained=None)
        arguments = [f"{key}={value}" for key, value in arguments.items()]
        assert run_script(script, WSDANConfig, PUBLISHED, *arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and said in error, error
    with pytest.raises(ConfigError, match="ckpt=auto"):
        script.train(config(data, tmp_path / "run", ckpt=False))


def test_a_batch_can_not_change_inside_an_epoch(data, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(runs.RunFolder, "due", lambda self: os.kill(os.getpid(), signal.SIGINT))
    assert script.train(config(data, tmp_path)) == 130
    with pytest.raises(ConfigError, match="samples a step: 4 in .*last.pth, now 3"):
        script.train(config(data, tmp_path, batch_size=3))
