"""The published list formats, written and read back, and bad lists told in one line."""

import json

import pandas as pd
import pytest

from utils.errors import DataError
from utils.files import write_whole
from utils.lists import read_list, read_wsdan_list, write_list, write_wsdan_list

TABLE = pd.DataFrame(
    [("a", 0, 9, "val"), ("NA", 1, 12, "x"), ("c", 1, 0, "train"), ("d", 0, 1, "train"), ("e", 1, 5, "test")],
    columns=["name", "is_fake", "n_frame", "set_name"],
)


def test_what_is_written_is_read(tmp_path):
    write_list(TABLE, tmp_path / "l.csv")
    write_wsdan_list(TABLE, tmp_path / "l.json")
    kept = TABLE[TABLE["n_frame"] > 0].reset_index(drop=True)
    assert read_list(tmp_path / "l.csv").to_dict("list") == kept.to_dict("list")
    text = '{"train": [["d", 0]], "valid": [["a", 0]], "test": [["e", 1]], "x": [["NA", 1]]}\n'
    assert (tmp_path / "l.json").read_text() == text
    assert set(read_wsdan_list(tmp_path / "l.json").itertuples(index=False, name=None)) == {
        ("d", 0, "train"), ("a", 0, "valid"), ("e", 1, "test"), ("NA", 1, "x"),
    }  # fmt: skip


def test_a_published_json_has_videos_in_two_sets(tmp_path):
    (tmp_path / "l.json").write_text('{"test": [["a", 1]], "test_all": [["a", 1], ["b", 0]], "train": []}')
    table = read_wsdan_list(tmp_path / "l.json")
    assert table["set_name"].value_counts().to_dict() == {"test_all": 2, "test": 1}


@pytest.mark.parametrize(
    "lists, said",
    [
        ([], "is no list of videos"),
        ({}, "is no list of videos"),
        ({"train": {"a": 1}}, "'train' must be a list"),
        ({"train": [["a", 1], ["b"]]}, "'train' entry 2 must be .*'b'"),
        ({"train": [["a", 2]]}, "'train' entry 1 must be"),
        ({"train": [["a", "1"]]}, "'train' entry 1 must be"),
        ({"train": [["a", 0.0]]}, "'train' entry 1 must be"),
        ({"train": [["", 0]]}, "'train' entry 1 must be"),
        ({"train": [[7, 0]]}, "'train' entry 1 must be"),
        ({"a.mp4": {"label": "FAKE"}}, "'a.mp4' must be a list"),
    ],
)
def test_bad_json_lists(tmp_path, lists, said):
    path = tmp_path / "dfdc.json"
    path.write_text(json.dumps(lists))
    with pytest.raises(DataError, match=said) as caught:
        read_wsdan_list(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_lists(tmp_path):
    for read in (read_list, read_wsdan_list):
        with pytest.raises(DataError, match="no.csv"):
            read(tmp_path / "no.csv")
        with pytest.raises(DataError, match="can't be read"):
            read(tmp_path)


def test_a_csv_row_without_a_name_is_told_and_one_without_a_set_is_in_none(tmp_path):
    path = tmp_path / "l.csv"
    path.write_text("name,is_fake,n_frame,set_name\na,1,3,\nnull,0,3,train\n")
    table = read_list(path)
    assert table["set_name"].isna().tolist() == [True, False] and table["name"].tolist() == ["a", "null"]
    path.write_text("name,is_fake,n_frame,set_name\n,1,3,train\n")
    with pytest.raises(DataError, match="l.csv: a video has no name"):
        read_list(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "l.csv").mkdir()
    with pytest.raises(OSError):
        write_whole(tmp_path / "l.csv", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["l.csv"]
