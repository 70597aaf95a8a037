"""Training: the script end to end, and a stopped run that goes on as if it had not been stopped."""

import importlib.util
import json
import os
import shutil
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
from torch import nn

from models import xception
from utils import engine, runs, training
from utils import xception_recipe as recipe
from utils.checkpoint import load_checkpoint, save_checkpoint, save_weights
from utils.config import load_config
from utils.datasets import FaceDataset
from utils.errors import ConfigError, DataError, WeightsError
from utils.schemas import XceptionConfig

ROOT = Path(__file__).resolve().parent.parent


class TinyNet(nn.Module):
    """Stands in for Xception where only the machinery around it is tested."""

    def __init__(self, num_classes: int = 2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, stride=4)
        self.bn1 = nn.BatchNorm2d(8)
        self.last_linear = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.last_linear(torch.relu(self.bn1(self.conv1(x))).mean(dim=(2, 3)))


class NoNormNet(TinyNet):
    """Without batch norm, so that a batch can be shared out without changing the result."""

    def __init__(self, num_classes: int = 2):
        super().__init__(num_classes)
        self.bn1 = nn.Identity()


@pytest.fixture(scope="module")
def data(tmp_path_factory, clip) -> Path:
    """Eight training and four validation videos of two crops: frames of a real clip, "fakes" as negatives."""
    root = tmp_path_factory.mktemp("data")
    video, rows = cv2.VideoCapture(str(clip)), ["name,is_fake,n_frame,set_name"]
    for k in range(12):
        name, fake = f"video{k:02d}", k % 2
        (root / "faces" / name).mkdir(parents=True)
        for number in range(2):
            frame = cv2.resize(video.read()[1], (320, 320), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(root / "faces" / name / f"{number:03d}.png"), 255 - frame if fake else frame)
        rows.append(f"{name},{fake},2,{'train' if k < 8 else 'val'}")
    video.release()
    (root / "list.csv").write_text("\n".join(rows) + "\n")
    return root


def keys(data: Path, save_dir: Path, **changes) -> dict:
    values = {
        "data_root": str(data / "faces"), "data_list": str(data / "list.csv"), "save_dir": str(save_dir),
        "resume": "auto", "image_size": 71, "batch_size": 4, "n_epoches": 2, "num_workers": 0,
        "real_fraction": 1.0, "fake_fraction": 1.0, "augmentation": "bundled", "tensorboard": False,
        "device": "cpu",
    }  # fmt: skip
    return values | changes


def config(data: Path, save_dir: Path, **changes) -> XceptionConfig:
    return XceptionConfig(**keys(data, save_dir, **changes))


@pytest.fixture
def tiny(monkeypatch):
    """The recipe with the small network, on one thread."""
    monkeypatch.setattr(recipe, "xception", TinyNet)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def log_of(save_dir: Path) -> list[dict]:
    return [json.loads(line) for line in (save_dir / "log.jsonl").read_text().splitlines()]


def run_script(*arguments: str) -> subprocess.CompletedProcess:
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
    done = run_script(str(conf), "n_epoches=1", "max_train_videos=4")
    assert done.returncode == 0, done.stderr
    for said in ("effective batch: 4", "device: cpu", "4 real and 4 fake samples of 2 real and 2 fake videos",
                 "parameters: 20,811,050", str(save_dir), "learning rate: 1e-06"):  # fmt: skip
        assert said in done.stdout

    names = {path.name for path in save_dir.iterdir()}
    assert names == {"ckpt-1.pth", "best.pth", "last.pth", "log.jsonl", "tensorboard"}
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
    from utils.ensemble import build_ensemble
    from utils.metrics import frame_metrics
    from utils.schemas import SubmissionConfig

    ensemble = build_ensemble(SubmissionConfig(ensemble=[("xception", str(weights), 1.0)]))
    paths = [data / "faces" / f"video{k:02d}" / f"{n:03d}.png" for k in range(8, 12) for n in range(2)]
    faces = np.stack([cv2.imread(str(path))[..., ::-1] for path in paths])
    return frame_metrics(np.array([0, 0, 1, 1] * 2), ensemble.predict(faces))["log_loss"]


