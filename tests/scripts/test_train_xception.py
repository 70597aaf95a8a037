"""Xception training: the script end to end, what it starts and goes on from, the published config."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from fill import fill
from scripts import run_script
from training_runs import TinyNet, config, keys, log_of, script

from models import xception
from utils.core.config import load_config
from utils.core.errors import ConfigError, WeightsError
from utils.training.config import XceptionConfig
from utils.weights.checkpoint import load_checkpoint, save_checkpoint, save_weights

ROOT = Path(__file__).resolve().parents[2]


def start_script(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "train-xception.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=1200)


def test_the_script_end_to_end(data, tmp_path):
    """A config file, one epoch of the real network, exported weights that score as the log says."""
    save_dir, conf, start = tmp_path / "run", tmp_path / "conf.py", tmp_path / "start.safetensors"
    net = fill(xception(num_classes=2))
    net.last_linear.weight.data *= 4  # far from undecided
    save_weights(net, start)
    values = keys(data, save_dir, n_epoches=5, num_workers=1, tensorboard=True, window=(70, 88, 250, 268))
    values |= {"pretrained": str(start), "learning_rate": 1e-6}
    conf.write_text("".join(f"{key} = {value!r}\n" for key, value in values.items()))
    done = start_script(str(conf), "n_epoches=1", "max_train_videos=4")
    assert done.returncode == 0, done.stderr
    for said in ("effective batch: 4", "device: cpu", "4 real and 4 fake samples of 2 real and 2 fake videos",
                 "parameters: 20,811,050", str(save_dir), "learning rate: 1e-06"):  # fmt: skip
        assert said in done.stdout

    names = {path.name for path in save_dir.iterdir()}
    assert names == {"ckpt-1.pth", "best.pth", "last.pth", "log.jsonl", "curves.png", "first-batch.png",
                     "tensorboard"}  # fmt: skip
    (row,) = log_of(save_dir)
    assert row["epoch"] == 1 and row["lr"] == 1e-6 and row["broken_crops"] == 0
    checkpoint = torch.load(save_dir / "best.pth", weights_only=True)
    assert (checkpoint["epoch"], checkpoint["arch"]) == (1, "xception")
    assert checkpoint["acc1"] == pytest.approx(100 * row["val_accuracy"])
    assert checkpoint["config"]["n_epoches"] == 1
    assert not any(name.startswith("module.") for name in checkpoint["state_dict"])

    weights = tmp_path / "weights.safetensors"
    tool = [sys.executable, "tools/export_weights.py", str(save_dir / "best.pth"), str(weights)]
    subprocess.run(tool, check=True, cwd=ROOT, timeout=600, stdout=subprocess.DEVNULL)
    assert score_log_loss(weights, data) == pytest.approx(row["val_log_loss"], abs=2e-3)
    assert row["val_log_loss"] > 0.8  # not what any undecided network has
    shutil.rmtree(save_dir)  # half a gigabyte, which pytest would keep


def score_log_loss(weights: Path, data: Path) -> float:
    """Log loss of the validation crops as a submission would score them."""
    from utils.core.metrics import frame_metrics
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.ensemble import build_ensemble

    ensemble = build_ensemble(SubmissionConfig(ensemble=[("xception", str(weights), 1.0)]))
    paths = [data / "faces" / f"video{k:02d}" / f"{n:03d}.png" for k in range(8, 12) for n in range(2)]
    faces = np.stack([cv2.imread(str(path))[..., ::-1] for path in paths])
    return frame_metrics(np.array([0, 0, 1, 1] * 2), ensemble.predict(faces))["log_loss"]


def test_an_epoch_can_end_after_some_samples_drawn_anew(data, tmp_path, tiny):
    assert script.train(config(data, tmp_path, epoch_samples=6)) == 0
    rows = map(json.loads, (tmp_path / "log.jsonl").read_text().splitlines())
    assert [round(row["images_per_second"] * row["seconds"]) for row in rows] == [4, 4]  # a batch is full


def test_training_learns(data, tmp_path, tiny):
    changes = {"augmentation": "published", "optimizer": "adamw", "schedule": "onecycle"}
    script.train(config(data, tmp_path, n_epoches=8, learning_rate=0.05, **changes))
    rows = log_of(tmp_path)
    assert rows[-1]["train_loss"] < 0.8 * rows[0]["train_loss"]
    best = min(row["val_log_loss"] for row in rows)
    assert load_checkpoint(tmp_path / "best.pth")["metrics"]["log_loss"] == best


def test_the_published_resume_may_be_absent_once(data, tmp_path, tiny, capsys):
    published = config(data, tmp_path, resume="best.pth", n_epoches=1)
    script.train(published)
    assert f"{tmp_path / 'best.pth'} is not there: training starts afresh" in capsys.readouterr().out
    script.train(config(data, tmp_path, resume="best.pth"))
    assert [row["epoch"] for row in log_of(tmp_path)] == [1, 2]
    (tmp_path / "best.pth").unlink()
    with pytest.raises(ConfigError, match="save_dir: .*last.pth is of an earlier run"):
        script.train(published)
    with pytest.raises(ConfigError, match="resume: no such file: .*ckpt-9.pth"):
        script.train(config(data, tmp_path, resume="ckpt-9.pth"))


def test_a_published_checkpoint_gives_weights_and_epoch(data, tmp_path, tiny, capsys):
    torch.manual_seed(5)
    state = {f"module.{name}": value for name, value in TinyNet().state_dict().items()}
    old = {"epoch": 1, "arch": "xception", "acc1": np.float64(91.5), "state_dict": state}
    save_checkpoint(old, tmp_path / "best.pth")
    script.train(config(data, tmp_path, resume="best.pth"))
    assert "no optimizer state" in capsys.readouterr().out
    assert [row["epoch"] for row in log_of(tmp_path)] == [2]


def test_pretrained_weights_start_the_run(data, tmp_path, monkeypatch):
    """A classifier of two outputs is taken over, another one isn't, and what isn't Xception is refused."""
    monkeypatch.setattr(script, "build_network", lambda name: TinyNet())
    for outputs in (2, 1000):
        source = TinyNet(outputs)
        save_checkpoint({"state_dict": source.state_dict()}, tmp_path / f"{outputs}.pth")
        conf = config(data, tmp_path, pretrained=str(tmp_path / f"{outputs}.pth"))
        model = script.build_model(conf, start=True)
        assert torch.equal(model.conv1.weight, source.conv1.weight)
        assert torch.equal(model.last_linear.bias, source.last_linear.bias) == (outputs == 2)
    save_checkpoint({"state_dict": {"conv1.weight": source.conv1.weight}}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match="part.pth.*conv1.bias"):
        script.build_model(config(data, tmp_path, pretrained=str(tmp_path / "part.pth")), start=True)


def test_errors_are_one_line_with_their_exit_code(data, tmp_path, capsys):
    published, folder = str(ROOT / "xception-conf.py"), f"save_dir={tmp_path}"
    for code, said, arguments in (
        (2, "batch_size", [published, "batchsize=4"]),
        (2, "no-conf.py", ["no-conf.py"]),
        (2, "no such weights file", [published, folder, f"data_list={data / 'list.csv'}",
                                     f"data_root={data / 'faces'}", "pretrained=no.pth"]),
        (1, "no.csv is missing", [published, folder, "data_list=no.csv"]),
        (1, "data_root", [published, folder, f"data_list={data / 'list.csv'}", f"data_root={tmp_path}"]),
    ):  # fmt: skip
        assert run_script(script, XceptionConfig, *arguments) == code
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and said in error
    assert run_script(script, XceptionConfig, "--help") == 0
    said = capsys.readouterr().out
    assert "torchrun" in said and "n_epoches: int = 50" in said and "resume: str or None" in said


def test_the_published_config_is_unchanged():
    conf = load_config(ROOT / "xception-conf.py", XceptionConfig)
    assert (conf.batch_size, conf.num_workers, conf.n_epoches, conf.resume) == (128, 20, 50, "best.pth")
    assert conf.data_root == "/mnt/ssd0/dfdc" and conf.save_dir == str(ROOT / "output/dfdc-xception")
    assert (conf.optimizer, conf.learning_rate, conf.momentum, conf.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
    assert (conf.schedule, conf.step_epochs, conf.step_factor) == ("step", 2, 0.2)
    assert (conf.real_fraction, conf.fake_fraction, conf.balance) == (0.25, 0.05, False)
    assert (conf.pretrained, conf.augmentation, conf.seed) == (None, "published", 0)
    assert (conf.image_size, conf.window, conf.mean, conf.std) == (299, None, (0.5,) * 3, (0.5,) * 3)
