"""The published list formats, written and read back; bad lists told in one line; crops of listed videos."""

import json

import numpy as np
import pandas as pd
import pytest

from utils.core.errors import DataError
from utils.core.files import write_whole
from utils.data.lists import (
    Videos,
    find_videos,
    limit_videos,
    read_json_list,
    read_list,
    read_wsdan_list,
    write_list,
    write_wsdan_list,
)
from utils.data.shards import crop_numbers
from utils.training.config import WSDANConfig
from utils.training.sets import videos_of_sets

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


@pytest.mark.parametrize(
    "text, said",
    [
        (None, "missing"),
        ("", "can't be read"),
        ("name,is_fake\na,0\n", "no column n_frame, set_name"),
        ("name,is_fake,n_frame,set_name\na,2,1,train\n", "is_fake must be 0 or 1"),
        ("name,is_fake,n_frame,set_name\na,1,many,train\n", "n_frame a whole number"),
        ("name,is_fake,n_frame,set_name\n", "names no video"),
    ],
)
def test_lists_that_are_none(tmp_path, text, said):
    path = tmp_path / "list.csv"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_list(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_json_list(tmp_path):
    path = tmp_path / "dfdc.json"
    path.write_text('{"train": [["a", 0], ["b", 1]], "test": [["c", 1]], "test_all": [["c", 1]]}')
    table = read_json_list(path)
    assert table[["name", "is_fake", "set_name"]].to_numpy().tolist() == [
        ["a", 0, "train"], ["b", 1, "train"], ["c", 1, "test"], ["c", 1, "test_all"]]  # fmt: skip


def test_a_video_that_is_listed_again_counts_once_and_has_one_label(tmp_path, capsys):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "009.png").touch()
    rows = [("a", 0, 1, "train"), ("b", 1, 1, "train"), ("a", 0, 1, "train"), ("c", 0, 1, "val")]
    table = pd.DataFrame(rows, columns=["name", "is_fake", "n_frame", "set_name"])
    config = WSDANConfig(datapath=str(tmp_path), train_sets=("train",), valid_set="val")
    trained, validated = videos_of_sets(table, tmp_path, config)
    assert trained.names == ["a", "b"] and validated.names == ["c"]
    assert "train: 1 rows name a video again, and are left out" in capsys.readouterr().out
    table.loc[2, "is_fake"] = 1
    with pytest.raises(DataError, match="calls 'a' both real and fake"):
        find_videos(table, tmp_path, ("train",))


def test_crop_numbers(tmp_path):
    for name in ("010.png", "009.png", "1000.png", "faces.csv", "x.png", "011.jpg", ".012.png.part", "9.png",
                 "99999999999.png", "٠٠٩.png", "0²9.png"):  # fmt: skip
        (tmp_path / name).touch()
    assert crop_numbers(tmp_path).tolist() == [9, 10, 1000]
    assert len(crop_numbers(tmp_path / "absent")) == 0


def test_videos_without_crops_are_told(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "000.png").touch()
    table = pd.DataFrame({"name": ["a", "b"], "is_fake": [0, 1], "n_frame": [1, 1], "set_name": ["t", "t"]})
    videos, missing = find_videos(table, tmp_path, ("t",))
    assert videos.names == ["b"] and videos.labels.tolist() == [1] and missing == ["a"]
    with pytest.raises(DataError, match="'val'; its sets: t"):
        find_videos(table, tmp_path, ("val",))
    with pytest.raises(DataError, match="data_root"):
        find_videos(table, tmp_path / "elsewhere", ("t",))


def test_a_limit_keeps_both_classes():
    labels = np.array([0] * 4 + [1] * 2)
    videos = Videos(list("ABCDEF"), list("abcdef"), labels, np.full(6, 6), [np.arange(0, 6, 2)] * 6)
    for limit in (2, 3):
        few = limit_videos(videos, limit, seed=0)
        assert set(few.labels) == {0, 1} and len(few) == limit
    for reals, fakes in ((3, 3), (1, 100), (100, 1), (7, 0), (0, 7)):
        labels, names = np.repeat([0, 1], [reals, fakes]), [str(k) for k in range(reals + fakes)]
        videos = Videos(names, names, labels, np.full(len(names), 6), [np.arange(3)] * len(names))
        for limit in (2, 3, 5):
            few = limit_videos(videos, limit, seed=0)
            assert len(few) == limit and set(few.labels) == set(labels)
    assert limit_videos(videos, 100, seed=0) is videos


def test_a_video_in_training_and_validation_is_refused(tmp_path, capsys):
    for name in "acd":
        (tmp_path / name).mkdir()
        (tmp_path / name / "002.png").touch()
    rows = [("a", 0, 1, "train"), ("b", 1, 1, "train"), ("d", 1, 1, "train"), ("c", 1, 1, "test"),
            ("c", 1, 1, "test_all")]  # fmt: skip
    table = pd.DataFrame(rows, columns=["name", "is_fake", "n_frame", "set_name"])
    config = WSDANConfig(datapath=str(tmp_path), train_sets=("train",))
    training_videos, validation_videos = videos_of_sets(table, tmp_path, config)
    assert (training_videos.names, validation_videos.names) == (["a", "d"], ["c"])
    assert "train: 1 listed videos are left out, without crops: b" in capsys.readouterr().out
    config = WSDANConfig(datapath=str(tmp_path), train_sets=("train", "test_all"))
    with pytest.raises(DataError, match="1 videos, such as 'c', are in train_sets"):
        videos_of_sets(table, tmp_path, config)


def test_a_list_holds_no_formula_and_names_are_read_back(tmp_path):
    rows = [("=1+1", 0, 3, "@train"), ("+a", 1, 2, "val"), ("NA", 0, 1, "val")]
    table = pd.DataFrame(rows, columns=["name", "is_fake", "n_frame", "set_name"])
    write_list(table, tmp_path / "list.csv")
    assert not [line for line in (tmp_path / "list.csv").read_text().split("\n") if line[:1] in tuple("=+-@")]
    assert read_list(tmp_path / "list.csv").values.tolist() == [list(row) for row in rows]
