"""The engine: stopped runs go on as if unbroken, two processes train as one, bad data stops."""

import os
import signal

import pytest
import torch
from processes import run_processes
from training_runs import NoNormNet, TinyNet, assert_equal, config, log_of

from utils.core.errors import ConfigError, DataError
from utils.data.datasets import FaceDataset
from utils.training import engine as training
from utils.training import run as runs
from utils.training import trainer as engine
from utils.training import xception_recipe as recipe
from utils.training.config import XceptionConfig
from utils.weights.checkpoint import load_checkpoint, save_checkpoint


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
    logs = [log_of(tmp_path / name) for name in ("whole", "broken")]
    assert logs[0] == logs[1] and len(logs[0]) == 2


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


def test_a_disk_that_fails_at_an_epoch_s_end_loses_neither_best_nor_a_row(data, tmp_path, tiny, monkeypatch):
    recipe.train(config(data, tmp_path / "whole", n_epoches=1))

    def failing(checkpoint, path):
        if path.name == "best.pth":
            raise OSError(28, "No space left on device", str(path))
        save_checkpoint(checkpoint, path)

    monkeypatch.setattr(runs, "save_checkpoint", failing)
    with pytest.raises(OSError):
        recipe.train(config(data, tmp_path / "broken", n_epoches=1))
    monkeypatch.setattr(runs, "save_checkpoint", save_checkpoint)
    assert recipe.train(config(data, tmp_path / "broken", n_epoches=1)) == 0
    for name in ("best.pth", "last.pth"):
        whole, again = (load_checkpoint(tmp_path / run / name) for run in ("whole", "broken"))
        assert_equal(whole["state_dict"], again["state_dict"])
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "broken")


def test_weights_that_give_no_number_in_validation_stop_the_run(data, tmp_path, tiny, monkeypatch):
    def ruined(predict, *arguments, **keywords):
        return training.evaluate(
            lambda images: {"": predict(images)[""] * float("nan")}, *arguments, **keywords
        )

    monkeypatch.setattr(engine, "evaluate", ruined)
    with pytest.raises(DataError, match="8 of 8 samples got no finite probability.*learning_rate"):
        recipe.train(config(data, tmp_path, n_epoches=1))
    assert not (tmp_path / "best.pth").exists()


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