def test_stopped_and_resumed_is_unbroken(data, tmp_path, tiny, monkeypatch, capsys):
    """A SIGTERM inside each epoch; the weights, momentum and log are bit for bit those of an unbroken run."""
    changes = {"optimizer": "adamw", "schedule": "onecycle", "balance": True, "ema": 0.9, "self_blended": 0.5}
    assert recipe.train(config(data, tmp_path / "whole", **changes)) == 0

    steps = []

    def due(self) -> bool:
        steps.append(1)
        if len(steps) in (2, 7):
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    monkeypatch.setattr(runs.RunFolder, "due", due)
    broken = config(data, tmp_path / "broken", **changes)
    assert recipe.train(broken) == 128 + signal.SIGTERM
    assert "resume=auto" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "broken" / "last.pth")["tallies"][0]["step"] == 3
    assert recipe.train(broken) == 128 + signal.SIGTERM
    assert recipe.train(broken) == 0

    whole, resumed = (load_checkpoint(tmp_path / name / "last.pth") for name in ("whole", "broken"))
    for part in ("state_dict", "trained_state_dict", "n_averaged", "optimizer"):
        assert_equal(whole[part], resumed[part])
    assert whole["metrics"] == resumed["metrics"] and whole["best"] == resumed["best"]
    timeless = [
        [{key: value for key, value in row.items() if "second" not in key} for row in log_of(tmp_path / name)]
        for name in ("whole", "broken")
    ]
    assert timeless[0] == timeless[1] and len(timeless[0]) == 2


def test_stopped_while_validating_goes_on_with_validating(data, tmp_path, tiny, monkeypatch):
    recipe.train(config(data, tmp_path / "whole", n_epoches=1))
    evaluate = engine.evaluate

    def interrupted(*arguments, **keywords):
        os.kill(os.getpid(), signal.SIGINT)
        return evaluate(*arguments, **keywords)

    monkeypatch.setattr(engine, "evaluate", interrupted)
    assert recipe.train(config(data, tmp_path / "broken", n_epoches=1)) == 130
    assert load_checkpoint(tmp_path / "broken" / "last.pth")["epoch"] == 0
    monkeypatch.setattr(engine, "evaluate", evaluate)
    assert recipe.train(config(data, tmp_path / "broken", n_epoches=1)) == 0
    whole, resumed = (load_checkpoint(tmp_path / name / "best.pth") for name in ("whole", "broken"))
    assert_equal(whole["state_dict"], resumed["state_dict"])
    assert whole["metrics"] == resumed["metrics"]


