"""The folder of a training run: its log survives a kill and is never told twice."""

import json
from pathlib import Path

import pytest
import torch

from utils.core.errors import WeightsError
from utils.core.files import append_line
from utils.training.run import Position, RunFolder, restore, snapshot
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


def test_a_log_of_damaged_bytes_is_mended(tmp_path):
    (tmp_path / "log.jsonl").write_bytes(b'{"epoch": 1}\n\xff\xfe{"epoch": 2}\n')
    RunFolder(tmp_path, {"tensorboard": False}, 2)
    assert rows(tmp_path) == [1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_named_with_the_file():
    with pytest.raises(OSError) as caught:
        append_line("/dev/full", "x")
    assert caught.value.filename == "/dev/full"


@pytest.mark.parametrize(
    "damage",
    [
        {"tallies": []}, {"tallies": 3}, {"best": "x"}, {"best": None}, {"metrics": 3}, {"config": 5},
        {"config": None}, {"batch": None}, {"epoch": "one"}, {"optimizer": []}, {"optimizer": {}},
    ],
    ids=str,
)  # fmt: skip
def test_a_checkpoint_with_damaged_fields_is_refused_in_a_line(tmp_path, damage):
    net = torch.nn.Linear(2, 2)
    optimizer, scaler = torch.optim.SGD(net.parameters(), 0.1), torch.amp.GradScaler("cpu", enabled=False)
    state = snapshot(Position(), optimizer, scaler, 4) | {"state_dict": net.state_dict(), "config": {}}
    save_checkpoint(state, tmp_path / "last.pth")
    restore(tmp_path / "last.pth", net, optimizer, scaler, {}, (), 4)
    save_checkpoint(load_checkpoint(tmp_path / "last.pth") | damage, tmp_path / "last.pth")
    with pytest.raises(WeightsError, match="is no checkpoint of this training"):
        restore(tmp_path / "last.pth", net, optimizer, scaler, {}, (), 4)
