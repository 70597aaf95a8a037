"""Exporting a checkpoint: its metadata, and one line for one that is of no use."""


import pytest
from scripts import load_script
from torch import nn

from utils.weights.checkpoint import read_state_dict, save_checkpoint

CONFIG = {
    "window": None, "image_size": [96, 96], "mean": [0.5] * 3, "std": [0.5] * 3, "train_sets": ["train"],
    "valid_set": "val", "data_list": "lists/dfdc.json", "seed": 3, "ema": 0.9,
}  # fmt: skip


def checkpoint(**changes) -> dict:
    """Of a network that is small and called xception; a change to None takes an entry away."""
    whole = {
        "arch": "xception", "config": CONFIG, "state_dict": nn.Linear(2, 2).state_dict(), "epoch": 1,
        "metrics": {"val_log_loss": 0.123456}, "tallies": [{"step": 0}],
    }  # fmt: skip
    return {key: value for key, value in (whole | changes).items() if value is not None}


@pytest.fixture
def main(monkeypatch):
    monkeypatch.setattr("utils.weights.networks.build_network", lambda name: nn.Linear(2, 2))
    tool = load_script("tools/export_weights.py")
    return tool.main


def test_the_metadata_is_written_and_shown(main, tmp_path, capsys):
    save_checkpoint(checkpoint(n_averaged=7), tmp_path / "last.pth")
    assert main([str(tmp_path / "last.pth"), str(tmp_path / "out" / "w.safetensors")]) == 0
    metadata = read_state_dict(tmp_path / "out" / "w.safetensors")[1]
    assert metadata["data"] == "dfdc.json: trained on train, validated on val"
    assert metadata["averaged"] == "weights averaged over 7 steps, ema 0.9"
    first, *said = capsys.readouterr().out.splitlines()
    assert first == f"{tmp_path / 'out' / 'w.safetensors'}: 0.0 MB"
    assert sorted(said) == sorted(f"  {key}: {value}" for key, value in metadata.items())


def test_groups_and_sources_are_in_the_metadata(main, tmp_path):
    config = CONFIG | {"groups": [["fake", 0.25], ["blend", 0.75]], "sources": [["lists/utk.csv", 1.0]]}
    save_checkpoint(checkpoint(config=config), tmp_path / "last.pth")
    assert main([str(tmp_path / "last.pth"), str(tmp_path / "w.safetensors")]) == 0
    metadata = read_state_dict(tmp_path / "w.safetensors")[1]
    assert (metadata["groups"], metadata["sources"]) == ("fake 0.25, blend 0.75", "utk.csv 1")


@pytest.mark.parametrize(
    "changes, words",
    [({"config": None}, "holds no config"),
     ({"arch": ["xception"]}, "holds no config"),
     ({"config": {key: value for key, value in CONFIG.items() if key != "seed"}}, "lack 'seed'"),
     ({"metrics": None}, "lack 'metrics'"),
     ({"metrics": {"val_log_loss": "low"}}, "damaged"),
     ({"config": CONFIG | {"window": 3}}, "damaged"),
     ({"config": CONFIG | {"image_size": []}}, "damaged"),
     ({"config": CONFIG | {"image_size": 4000}}, "damaged"),
     ({"config": CONFIG | {"std": [1, 1, 0]}}, "damaged"),
     ({"tallies": [3]}, "damaged"),
     ({"tallies": [{"step": 4}]}, "saved within an epoch")],
)  # fmt: skip
def test_a_checkpoint_of_no_use_is_one_line(changes, words, main, tmp_path, capsys):
    save_checkpoint(checkpoint(**changes), tmp_path / "last.pth")
    assert main([str(tmp_path / "last.pth"), str(tmp_path / "w.safetensors")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {tmp_path / 'last.pth'}: ") and error.count("\n") == 1
    assert words in error and not (tmp_path / "w.safetensors").exists()


def test_the_checkpoint_itself_is_not_overwritten(main, tmp_path, capsys):
    path = tmp_path / "w.safetensors"
    save_checkpoint(checkpoint(), path)
    before = path.read_bytes()
    assert main([str(path), str(path)]) == 2
    assert "would be overwritten" in capsys.readouterr().err and path.read_bytes() == before
