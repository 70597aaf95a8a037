"""Lists of real faces by source: sets are kept, so that faces that are held back are never trained on."""

import numpy as np
import pytest
from scripts import load_script

from utils.data.lists import read_list
from utils.data.sources import read_source

TABLE = "name,source,set_name\na1,aa,train\na2,aa,dev\na3,aa,train\nb1,bb,train\nb2,bb,dev\n"


@pytest.fixture
def folder(tmp_path):
    """The table, and crops of all its faces but a3."""
    import cv2

    (tmp_path / "reals.csv").write_text(TABLE)
    for name in ("a1", "a2", "b1", "b2"):
        (tmp_path / "faces" / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "faces" / name / "000.png"), np.zeros((320, 320, 3), np.uint8))
    return tmp_path


def run(folder, table="reals.csv", faces="faces") -> int:
    arguments = [str(folder / table), str(folder / faces), "--out", str(folder / "lists")]
    return load_script("tools/list_reals.py").main(arguments)


def test_a_list_for_each_source_and_none_of_dev_is_trained_on(folder):
    assert run(folder) == 0
    assert {path.name for path in (folder / "lists").iterdir()} == {"aa.csv", "bb.csv"}
    table = read_list(folder / "lists" / "aa.csv")
    assert table.values.tolist() == [["a1", 0, 1, "train"], ["a2", 0, 1, "dev"]]
    for source, names in (("aa", ["a1"]), ("bb", ["b1"])):
        list_path = folder / "lists" / f"{source}.csv"
        assert read_source(list_path, folder / "faces", ("train",), None).videos.names == names


def test_what_cannot_be_used_is_named(folder, capsys):
    (folder / "bare.csv").write_text("name,source\na1,aa\n")
    (folder / "out.csv").write_text("name,source,set_name\na1,../../harm,train\n")
    for table, faces, word in (("none.csv", "faces", "none.csv"), ("bare.csv", "faces", "set_name"),
                               ("reals.csv", "empty", "empty"),
                               ("out.csv", "faces", "../../harm")):  # fmt: skip
        assert run(folder, table, faces) == 1
        assert word in capsys.readouterr().err
    assert not list(folder.parent.glob("harm*"))
