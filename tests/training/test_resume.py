"""Going on with a run: from which checkpoint, with what else in the config, and which ones are kept."""

import os
import shutil
import signal

import pytest
from processes import run_processes
from training_runs import TinyNet, assert_equal, config, log_of, script

from utils.core.errors import ConfigError, WeightsError
from utils.training import run as runs
from utils.training.config import XceptionConfig
from utils.weights.checkpoint import load_checkpoint, save_checkpoint


def test_more_epochs_later_are_the_same_as_at_once(data, tmp_path, tiny, capsys):
    """The step schedule, from a kept checkpoint; rows of the log that are trained again are replaced."""
    script.train(config(data, tmp_path / "whole", n_epoches=3))
    first = config(data, tmp_path / "parts", n_epoches=2)
    script.train(first)
    script.train(config(data, tmp_path / "parts", n_epoches=3, resume="ckpt-1.pth"))
    whole, parts = (load_checkpoint(tmp_path / name / "last.pth") for name in ("whole", "parts"))
    assert_equal(whole["state_dict"], parts["state_dict"])
    assert [row["epoch"] for row in log_of(tmp_path / "parts")] == [1, 2, 3]
    assert script.train(config(data, tmp_path / "parts", n_epoches=3)) == 0
    assert "nothing left to do" in capsys.readouterr().out


def test_what_orders_the_samples_can_not_change_inside_an_epoch(data, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(runs.RunFolder, "due", lambda self: os.kill(os.getpid(), signal.SIGINT))
    assert script.train(config(data, tmp_path)) == 130
    with pytest.raises(ConfigError, match="batch_size: 4 in .*last.pth, now 8"):
        script.train(config(data, tmp_path, batch_size=8))
    # a checkpoint from before there was such a key is one of a run that did without
    checkpoint = load_checkpoint(tmp_path / "last.pth")
    del checkpoint["config"]["self_blended"]
    save_checkpoint(checkpoint, tmp_path / "last.pth")
    with pytest.raises(ConfigError, match="self_blended: 0.0 in .*last.pth, now 0.5"):
        script.train(config(data, tmp_path, self_blended=0.5))


def test_lists_can_not_change_inside_an_epoch_and_the_best_is_of_the_same_faces(
    data, tmp_path, tiny, monkeypatch, capsys
):
    listed = tmp_path / "list.csv"
    shutil.copy(data / "list.csv", listed)
    changes = {"data_list": str(listed)}
    with monkeypatch.context() as patched:
        patched.setattr(runs.RunFolder, "due", lambda self: os.kill(os.getpid(), signal.SIGINT))
        assert script.train(config(data, tmp_path / "run", **changes)) == 130
    whole = listed.read_text()
    header, *rows = whole.splitlines()
    listed.write_text("\n".join([header, *rows[1::-1], *rows[2:]]))
    with pytest.raises(ConfigError, match="last.pth is inside an epoch of other samples"):
        script.train(config(data, tmp_path / "run", **changes))
    listed.write_text(whole)
    assert script.train(config(data, tmp_path / "run", n_epoches=1, **changes)) == 0
    last = load_checkpoint(tmp_path / "run" / "last.pth")
    save_checkpoint(last | {"best": 0.0}, tmp_path / "run" / "last.pth")
    capsys.readouterr()
    assert script.train(config(data, tmp_path / "run", max_valid_videos=2, **changes)) == 0
    assert "other faces" in capsys.readouterr().out
    assert load_checkpoint(tmp_path / "run" / "last.pth")["best"] > 0


def test_momentum_and_weight_decay_are_the_configs(data, tmp_path, tiny):
    script.train(config(data, tmp_path, n_epoches=1))
    script.train(config(data, tmp_path, momentum=0.5, weight_decay=0.25))
    (group,) = load_checkpoint(tmp_path / "last.pth")["optimizer"]["param_groups"]
    assert (group["momentum"], group["weight_decay"]) == (0.5, 0.25)


def test_another_folders_checkpoint_overwrites_no_run(data, tmp_path, tiny):
    for name in ("a", "b"):
        script.train(config(data, tmp_path / name, n_epoches=1))
    with pytest.raises(ConfigError, match="b/last.pth is of an earlier run"):
        script.train(config(data, tmp_path / "b", resume=str(tmp_path / "a" / "last.pth")))
    assert script.train(config(data, tmp_path / "c", resume=str(tmp_path / "a" / "last.pth"))) == 0


def test_an_older_checkpoint_goes_on_inside_an_epoch(data, tmp_path, tiny, monkeypatch):
    """One as it was written by hand here, with all that a checkpoint had before its keys grew."""
    changes = {"balance": True, "ema": 0.9}
    script.train(config(data, tmp_path / "whole", **changes))
    monkeypatch.setattr(runs.RunFolder, "due", lambda self: os.kill(os.getpid(), signal.SIGINT))
    broken = config(data, tmp_path / "broken", **changes)
    assert script.train(broken) == 130
    monkeypatch.undo()
    monkeypatch.setattr(script, "build_network", lambda name: TinyNet())
    now = load_checkpoint(tmp_path / "broken" / "last.pth")
    tally = now["tallies"][0]
    save_checkpoint(
        {
            "epoch": 0, "arch": "xception", "acc1": 0.0, "state_dict": now["state_dict"],
            "trained_state_dict": now["trained_state_dict"], "n_averaged": 2,
            "optimizer": now["optimizer"], "scaler": {}, "batch": 4, "best": float("inf"), "metrics": {},
            "tallies": [{"step": 2, "n": 8, "sums": tally["sums"], "seconds": 1.5, "broken": 0}],
            "config": {key: now["config"][key] for key in (
                "data_list", "seed", "batch_size", "train_sets", "real_fraction", "fake_fraction", "balance",
                "max_train_videos")},
        },
        tmp_path / "broken" / "last.pth",
    )  # fmt: skip
    assert script.train(broken) == 0
    whole, resumed = (load_checkpoint(tmp_path / name / "last.pth") for name in ("whole", "broken"))
    for part in ("state_dict", "trained_state_dict", "optimizer", "metrics"):
        assert_equal(whole[part], resumed[part])
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "broken")