def assert_equal(a, b) -> None:
    """Nested dicts and lists of tensors and numbers, bit for bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b


def test_more_epochs_later_are_the_same_as_at_once(data, tmp_path, tiny, capsys):
    """The step schedule, from a kept checkpoint; rows of the log that are trained again are replaced."""
    recipe.train(config(data, tmp_path / "whole", n_epoches=3))
    first = config(data, tmp_path / "parts", n_epoches=2)
    recipe.train(first)
    recipe.train(config(data, tmp_path / "parts", n_epoches=3, resume="ckpt-1.pth"))
    whole, parts = (load_checkpoint(tmp_path / name / "last.pth") for name in ("whole", "parts"))
    assert_equal(whole["state_dict"], parts["state_dict"])
    assert [row["epoch"] for row in log_of(tmp_path / "parts")] == [1, 2, 3]
    assert recipe.train(config(data, tmp_path / "parts", n_epoches=3)) == 0
    assert "nothing left to do" in capsys.readouterr().out


def test_an_epoch_can_end_after_some_samples_drawn_anew(data, tmp_path, tiny):
    task = recipe.XceptionTask(config(data, tmp_path, epoch_samples=6), torch.device("cpu"), True)
    first, second = task.epoch_order(0), task.epoch_order(1)
    assert len(first) == len(second) == 6 and set(first) != set(second)
    assert first.tolist() == task.epoch_order(0).tolist()


def test_training_learns(data, tmp_path, tiny):
    changes = {"augmentation": "published", "optimizer": "adamw", "schedule": "onecycle"}
    recipe.train(config(data, tmp_path, n_epoches=8, learning_rate=0.05, **changes))
    rows = log_of(tmp_path)
    assert rows[-1]["train_loss"] < 0.8 * rows[0]["train_loss"]
    best = min(row["val_log_loss"] for row in rows)
    assert load_checkpoint(tmp_path / "best.pth")["metrics"]["log_loss"] == best


def test_the_published_resume_may_be_absent_once(data, tmp_path, tiny, capsys):
    published = config(data, tmp_path, resume="best.pth", n_epoches=1)
    recipe.train(published)
    assert f"{tmp_path / 'best.pth'} is not there: training starts afresh" in capsys.readouterr().out
    recipe.train(config(data, tmp_path, resume="best.pth"))
    assert [row["epoch"] for row in log_of(tmp_path)] == [1, 2]
    (tmp_path / "best.pth").unlink()
    with pytest.raises(ConfigError, match="save_dir: .*last.pth is of an earlier run"):
        recipe.train(published)
    with pytest.raises(ConfigError, match="resume: no such file: .*ckpt-9.pth"):
        recipe.train(config(data, tmp_path, resume="ckpt-9.pth"))


def test_a_published_checkpoint_gives_weights_and_epoch(data, tmp_path, tiny, capsys):
    torch.manual_seed(5)
    state = {f"module.{name}": value for name, value in TinyNet().state_dict().items()}
    old = {"epoch": 1, "arch": "xception", "acc1": np.float64(91.5), "state_dict": state}
    save_checkpoint(old, tmp_path / "best.pth")
    recipe.train(config(data, tmp_path, resume="best.pth"))
    assert "no optimizer state" in capsys.readouterr().out
    assert [row["epoch"] for row in log_of(tmp_path)] == [2]


def test_what_orders_the_samples_can_not_change_inside_an_epoch(data, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(runs.RunFolder, "due", lambda self: os.kill(os.getpid(), signal.SIGINT))
    assert recipe.train(config(data, tmp_path)) == 130
    with pytest.raises(ConfigError, match="batch_size: 4 in .*last.pth, now 8"):
        recipe.train(config(data, tmp_path, batch_size=8))
    # a checkpoint from before there was such a key is one of a run that did without
    checkpoint = load_checkpoint(tmp_path / "last.pth")
    del checkpoint["config"]["self_blended"]
    save_checkpoint(checkpoint, tmp_path / "last.pth")
    with pytest.raises(ConfigError, match="self_blended: 0.0 in .*last.pth, now 0.5"):
        recipe.train(config(data, tmp_path, self_blended=0.5))


def test_a_loss_that_is_no_number_stops_and_names_the_videos(data, tmp_path, tiny):
    with pytest.raises(DataError, match="the loss is (nan|inf) at epoch 1, step .*video0"):
        recipe.train(config(data, tmp_path, learning_rate=1e30))
    assert not (tmp_path / "last.pth").exists()


def test_more_than_a_hundredth_of_broken_crops_stops(data, tmp_path, tiny, monkeypatch, capsys):
    read = FaceDataset._read
    monkeypatch.setattr(FaceDataset, "_read", lambda *arguments: (*read(*arguments)[:2], ["x/000.png: gone"]))
    with pytest.raises(DataError, match="4 broken crops, more than 1% of 16 samples; the last: x/000.png"):
        recipe.train(config(data, tmp_path))
    assert capsys.readouterr().err.count("broken crop, replaced: x/000.png: gone") == 4


def test_pretrained_weights_start_the_run(data, tmp_path, monkeypatch):
    """A classifier of two outputs is taken over, another one isn't, and what isn't Xception is refused."""
    monkeypatch.setattr(recipe, "xception", TinyNet)
    for outputs in (2, 1000):
        source = TinyNet(outputs)
        save_checkpoint({"state_dict": source.state_dict()}, tmp_path / f"{outputs}.pth")
        conf = config(data, tmp_path, pretrained=str(tmp_path / f"{outputs}.pth"))
        model = recipe.build_model(conf, torch.device("cpu"), start=True)
        assert torch.equal(model.conv1.weight, source.conv1.weight)
        assert torch.equal(model.last_linear.bias, source.last_linear.bias) == (outputs == 2)
    save_checkpoint({"state_dict": {"conv1.weight": source.conv1.weight}}, tmp_path / "part.pth")
    with pytest.raises(WeightsError, match="part.pth.*conv1.bias"):
        recipe.build_model(config(data, tmp_path, pretrained=str(tmp_path / "part.pth")), "cpu", start=True)


def test_two_processes_train_as_one(data, tmp_path, tiny, monkeypatch):
    """The same batches shared out: the same weights to rounding, each validation sample counted once."""
    monkeypatch.setattr(recipe, "xception", NoNormNet)
    changes = {"max_valid_videos": 3, "num_workers": 2, "n_epoches": 1}
    recipe.train(config(data, tmp_path / "one", **changes))
    assert run_processes(train_process, config(data, tmp_path / "two", **changes)) == [0, 0]
    one, two = (load_checkpoint(tmp_path / name / "last.pth") for name in ("one", "two"))
    for name, value in one["state_dict"].items():
        assert torch.allclose(value, two["state_dict"][name], atol=1e-6), name
    (alone,), (together,) = (log_of(tmp_path / name) for name in ("one", "two"))
    for key in ("val_log_loss", "train_loss", "train_accuracy"):
        assert together[key] == pytest.approx(alone[key], abs=1e-5), key


def train_process(values: dict) -> int:
    recipe.xception = NoNormNet
    return recipe.train(XceptionConfig(**values))


def stopped_process(values: dict) -> int:
    """A SIGTERM to the second process alone, after its second step."""
    seed_step = training.seed_step

    def killing(seed: int, epoch: int, step: int) -> None:
        if step == 1 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        seed_step(seed, epoch, step)

    training.seed_step = killing
    recipe.xception = TinyNet
    return recipe.train(XceptionConfig(**values))


def tiny_process(values: dict) -> int:
    recipe.xception = TinyNet
    return recipe.train(XceptionConfig(**values))


def test_two_processes_stopped_and_resumed_are_unbroken(data, tmp_path):
    whole, broken = (config(data, tmp_path / name, n_epoches=1) for name in ("whole", "broken"))
    assert run_processes(tiny_process, whole) == [0, 0]
    assert run_processes(stopped_process, broken) == [128 + signal.SIGTERM] * 2
    assert len(load_checkpoint(tmp_path / "broken" / "last.pth")["tallies"]) == 2
    assert run_processes(tiny_process, broken) == [0, 0]
    whole, resumed = (load_checkpoint(tmp_path / name / "last.pth") for name in ("whole", "broken"))
    assert_equal(whole["state_dict"], resumed["state_dict"])
    assert_equal(whole["optimizer"], resumed["optimizer"])
    assert whole["metrics"] == resumed["metrics"]
    logs = [log_of(tmp_path / name)[0] for name in ("whole", "broken")]
    assert logs[0]["train_loss"] == logs[1]["train_loss"]


def test_errors_are_one_line_with_their_exit_code(data, tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("train_xception", ROOT / "train-xception.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    published, folder = str(ROOT / "xception-conf.py"), f"save_dir={tmp_path}"
    for code, said, arguments in (
        (2, "batch_size", [published, "batchsize=4"]),
        (2, "no-conf.py", ["no-conf.py"]),
        (2, "no such weights file", [published, folder, f"data_list={data / 'list.csv'}",
                                     f"data_root={data / 'faces'}", "pretrained=no.pth"]),
        (1, "no.csv is missing", [published, folder, "data_list=no.csv"]),
        (1, "data_root", [published, folder, f"data_list={data / 'list.csv'}", f"data_root={tmp_path}"]),
    ):  # fmt: skip
        assert script.main(arguments) == code
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and said in error
    with pytest.raises(SystemExit) as left:
        script.main(["--help"])
    assert left.value.code == 0 and "torchrun" in capsys.readouterr().out


def test_the_published_config_is_unchanged():
    conf = load_config(ROOT / "xception-conf.py", XceptionConfig)
    assert (conf.batch_size, conf.num_workers, conf.n_epoches, conf.resume) == (128, 20, 50, "best.pth")
    assert conf.data_root == "/mnt/ssd0/dfdc" and conf.save_dir == str(ROOT / "output/dfdc-xception")
    assert (conf.optimizer, conf.learning_rate, conf.momentum, conf.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
    assert (conf.schedule, conf.step_epochs, conf.step_factor) == ("step", 2, 0.2)
    assert (conf.real_fraction, conf.fake_fraction, conf.balance) == (0.25, 0.05, False)
    assert (conf.pretrained, conf.augmentation, conf.seed) == (None, "published", 0)
    assert (conf.image_size, conf.window, conf.mean, conf.std) == (299, None, (0.5,) * 3, (0.5,) * 3)
