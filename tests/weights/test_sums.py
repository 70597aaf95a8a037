"""The sums of shipped weights: a byte that was changed is told at load."""

import json
import shutil

import pytest
import torch

from utils.core.config import ROOT, load_config
from utils.core.errors import WeightsError
from utils.scoring.config import SubmissionConfig
from utils.weights import sums
from utils.weights.checkpoint import load_checkpoint, read_metadata, read_state_dict, save_state_dict

BUNDLED = load_config(ROOT / "submission-conf" / "bundled.py", SubmissionConfig).ensemble


@pytest.fixture
def listed(tmp_path, monkeypatch):
    """Weights beside a list that states their sum."""
    path = tmp_path / "w.safetensors"
    save_state_dict({"a": torch.arange(4.0)}, path, {"date": "today"})
    monkeypatch.setattr(sums, "LIST", tmp_path / "weights.json")
    rows = [{"file": path.name, "sha256": sums.sum_of(path, 0, 0)}]
    rows.append({"file": "own.safetensors", "sha256": None})
    (tmp_path / "weights.json").write_text(json.dumps(rows))
    return path


def test_the_shipped_weights_are_those_of_the_list():
    stated = sums.stated_sums()
    for _, path, _ in BUNDLED:
        assert path.rpartition("/")[2] in stated
        read_metadata(path)


def test_a_byte_that_was_changed_is_told(listed):
    assert read_state_dict(listed)[1] == {"date": "today"}
    data = bytearray(listed.read_bytes())
    data[-1] ^= 1  # whole by all other signs
    listed.write_bytes(data)
    for function in (read_state_dict, read_metadata, load_checkpoint):
        with pytest.raises(WeightsError, match=f"{listed.name}.*sha256"):
            function(listed)


def test_what_the_list_does_not_state_is_the_users_own(listed, tmp_path):
    for copy in (tmp_path / "own.safetensors", tmp_path / "unlisted.safetensors"):
        shutil.copy(listed, copy)
        copy.write_bytes(copy.read_bytes()[:-1] + b"x")
        read_metadata(copy)
    (tmp_path / "weights.json").unlink()
    read_state_dict(listed)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"file": "w.safetensors"}]', "[" * 1000])
def test_a_damaged_list_is_told(listed, text):
    (listed.parent / "weights.json").write_text(text)
    if text != "{}":
        with pytest.raises(WeightsError, match="weights.json"):
            read_state_dict(listed)


def test_a_folder_that_is_a_link_is_checked_as_well(listed, tmp_path, monkeypatch):
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setattr(sums, "LIST", tmp_path / "link" / "weights.json")
    listed.write_bytes(listed.read_bytes()[:-1] + b"x")
    for path in (listed, tmp_path / "link" / listed.name):
        with pytest.raises(WeightsError, match="sha256"):
            read_state_dict(path)
