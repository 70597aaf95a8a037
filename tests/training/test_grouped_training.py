"""Both trainers on groups: a run that was stopped goes on as if it hadn't been; configs that can't be."""

import json
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import training_runs
import wsdan_runs
from training_runs import TinyNet, assert_equal, log_of, one_thread

from utils.core.config import as_plain
from utils.core.errors import ConfigError, DataError
from utils.data.meshes import write_meshes
from utils.faces.mesh import POINTS
from utils.training import run as runs
from utils.training.config import WSDANConfig
from utils.training.grouped import grouped_faces
from utils.training.preview import FIRST_BATCH, MAX_FACES
from utils.training.resume import check_order
from utils.weights.checkpoint import load_checkpoint

KEYS = {
    "groups": (("trio", 0.5), ("blend", 0.3), ("swap", 0.2)), "augmentation": "alike", "epoch_samples": 10,
    "label_smoothing": 0.02, "ema": 0.9,
}  # fmt: skip


def originals(data, path) -> str:
    """Fakes and the real video before each, as a table of labels."""
    rows = [(f"video{k:02d}", k % 2, f"video{k - k % 2:02d}") for k in range(12)]
    pd.DataFrame(rows, columns=["name", "is_fake", "original"]).to_csv(path, index=False)
    return str(path)


def xception_config(data, folder, save_dir):
    labels = originals(data, folder / "originals.csv")
    return training_runs.config(data, save_dir, originals=labels, **KEYS)


def wsdan_config(data, folder, save_dir):
    labels = originals(data, folder / "originals.csv")
    videos = [[f"video{k:02d}", k % 2] for k in range(12)]
    path = folder / "dfdc.json"
    path.write_text(json.dumps({"train": videos[:8], "test": videos[8:]}))
    return wsdan_runs.config(
        data, save_dir, data_list=str(path), originals=labels, train_sets=("train",), **KEYS
    )


@pytest.mark.parametrize(
    ("script", "network", "make"),
    [
        (training_runs.script, lambda name: TinyNet(), xception_config),
        (wsdan_runs.script, lambda name, maps: wsdan_runs.TinyWSDAN(2, maps), wsdan_config),
    ],
)
def test_stopped_and_resumed_is_unbroken(data, tmp_path, monkeypatch, script, network, make):
    monkeypatch.setattr(script, "build_network", network)
    steps = []

    def due(self) -> bool:
        steps.append(1)
        if len(steps) in (1, 3):
            os.kill(os.getpid(), signal.SIGTERM)
        return False

    with one_thread():
        assert script.train(make(data, tmp_path, tmp_path / "whole")) == 0
        monkeypatch.setattr(runs.RunFolder, "due", due)
        broken = make(data, tmp_path, tmp_path / "broken")
        codes = [script.train(broken) for _ in range(3)]
    assert codes == [128 + signal.SIGTERM] * 2 + [0]
    whole, resumed = (load_checkpoint(tmp_path / name / "last.pth") for name in ("whole", "broken"))
    for part in ("state_dict", "trained_state_dict", "optimizer", "metrics"):
        assert_equal(whole[part], resumed[part])
    assert log_of(tmp_path / "whole") == log_of(tmp_path / "broken")
    # what the network was shown: groups of two and three faces in rows, before the first step alone
    shown = cv2.imread(str(tmp_path / "whole" / FIRST_BATCH))
    side = whole["config"]["image_size"]
    side = side if isinstance(side, int) else side[0]
    assert shown.shape == (MAX_FACES * side, 3 * side, 3)
    thirds = [(shown[k * side : (k + 1) * side, 2 * side :] == 255).all() for k in range(MAX_FACES)]
    assert any(thirds) and not all(thirds)  # where a pair has no third face it is white
    assert (shown[:, :side] != shown[:, side : 2 * side]).mean() > 0.1
    assert (cv2.imread(str(tmp_path / "broken" / FIRST_BATCH)) == shown).all()


@pytest.mark.parametrize(
    "changes",
    [
        {"groups": (("pair", 1.0),)},
        {"groups": (("blend", 0.0),)},
        {"originals": None},
        {"augmentation": "published"},
        {"self_blended": 0.1},
        {"label_smoothing": 1.5},
        {"max_train_videos": 4},
        {"balance": True},
        {"originals": "labels.csv", "groups": (), "augmentation": "published"},
        {"sources": (("a.csv", 1.0),), "originals": None, "groups": (), "augmentation": "published"},
        {"masks": "mesh.npz", "groups": (), "augmentation": "published"},
    ],
)
def test_a_config_that_makes_no_groups_is_refused(data, tmp_path, changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        training_runs.config(data, tmp_path, **({"originals": "labels.csv"} | KEYS | changes))


def test_masks_of_a_file_need_its_faces_and_stay_as_they_are_inside_an_epoch(data, tmp_path, capsys):
    labels, path = originals(data, tmp_path / "originals.csv"), tmp_path / "mesh.npz"
    config = training_runs.config(data, tmp_path, originals=labels, masks=str(path), **KEYS)
    points = np.full((1, len(POINTS), 2), 160.0)
    for crop, message in ((None, "missing"), ("elsewhere/000.png", "no real face")):
        if crop:
            write_meshes(path, [crop], points)
        with pytest.raises(DataError, match=f"mesh.npz.*{message}"):
            grouped_faces(config, config.data_root)
    write_meshes(path, ["video00/000.png"], points)
    assert len(grouped_faces(config, config.data_root).meshes) == 1
    assert "1 of 4 real faces" in capsys.readouterr().out
    before = as_plain(training_runs.config(data, tmp_path, originals=labels, **KEYS))
    del before["masks"]  # a checkpoint from before there was the key
    other = wsdan_runs.script.checkpoint_form(WSDANConfig(datapath="faces"), None)
    for form in (training_runs.script.CHECKPOINTS, other):
        with pytest.raises(ConfigError, match="masks: 'outlines' in last.pth, now .*mesh.npz"):
            check_order(Path("last.pth"), {"config": before, "batch": 4}, config, form.sample_keys, 4)


def test_a_source_that_holds_a_validation_face_is_refused(data, tmp_path):
    """Also where the run validates with others of that set."""
    leaking = tmp_path / "leaking.csv"
    leaking.write_text("name,is_fake,n_frame,set_name\nvideo10,0,2,train\n")
    labels = originals(data, tmp_path / "originals.csv")
    changes = {"originals": labels, "sources": ((str(leaking), 1.0),), "max_valid_videos": 2}
    config = training_runs.config(data, tmp_path / "run", **(KEYS | changes))
    with pytest.raises(DataError, match="video10"):
        grouped_faces(config, config.data_root)
