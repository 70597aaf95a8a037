"""The list of weights files, its table, and what the check says of files."""

import hashlib
import json
from dataclasses import asdict

import pytest
import torch
from scripts import load_script

from models import xception
from utils.core.config import ROOT, load_config
from utils.core.errors import DataError
from utils.scoring.config import SubmissionConfig
from utils.weights.checkpoint import save_weights
from utils.weights.table import Entry, check, markdown, read_entries


def check_tool():
    return load_script("tools/check_weights.py").main


def entry(file: str, network: str = "xception", sha256: str | None = None) -> Entry:
    return Entry(file, "weights", network, "a test", "none", sha256, "it is there")


def write_entries(path, *entries: Entry):
    path.write_text(json.dumps([asdict(one) for one in entries]))
    return path


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


def test_the_shipped_list_covers_what_the_configs_name():
    files = {one.file: one.network for one in read_entries(ROOT / "external/weights.json")}
    for name in ("wm", "bundled"):
        config = load_config(ROOT / "submission-conf" / f"{name}.py", SubmissionConfig)
        for network, path, _ in config.ensemble:
            assert files[path.rpartition("/")[2]] == network
    assert files["RetinaFace-Resnet50-fixed.pth"] == "retinaface-resnet50"


def test_the_readme_s_table_is_the_list_s():
    table = markdown(read_entries(ROOT / "external/weights.json"))
    assert table in (ROOT / "external/README.md").read_text(encoding="utf-8")


def test_the_table_is_written_in_place_of_the_old_one(folder, tmp_path):
    listed = write_entries(tmp_path / "weights.json", entry("a.pth"), entry("b.pth", sha256="0" * 64))
    (tmp_path / "README.md").write_text("# Weights\n\n| old |\n|---|\n| x |\n\nMore.\n")
    assert check_tool()(["--list", str(listed), "--table"]) == 0
    text = (tmp_path / "README.md").read_text()
    assert text == f"# Weights\n\n{markdown(read_entries(listed))}\nMore.\n"
    assert "`b.pth`" in text and "0" * 64 in text and "old" not in text


def test_what_is_said_of_files(folder):
    good = digest(folder / "good.safetensors")
    assert check(entry("good.safetensors", sha256=good), folder).line().endswith(
        "good.safetensors: present, sha256 ok, loads strictly"
    )
    unknown = check(entry("good.safetensors"), folder)
    assert unknown.is_fine and "sha256 not stated" in unknown.line()
    assert check(entry("good.safetensors", "xception-base"), folder).is_fine
    differs = check(entry("good.safetensors", sha256="0" * 64), folder)
    assert not differs.is_fine and "sha256 differs" in differs.line()
    absent = check(entry("none.pth", sha256="0" * 64), folder)
    assert absent.is_fine and absent.line() == "none.pth: absent"
    cut = check(entry("cut.safetensors"), folder)
    assert not cut.is_fine and "does not load: damaged" in cut.line()
    other = check(entry("other.pth", "retinaface-mobilenet0.25"), folder)
    assert not other.is_fine and "does not load: another network's" in other.line()


@pytest.mark.parametrize("stated, code", [("good", 0), (None, 0), ("0" * 64, 1)])
def test_exit_codes(folder, stated, code, capsys):
    sha256 = digest(folder / "good.safetensors") if stated == "good" else stated
    listed = write_entries(folder / "weights.json", entry("good.safetensors", sha256=sha256), entry("no.pth"))
    assert check_tool()(["--list", str(listed)]) == code
    assert "no.pth: absent" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "list of files"),
        ('[{"file": "a"}]', "list of files .*network"),
        (json.dumps([asdict(entry("a", "resnet"))]), "a: unknown network 'resnet'"),
        (json.dumps([asdict(entry("a", sha256="12ab"))]), "sha256 of a is neither"),
        (json.dumps([asdict(entry("a"))] * 2), "a stands there twice"),
    ],
)
def test_broken_lists(tmp_path, text, words, capsys):
    path = tmp_path / "weights.json"
    path.write_text(text)
    with pytest.raises(DataError, match=words):
        read_entries(path)
    assert check_tool()(["--list", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"error: {path}")


def test_a_missing_list(tmp_path, capsys):
    assert check_tool()(["--list", str(tmp_path / "none.json")]) == 2
    assert "can't read the list of weights" in capsys.readouterr().err


def test_sums_are_stated_anew(folder):
    rows = entry("good.safetensors", sha256="0" * 64), entry("no.pth")
    listed = write_entries(folder / "weights.json", *rows)
    assert check_tool()(["--list", str(listed), "--sums"]) == 0
    good, absent = read_entries(listed)
    assert good.sha256 == digest(folder / "good.safetensors") and absent.sha256 is None