def test_a_run_goes_on_in_another_precision(data, tmp_path, tiny, monkeypatch):
    monkeypatch.setattr(runs.RunFolder, "due", lambda self: os.kill(os.getpid(), signal.SIGINT))
    assert script.train(config(data, tmp_path, precision="bf16")) == 130
    monkeypatch.undo()
    monkeypatch.setattr(script, "build_network", lambda name: TinyNet())
    assert script.train(config(data, tmp_path, precision="fp16")) == 0
    assert [row["epoch"] for row in log_of(tmp_path)] == [1, 2]


def tiny_process(values: dict) -> int:
    script.build_network = lambda name: TinyNet()
    return script.train(XceptionConfig(**values))


def elsewhere_process(values: dict) -> int:
    """The second process's disk holds another checkpoint than the first one's, or none; 1 if that is said."""
    script.build_network = lambda name: TinyNet()
    if os.environ["RANK"] == "1":
        values = values | {"save_dir": values["save_dir"] + "-elsewhere"}
    with pytest.raises(ConfigError, match="save_dir: process 0 .*last.pth.*process 1 "):
        script.train(XceptionConfig(**values))
    return 1


@pytest.mark.parametrize("other", [None, {"epoch": 0}, {"step": 1}])
def test_nodes_that_would_go_on_from_different_checkpoints_stop(data, tmp_path, other):
    """No file, one of an epoch before, one of another step."""
    one = config(data, tmp_path / "run", n_epoches=1)
    assert run_processes(tiny_process, one) == [0, 0]
    if other is not None:
        last = load_checkpoint(tmp_path / "run" / "last.pth")
        tallies = [part | {"step": other.get("step", 0)} for part in last["tallies"]]
        elsewhere = last | {"epoch": other.get("epoch", 1), "tallies": tallies}
        (tmp_path / "run-elsewhere").mkdir()
        save_checkpoint(elsewhere, tmp_path / "run-elsewhere" / "last.pth")
    assert run_processes(elsewhere_process, config(data, tmp_path / "run")) == [1, 1]


def test_a_run_that_goes_on_says_that_pretrained_is_not_read(data, tmp_path, tiny, capsys):
    save_checkpoint({"state_dict": TinyNet().state_dict()}, tmp_path / "start.pth")
    start = str(tmp_path / "start.pth")
    script.train(config(data, tmp_path / "run", n_epoches=1, pretrained=start))
    assert "isn't read" not in capsys.readouterr().out
    script.train(config(data, tmp_path / "run", pretrained=start))
    assert f"pretrained = {start!r} isn't read" in capsys.readouterr().out


@pytest.mark.parametrize("keep_every, kept", [(None, {3, 4}), (1, {1, 2, 3, 4}), (3, {2, 3, 4}), (2, {2, 4})])
def test_which_checkpoints_are_kept(data, tmp_path, tiny, keep_every, kept):
    """By default those of the last two epochs, also of a run that went on; an end is kept in any case."""
    for epochs in (2, 4):
        script.train(config(data, tmp_path, n_epoches=epochs, keep_every=keep_every, max_train_videos=2))
    names = {path.name for path in tmp_path.glob("*.pth")}
    assert names == {"best.pth", "last.pth", *(f"ckpt-{epoch}.pth" for epoch in kept)}


def test_a_checkpoint_can_name_no_file_to_remove(data, tmp_path, tiny):
    """It names epochs; one that was made elsewhere must not reach out of its folder."""
    script.train(config(data, tmp_path, n_epoches=1, max_train_videos=2))
    save_checkpoint(load_checkpoint(tmp_path / "last.pth") | {"passing": ["../x"]}, tmp_path / "last.pth")
    with pytest.raises(WeightsError, match="last.pth .*is no checkpoint of this training"):
        script.train(config(data, tmp_path, max_train_videos=2))
