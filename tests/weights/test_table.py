"""The table in external/README.md, and what the check says of files."""

import hashlib

import pytest
import torch
from scripts import load_script

from models import xception
from utils.core.config import ROOT, load_config
from utils.core.errors import DataError
from utils.scoring.config import SubmissionConfig
from utils.weights.checkpoint import save_weights
from utils.weights.table import Entry, check, read_table

HEADER = "| file | network | sha256 |\n|---|---|---|\n"


def check_tool():
    return load_script("tools/check_weights.py").main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A fine file, a truncated one, one of another network and one that is no weights file."""
    folder = tmp_path_factory.mktemp("weights")
    save_weights(xception(), folder / "good.safetensors")
    (folder / "cut.safetensors").write_bytes((folder / "good.safetensors").read_bytes()[:1000])
    torch.save({"a": torch.zeros(1)}, folder / "other.pth")
    return folder


def digest(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_shipped_table_covers_what_the_configs_name():
    files = {entry.file: entry.network for entry in read_table(ROOT / "external/README.md")}
    for name in ("wm", "bundled"):
        config = load_config(ROOT / "submission-conf" / f"{name}.py", SubmissionConfig)
        for network, path, _ in config.ensemble:
            assert files[path.rpartition("/")[2]] == network
    assert files["RetinaFace-Resnet50-fixed.pth"] == "retinaface-resnet50"


def test_what_is_said_of_files(folder):
    good = digest(folder / "good.safetensors")
    assert check(Entry("good.safetensors", "xception", good), folder).line().endswith(
        "good.safetensors: present, sha256 ok, loads strictly"
    )
    unknown = check(Entry("good.safetensors", "xception", "-"), folder)
    assert unknown.fine and "sha256 not stated" in unknown.line()
    assert check(Entry("good.safetensors", "xception-base", "-"), folder).fine
    differs = check(Entry("good.safetensors", "xception", "0" * 64), folder)
    assert not differs.fine and "sha256 differs" in differs.line()
    absent = check(Entry("none.pth", "xception", "0" * 64), folder)
    assert absent.fine and absent.line() == "none.pth: absent"
    cut = check(Entry("cut.safetensors", "xception", "-"), folder)
    assert not cut.fine and "does not load: damaged" in cut.line()
    other = check(Entry("other.pth", "retinaface-mobilenet0.25", "-"), folder)
    assert not other.fine and "does not load: another network's" in other.line()


@pytest.mark.parametrize("stated, code", [("good", 0), ("-", 0), ("0" * 64, 1)])
def test_exit_codes(folder, stated, code, capsys):
    sha256 = digest(folder / "good.safetensors") if stated == "good" else stated
    table = folder / "README.md"
    rows = [f"| `good.safetensors` | `xception` | {sha256} |", "| `no.pth` | `xception` | - |"]
    table.write_text(HEADER + "\n".join(rows))
    assert check_tool()(["--table", str(table)]) == code
    assert "no.pth: absent" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, words",
    [
        ("# nothing\n", "holds no table"),
        ("| file | network |\n|---|---|\n| a | xception |\n", "holds no table"),
        (HEADER + "| a | resnet | - |\n", "unknown network 'resnet'"),
        (HEADER + "| a | xception |\n", "the row of 'a' has 2 cells, the header 3"),
        (HEADER + "| a | xception | 12ab |\n", "sha256 of a is neither"),
        (HEADER + "| a | xception | - |\n| a | xception | - |\n", "a stands twice"),
    ],
)
def test_broken_tables(tmp_path, text, words, capsys):
    path = tmp_path / "README.md"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_table(path)
    assert check_tool()(["--table", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path}")


def test_a_missing_table(tmp_path, capsys):
    assert check_tool()(["--table", str(tmp_path / "none.md")]) == 2
    assert "can't read the table of weights" in capsys.readouterr().err
