"""The engine: stopped runs go on as if unbroken, two processes train as one, bad data stops."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable

import pytest
import torch
import torch.distributed as dist
from processes import run_processes
from training_runs import NoNormNet, TinyNet, assert_equal, config, log_of, script

from utils.core import device as devices
from utils.core.errors import DataError
from utils.core.files import link_whole
from utils.data import batches
from utils.data.datasets import FaceDataset
from utils.training import engine
from utils.training import run as runs
from utils.training.config import XceptionConfig
from utils.training.trainer import Trainer
from utils.weights.checkpoint import load_checkpoint


def test_stopped_and_resumed_is_unbroken(data, tmp_path, tiny, monkeypatch, capsys):
    """A SIGTERM inside each epoch; the weights, momentum and log are bit for bit those of an unbroken run."""
    changes = {"optimizer": "adamw", "schedule": "onecycle", "balance": True, "ema": 0.9, "self_blended": 0.5}
    assert script.train(config(data, tmp_path / "whole", **changes)) == 0

    steps = []

    def due(self) -> bool:
        steps.append(1)
        if len(steps) in (2, 7):
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    monkeypatch.setattr(runs.RunFolder, "due", due)
    broken = config(data, tmp_path / "broken", **changes)
    assert script.train(broken) == 128 + signal.SIGTERM
    assert "resume=auto" in capsys.readouterr().err
    assert load_checkpoint(tmp_path / "broken" / "last.pth")["tallies"][0]["step"] == 3
    assert script.train(broken) == 128 + signal.SIGTERM
    assert script.train(broken) == 0

    whole, resumed = (load_checkpoint(tmp_path / name / "last.pth") for name in ("whole", "broken"))
    for part in ("state_dict", "trained_state_dict", "n_averaged", "optimizer"):
        assert_equal(whole[part], resumed[part])
    assert whole["metrics"] == resumed["metrics"] and whole["best"] == resumed["best"]
    logs = [log_of(tmp_path / name) for name in ("whole", "broken")]
    assert logs[0] == logs[1] and len(logs[0]) == 2


def test_stopped_while_validating_goes_on_with_validating(data, tmp_path, tiny, monkeypatch):
    script.train(config(data, tmp_path / "whole", n_epoches=1))
    evaluate = script.evaluate

    def interrupted(*arguments, **keywords):
        os.kill(os.getpid(), signal.SIGINT)
        return evaluate(*arguments, **keywords)

    monkeypatch.setattr(script, "evaluate", interrupted)
    assert script.train(config(data, tmp_path / "broken", n_epoches=1)) == 130
    assert load_checkpoint(tmp_path / "broken" / "last.pth")["epoch"] == 0
    monkeypatch.setattr(script, "evaluate", evaluate)
    assert script.train(config(data, tmp_path / "broken", n_epoches=1)) == 0
    whole, resumed = (load_checkpoint(tmp_path / name / "best.pth") for name in ("whole", "broken"))
    assert_equal(whole["state_dict"], resumed["state_dict"])
    assert whole["metrics"] == resumed["metrics"]


def test_stopped_while_no_crop_can_be_read_is_saved(data, tmp_path, tiny, monkeypatch):
    """A loading process hangs, as on a disk that is gone; the first SIGTERM is heeded all the same."""
    monkeypatch.setattr(batches, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(torch.utils.data._utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(FaceDataset, "__getitem__", lambda self, key: time.sleep(1000))
    timers, load = [threading.Timer(1, lambda: os.kill(os.getpid(), signal.SIGTERM))], Trainer.load

    def loading(*arguments):
        if timers:  # signals are the run's own from before now on
            timers.pop().start()
        return load(*arguments)

    monkeypatch.setattr(Trainer, "load", loading)
    assert script.train(config(data, tmp_path, num_workers=1)) == 128 + signal.SIGTERM
    assert load_checkpoint(tmp_path / "last.pth")["epoch"] == 0
    assert not multiprocessing.active_children()


def test_a_disk_that_fails_at_an_epoch_s_end_loses_neither_best_nor_a_row(data, tmp_path, tiny, monkeypatch):
    script.train(config(data, tmp_path / "whole", n_epoches=1))

    def failing(source, path):
        if path.name == "best.pth":
            raise OSError(28, "No space left on device", str(path))
        link_whole(source, path)

    monkeypatch.setattr(runs, "link_whole", failing)
    with pytest.raises(OSError):
        script.train(config(data, tmp_path / "broken", n_epoches=1))
    monkeypatch.setattr(runs, "link_whole", link_whole)
    assert script.train(config(data, tmp_path / "broken", n_epoches=1)) == 0
    for name in ("best.pth", "last.pth"):
        whole, again = (load_checkpoint(tmp_path / run / name) for run in ("whole", "broken"))
        assert_equal(whole["state_dict"], again["state_dict"])
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "broken")


def test_weights_that_give_no_number_in_validation_stop_the_run(data, tmp_path, tiny, monkeypatch):
    predict = script.predict
    monkeypatch.setattr(script, "predict", lambda *given: {"": predict(*given)[""] * float("nan")})
    with pytest.raises(DataError, match="8 of 8 samples got no finite probability.*learning_rate"):
        script.train(config(data, tmp_path, n_epoches=1))
    assert not (tmp_path / "best.pth").exists()


def test_a_loss_that_is_no_number_stops_and_names_the_videos(data, tmp_path, tiny):
    with pytest.raises(DataError, match="the loss is (nan|inf) at epoch 1, step .*video0"):
        script.train(config(data, tmp_path, learning_rate=1e30))
    assert not (tmp_path / "last.pth").exists()


def test_more_than_a_hundredth_of_broken_crops_stops(data, tmp_path, tiny, monkeypatch, capsys):
    read = FaceDataset._read
    monkeypatch.setattr(FaceDataset, "_read", lambda *arguments: (*read(*arguments)[:2], ["x/000.png: gone"]))
    with pytest.raises(DataError, match="4 broken crops, more than 1% of 16 samples; the last: x/000.png"):
        script.train(config(data, tmp_path))
    assert capsys.readouterr().err.count("broken crop, replaced: x/000.png: gone") == 4


def test_two_processes_train_as_one(data, tmp_path, tiny, monkeypatch):
    """The same batches shared out: the same weights to rounding, each validation sample counted once."""
    monkeypatch.setattr(script, "build_network", lambda name: NoNormNet())
    changes = {"max_valid_videos": 3, "num_workers": 2, "n_epoches": 1}
    script.train(config(data, tmp_path / "one", **changes))
    assert run_processes(train_process, config(data, tmp_path / "two", **changes)) == [0, 0]
    one, two = (load_checkpoint(tmp_path / name / "last.pth") for name in ("one", "two"))
    for name, value in one["state_dict"].items():
        assert torch.allclose(value, two["state_dict"][name], atol=1e-6), name
    (alone,), (together,) = (log_of(tmp_path / name) for name in ("one", "two"))
    for key in ("val_log_loss", "train_loss", "train_accuracy"):
        assert together[key] == pytest.approx(alone[key], abs=1e-5), key


def test_validation_on_a_gpu_has_one_shape(data, tmp_path, tiny, monkeypatch):
    """Its last batch is filled up, which changes no metric."""
    changes = {"max_valid_videos": 3, "n_epoches": 1}  # six samples in batches of four
    script.train(config(data, tmp_path / "cpu", **changes))
    predict, sizes = script.predict, []
    monkeypatch.setattr(script, "predict", lambda *given: sizes.append(len(given[1])) or predict(*given))
    monkeypatch.setattr(devices, "GPU_TYPES", {"cpu"})
    script.train(config(data, tmp_path / "gpu", **changes))
    (plain,), (filled,) = (log_of(tmp_path / name) for name in ("cpu", "gpu"))
    assert sizes == [4, 4] and filled["val_log_loss"] == pytest.approx(plain["val_log_loss"], abs=1e-6)


def train_process(values: dict) -> int:
    script.build_network = lambda name: NoNormNet()
    return script.train(XceptionConfig(**values))


def stopped_process(values: dict) -> int:
    """A SIGTERM to the second process alone, after its second step."""
    seed_step = engine.seed_step

    def killing(seed: int, epoch: int, step: int) -> None:
        if step == 1 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGTERM)
        seed_step(seed, epoch, step)

    engine.seed_step = killing
    script.build_network = lambda name: TinyNet()
    return script.train(XceptionConfig(**values))


def tiny_process(values: dict) -> int:
    script.build_network = lambda name: TinyNet()
    return script.train(XceptionConfig(**values))


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


def counting_process(values: dict) -> int:
    """Values asked of the device, and messages to the other process, in the steps of an epoch."""
    script.build_network = lambda name: TinyNet()
    now, in_steps, heed = [0, 0], [0, 0], Trainer.heed

    def counted(function: Callable, place: int) -> Callable:
        def call(*arguments, **keywords):
            now[place] += 1
            return function(*arguments, **keywords)

        return call

    def at_the_end_of_a_step(trainer: Trainer, request: int) -> None:
        in_steps[:] = [count + more for count, more in zip(in_steps, now, strict=True)]
        heed(trainer, request)
        now[:] = [0, 0]

    def from_the_first_step(*arguments) -> tuple:
        if not any(in_steps):
            now[:] = [0, 0]
        return to_device(*arguments)

    to_device, Trainer.to_device, Trainer.heed = Trainer.to_device, from_the_first_step, at_the_end_of_a_step
    torch.Tensor.item = counted(torch.Tensor.item, 0)
    torch.Tensor.tolist = counted(torch.Tensor.tolist, 0)
    dist.all_reduce = counted(dist.all_reduce, 1)
    assert script.train(XceptionConfig(**values)) == 0
    return in_steps[0] * 100 + in_steps[1]


def test_a_step_waits_for_the_device_once(data, tmp_path):
    """And sends one message; the gradients' own go another way."""
    given = config(data, tmp_path, n_epoches=1, ema=0.9)
    assert run_processes(counting_process, given) == [4 * 100 + 4] * 2
