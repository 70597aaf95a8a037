"""Exporting a checkpoint: its metadata, and one line for one that is of no use."""

import json

import numpy as np
import pytest
import torch
from scripts import load_script
from torch import nn

from utils.weights.checkpoint import load_weights, read_state_dict, save_checkpoint, save_weights
from utils.weights.preprocess import Preprocess
from utils.weights.runtime import opened

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


def test_other_forms_of_a_weights_file(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    weights, size = tmp_path / "w.safetensors", 96
    preprocess = Preprocess(size, (0.5,) * 3, (0.5,) * 3, (76, 100, 244, 268))
    monkeypatch.setattr("utils.weights.export.build_network", lambda name: small())
    save_weights(
        small(), weights, {"network": "xception", "preprocess": preprocess.to_metadata(), "seed": "3"}
    )
    main = load_script("tools/export_weights.py").main
    assert main([str(weights), str(tmp_path / "x.onnx")]) == 0
    assert main([str(weights), str(tmp_path / "hub")]) == 0
    config = json.loads((tmp_path / "hub/config.json").read_text())
    assert config["preprocess"]["window"] == [76, 100, 244, 268] and config["id2label"]["1"] == "fake"
    assert read_state_dict(tmp_path / "hub/model.safetensors")[1]["seed"] == "3"
    assert (tmp_path / "hub/README.md").read_text().startswith("---\n")
    session = opened(str(tmp_path / "x.onnx"))
    assert session.get_modelmeta().custom_metadata_map["network"] == "xception"
    images = torch.randn(3, 3, size, size)
    net = small().eval()
    load_weights(net, weights)
    with torch.inference_mode():
        expected = net(images).numpy()
    np.testing.assert_allclose(session.run(None, {"images": images.numpy()})[0], expected, atol=1e-5)


def test_other_forms_need_weights_that_name_their_network(tmp_path, capsys):
    save_weights(small(), tmp_path / "w.safetensors", {})
    main = load_script("tools/export_weights.py").main
    assert main([str(tmp_path / "w.safetensors"), str(tmp_path / "x.onnx")]) == 2
    assert "names no network" in capsys.readouterr().err and not (tmp_path / "x.onnx").exists()
    assert main([str(tmp_path / "w.safetensors"), str(tmp_path / "again.safetensors")]) == 2
    assert "checkpoint" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(tmp_path / "w.safetensors"), str(tmp_path / "out.pth")])
    assert not (tmp_path / "out.pth").exists()
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "w.safetensors"), str(tmp_path / "file"), "--export", "hub"]) == 2


def small() -> nn.Module:
    """A network of two outputs for any image size."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
