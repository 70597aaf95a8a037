"""The folder of a training run: its log survives a kill and is never told twice."""

import json
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from processes import files_up_to
from training_runs import config

from utils.core.console import run
from utils.core.errors import WeightsError
from utils.core.files import append_line
from utils.training import run as runs
from utils.training.curves import BLUE, RED, TOP, WIDTH
from utils.training.position import Position
from utils.training.resume import check_order, restore
from utils.training.run import RunFolder
from utils.weights.checkpoint import load_checkpoint, save_checkpoint


def rows(path) -> list[int]:
    return [json.loads(line)["epoch"] for line in (path / "log.jsonl").read_text().splitlines()]


def test_a_row_torn_by_a_kill_is_dropped_and_later_epochs_are_logged_anew(tmp_path):
    whole = "".join(json.dumps({"epoch": epoch, "loss": 1.0}) + "\n" for epoch in (1, 2, 3))
    (tmp_path / "log.jsonl").write_text(whole + '{"epoch": 4, "lo')
    RunFolder(tmp_path, {"tensorboard": False}, 2)
    assert rows(tmp_path) == [1, 2]


def test_a_number_that_is_none_is_null_in_the_log(tmp_path):
    folder = RunFolder(tmp_path, {"tensorboard": False}, 0)
    folder.log({"epoch": 1, "auc": float("nan")})
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"epoch": 1, "auc": None}


def test_the_curves_are_drawn_anew_with_each_epoch(tmp_path):
    """Of all epochs that the log has; one that is undefined leaves a gap, in its own panel alone."""
    (tmp_path / "log.jsonl").write_text('{"epoch": 1, "train_loss": 0.7, "val_auc": 0.5, "lr": 0.1}\n')
    folder, pictures = RunFolder(tmp_path, {"tensorboard": False}, 1), []
    for epoch, auc in ((2, 0.7), (3, float("nan"))):
        folder.log({"epoch": epoch, "train_loss": 0.7 / epoch, "val_auc": auc, "lr": 0.1})
        pictures.append(cv2.imread(str(tmp_path / "curves.png")))
    assert pictures[0].shape == pictures[1].shape and pictures[0].shape[1] == 3 * WIDTH
    assert (pictures[0] != pictures[1]).any()
    blue, red = ((pictures[1] == np.uint8(colour)).all(axis=2) for colour in (BLUE, RED))
    losses, aucs = blue[:, :WIDTH], red[:, WIDTH : 2 * WIDTH]
    assert losses[TOP:].any(axis=0).sum() > WIDTH / 2  # from the first epoch to the last
    assert aucs[TOP:].any(axis=0).sum() < WIDTH / 2  # to the second one


def test_a_log_of_damaged_bytes_is_mended(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"epoch": 1}\n\xff\xfe{"epoch": 2}\n')
    RunFolder(tmp_path, {"tensorboard": False}, 2)
    assert rows(tmp_path) == [1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_checkpoint_is_written_once_and_has_several_names(tmp_path, monkeypatch):
    config = {"tensorboard": False, "checkpoint_minutes": 10}
    folder, written = RunFolder(tmp_path, config), []

    def noted(checkpoint, path):
        written.append(path.name)
        save_checkpoint(checkpoint, path)

    def epochs():
        return [load_checkpoint(tmp_path / name)["epoch"] for name in ("ckpt-1.pth", "best.pth", "last.pth")]

    monkeypatch.setattr(runs, "save_checkpoint", noted)
    folder.save({"epoch": 1}, ("ckpt-1.pth", "best.pth"))
    folder.save({"epoch": 2})  # takes the place of last.pth alone
    assert epochs() == [1, 1, 2] and written == ["ckpt-1.pth", "last.pth"]
    assert (tmp_path / "best.pth").samefile(tmp_path / "ckpt-1.pth")
    monkeypatch.setattr("os.link", failing)  # a disk without links
    folder.save({"epoch": 3}, ("best.pth",))
    assert epochs() == [1, 3, 3]
    assert not list(tmp_path.glob(".*"))


def failing(*_):
    raise OSError(95, "Operation not supported")


def test_a_full_disk_is_named_with_the_file():
    with pytest.raises(OSError) as caught:
        append_line("/dev/full", "x")
    assert caught.value.filename == "/dev/full"


def test_a_disk_that_is_full_for_tensorboard_alone_is_no_traceback(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)  # not that of the tests
    folder = RunFolder(tmp_path, {"tensorboard": True})
    for name in ("append_line", "write_whole"):
        monkeypatch.setattr(runs, name, lambda *_: None)
    (tmp_path / "log.jsonl").touch()

    def log_all() -> None:
        for epoch in range(1, 20):
            folder.log({"epoch": epoch} | {f"value{number}": 1.0 for number in range(5)})

    with files_up_to(200):
        assert run(log_all) == 1
    said = capsys.readouterr().err
    assert "tensorboard" in said and said.count("\n") == 1, said


@pytest.mark.parametrize(
    "damage",
    [
        {"tallies": []}, {"tallies": 3}, {"best": "x"}, {"best": None}, {"metrics": 3}, {"config": 5},
        {"config": None}, {"batch": None}, {"epoch": "one"}, {"optimizer": []}, {"optimizer": {}},
    ],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_with_damaged_fields_is_refused_in_a_line(tmp_path, damage):
    net, path = torch.nn.Linear(2, 2), tmp_path / "last.pth"
    optimizer, scaler = torch.optim.SGD(net.parameters(), 0.1), torch.amp.GradScaler("cpu", enabled=False)
    conf = config(tmp_path, tmp_path)

    def take_over() -> None:
        _, checkpoint = restore(path, net, optimizer, scaler)
        check_order(path, checkpoint, conf, (), 4)

    state = {"state_dict": net.state_dict(), "config": {}, "batch": 4, "optimizer": optimizer.state_dict()}
    save_checkpoint(Position().state() | state | {"scaler": scaler.state_dict()}, path)
    take_over()
    save_checkpoint(load_checkpoint(path) | damage, path)
    with pytest.raises(WeightsError, match="is no checkpoint of this training"):
        take_over()
