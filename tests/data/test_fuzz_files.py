"""Damaged weights and tables: read as they are, or refused in a line that names the file."""

import json

import pytest
import torch
from fuzz import FEW_AND_MANY, fuzz
from torch import nn

from utils.core.errors import UserError
from utils.data.crops import read_faces_csv
from utils.data.failures import read_failures
from utils.data.labels import read_labels
from utils.data.lists import read_json_list, read_list
from utils.scoring.details import read_faces
from utils.scoring.record import Record
from utils.scoring.submission import read_sample
from utils.weights.checkpoint import load_checkpoint, load_weights, save_weights

LABELS = "filename,label\n" + "".join(f"video{number}.mp4,{number % 2}\n" for number in range(20))
METADATA = {f"v{n}.mp4": {"label": "FAKE" if n % 2 else "REAL", "split": "train", "original": f"v{n - 1}.mp4"}
            for n in range(10)}  # fmt: skip
LIST = "name,is_fake,n_frame,set_name\n" + "".join(f"v{n},{n % 2},9,train\n" for n in range(10))
SETS = {"train": [["a", 0], ["b", 1]], "valid": [["c", 0]], "test": [["d", 1]]}


def refuses_or_reads(function, file):
    try:
        return function(file)
    except UserError as error:
        assert file.name in str(error) and "\n" not in str(error)
    except ValueError as error:  # of tables that the callers explain
        assert function is read_faces_csv, error
    return None


@pytest.mark.parametrize("times", FEW_AND_MANY)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_weights(tmp_path, clip, suffix, times):
    net, path = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)), tmp_path / f"whole{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": net.state_dict(), "epoch": 3, "logs": [0.5]}, path)
    else:
        save_weights(net, path, {"date": "today"})

    def check(file, data):
        refuses_or_reads(lambda file: load_weights(net, file), file)
        assert all(torch.isfinite(value).all() for value in net.state_dict().values())
        refuses_or_reads(load_checkpoint, file)

    fuzz(path, clip.read_bytes(), times, check)


@pytest.mark.parametrize("times", FEW_AND_MANY)
@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_tables(tmp_path, clip, suffix, times):
    path = tmp_path / f"whole{suffix}"
    texts = (LABELS, LIST) if suffix == ".csv" else (json.dumps(METADATA), json.dumps(SETS))

    def check(file, data):
        labels = refuses_or_reads(lambda file: read_labels([file]), file)
        assert labels is None or set(labels.is_fake.unique()) <= {0, 1}
        readers = (read_sample, read_list, read_faces, read_faces_csv, read_failures, read_json_list)
        for function in readers:
            refuses_or_reads(function, file)
        (tmp_path / ".o.scored.csv").write_bytes(data)
        try:
            Record(tmp_path / "o.csv", "0" * 16).recall({file: file.name})
        except UserError as error:
            assert "o.scored.csv" in str(error)

    for text in texts:
        path.write_text(text)
        fuzz(path, clip.read_bytes(), times // 2, check)
