"""Labels from tables and DFDC metadata: one meaning whatever the source, and bad input told by its place."""

import errno
import json
import os

import pytest

from utils.core.errors import DataError
from utils.data.labels import read_labels

PART = {
    "abc.mp4": {"label": "FAKE", "split": "train", "original": "xyz.mp4"},
    "xyz.mp4": {"label": "REAL", "split": "train"},
}


def write(path, videos) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(videos if isinstance(videos, str) else json.dumps(videos))
    return str(path)


def rows(*paths) -> list[tuple]:
    columns = ["name", "is_fake", "original", "set_name"]
    return list(read_labels(paths)[columns].itertuples(index=False, name=None))


def test_metadata_names_lose_their_suffix_and_its_split_is_not_used(tmp_path):
    path = write(tmp_path / "metadata.json", PART)
    assert rows(path) == [("abc", 1, "xyz", ""), ("xyz", 0, "xyz", "")]


def test_a_folder_is_searched_for_parts(tmp_path):
    write(tmp_path / "dfdc" / "part_1" / "metadata.json", {"b.mp4": {"label": "REAL", "original": None}})
    write(tmp_path / "dfdc" / "part_0" / "part_0" / "metadata.json", PART)
    write(tmp_path / "dfdc" / "part_0" / "other.json", "no metadata")
    (tmp_path / "dfdc" / "part_1" / "back").symlink_to(tmp_path / "dfdc")
    assert [row[0] for row in rows(tmp_path / "dfdc")] == ["abc", "xyz", "b"]


def test_a_part_that_cannot_be_listed_is_not_passed_over(tmp_path, monkeypatch):
    write(tmp_path / "part_0" / "metadata.json", PART)
    (tmp_path / "part_1").mkdir()
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("part_1"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(DataError, match="part_1"):
        rows(tmp_path)


def test_a_linked_part_is_found(tmp_path):
    write(tmp_path / "disk" / "metadata.json", PART)
    (tmp_path / "dfdc").mkdir()
    (tmp_path / "dfdc" / "part").symlink_to(tmp_path / "disk")
    assert len(rows(tmp_path / "dfdc")) == 2


def test_of_two_names_that_differ_by_suffix_alone_both_stay(tmp_path):
    path = write(tmp_path / "metadata.json", {"a.mp4": {"label": "REAL"}, "a.avi": {"label": "REAL"}})
    assert [row[0] for row in rows(path)] == ["a.mp4", "a.avi"]


SAME = [("a", 1, "b", ""), ("b", 0, "b", ""), ("c", 0, "c", "")]
NO_ORIGINALS = [("a", 1, "a", ""), *SAME[1:]]
NAN = float("nan")


@pytest.mark.parametrize(
    "name, text, expected",
    [
        ("bom.csv", "\ufeffname,is_fake,original\r\na,1,b\r\nb,0,\r\n\r\nc,0,\r\n", SAME),
        ("excel.csv", "Name;Is_Fake;Original;note\na;1;b;x, y\nb;0;b;\nc;0\n", SAME),
        ("tabs.tsv", "name\toriginal\tis_fake\na\tb.mp4\tFAKE\nb\tNaN\tREAL\nc\t\treal\n", SAME),
        ("quoted.csv", '"spare","filename","label"\n"1,2","a.mp4","1"\n,"b.mp4",0.0\n,c.mp4,0\n',
         NO_ORIGINALS),
        ("list.txt", "a.mp4,FAKE\nb.mp4,REAL\nc.mp4,REAL\n", NO_ORIGINALS),
        ("blanks.txt", "a.mp4 FAKE\nb.mp4  REAL\nc.mp4 real\n", NO_ORIGINALS),
        ("of_pandas.csv", ",label,original\na.mp4,FAKE,b.mp4\nb.mp4,REAL,\nc.mp4,REAL,nan\n", SAME),
        ("pandas.csv", "name,is_fake\na,True\nb,False\nc,False\n", NO_ORIGINALS),
        ("test.json", {"a.mp4": {"is_fake": 1, "augmentations": ["x"]}, "b.mp4": {"is_fake": 0},
                       "c.mp4": {"is_fake": False}}, NO_ORIGINALS),
        ("numbers.json", {"a.mp4": 1, "b.mp4": 0, "c.mp4": 0.0}, NO_ORIGINALS),
        ("rows.json", [{"filename": "a.mp4", "label": "FAKE"}, {"filename": "b.mp4", "label": 0},
                       {"filename": "c.mp4", "label": "real"}], NO_ORIGINALS),
        ("short.json", {"a.mp4": "FAKE", "b.mp4": "REAL", "c.mp4": "REAL"}, NO_ORIGINALS),
        ("metadata.json", {"a.mp4": {"label": "FAKE", "original": "b.mp4"},
                           "b.mp4": {"label": "REAL", "original": NAN}, "c.mp4": {"label": "REAL"}}, SAME),
    ],
)  # fmt: skip
def test_every_form_of_labels_says_the_same(tmp_path, name, text, expected):
    table = read_labels([write(tmp_path / name, text)])
    assert rows(tmp_path / name) == expected
    assert table["knows_original"].tolist() == [expected is SAME, True, True]


def test_a_table_may_come_from_a_spreadsheet_in_utf_16(tmp_path):
    (tmp_path / "t.txt").write_bytes("name\tis_fake\toriginal\r\né\t1\tb\r\n".encode("utf-16"))
    assert rows(tmp_path / "t.txt") == [("é", 1, "b", "")]


def test_tables_and_metadata_mix(tmp_path):
    path = write(tmp_path / "metadata.json", PART)
    table = write(tmp_path / "own.csv", "name,is_fake,original,set_name\nown , FAKE,xyz.mp4,valid\nNA,0,,\n")
    assert rows(path, table)[2:] == [("own", 1, "xyz", "val"), ("NA", 0, "NA", "")]


def test_a_fake_of_a_fake_goes_with_the_first_original(tmp_path):
    table = write(tmp_path / "t.csv", "name,is_fake,original\nc,1,b\nb,1,a\nd,1,c.mp4\na,0,\n")
    assert {row[2] for row in rows(table)} == {"a"}


def test_names_in_a_table_lose_a_video_s_suffix(tmp_path):
    """As in shared/cases: 16_labels_with_suffix.csv."""
    lines = ("name,is_fake,original", "aaa.mp4,0,", "bbb.MOV,1,aaa.mp4", "c.d,0,")
    table = write(tmp_path / "t.csv", "\n".join(lines))
    assert rows(table) == [("aaa", 0, "aaa", ""), ("bbb", 1, "aaa", ""), ("c.d", 0, "c.d", "")]


def test_an_original_that_is_named_like_a_file_stays_itself(tmp_path):
    table = write(tmp_path / "t.csv", "name,is_fake,original\nf,1,a.mp4\na.mp4,0,\na.avi,0,\n")
    assert rows(table)[0] == ("f", 1, "a.mp4", "")


@pytest.mark.parametrize(
    "text, said",
    [
        ("name,fake\na,1\n", "columns name,fake; labels have filename,label or name"),
        ("a.mp4,FAKE\nb.mp4;REAL\n", "line 2: must be a name and FAKE or REAL"),
        ("filename,label\na.mp4,0.7\n", "line 2: label must be 0, 1, real or fake, not '0.7'"),
        ("name;is_fake;original\na;fake;NaN\n", "line 2: the fake 'a' has no original"),
        ("name,is_fake,original\na,1,b\nc,0,c\na,1,d\n", "'a' is listed more .*line 2 and .*line 4"),
        ("name,is_fake,original\na,1,b\nc,maybe,d\n", "line 3: is_fake must be .*'maybe'"),
        ("name,is_fake,original\na,1,b\nc\n", "line 3: is_fake must be .*''"),
        ("name,is_fake,original\na,1,\n", "line 2: the fake 'a' has no original"),
        ("name,is_fake,original\n,0,b\n", "line 2: the video has no name"),
        ("name,is_fake,original\na,1,b\nb,1,a\n", "line 2: the originals of 'a' lead in a circle"),
        ("name,is_fake,original\n", "lists no video"),
        ("", "is empty"),
    ],
)
def test_bad_tables(tmp_path, text, said):
    path = write(tmp_path / "labels.csv", text)
    with pytest.raises(DataError, match=said) as caught:
        read_labels([path])
    assert path in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "videos, said",
    [
        ("{", "can't be read as JSON"),
        ("\xff", "can't be read as JSON"),
        ("[" * 100_000, "can't be read as JSON"),
        ([["a", 1]], "is no DFDC metadata"),
        ({}, "is no DFDC metadata"),
        ({"a.mp4": {"split": "train"}}, "'a.mp4' has no label"),
        ({"a.mp4": "MAYBE"}, "the label of 'a.mp4' must be FAKE or REAL, not 'MAYBE'"),
        ({"a.mp4": None}, "'a.mp4' has no label"),
        ([{"file": "a.mp4", "label": 2}], "the label of 'a.mp4' must be FAKE or REAL, not 2"),
        ([{"label": 1}], "no name"),
        ({"a.mp4": {"label": "MAYBE"}}, "the label of 'a.mp4' must be FAKE or REAL, not 'MAYBE'"),
        ({"a.mp4": {"label": "FAKE"}, "b.mp4": {"label": "REAL", "original": None}},
         "the fake 'a' has no original"),
        ({"a.mp4": {"label": "FAKE", "original": 3}}, "must be a name, not 3"),
        ({"": {"label": "REAL"}}, "a video has no name"),
        ('{"a.mp4": {"label": "REAL"}, "a.mp4": {"label": "REAL"}}', "'a.mp4' is there more than once"),
        ({"a.mp4": {"label": "REAL"}, "a": {"label": "REAL"}}, r"'a' is listed .*\(a.mp4\) .*\(a\)"),
    ],
)
def test_bad_metadata(tmp_path, videos, said):
    path = tmp_path / "metadata.json"
    if videos == "\xff":
        path.write_bytes(b"\xff\xff")
    else:
        write(path, videos)
    with pytest.raises(DataError, match=said) as caught:
        read_labels([path])
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_clash_between_parts_names_both(tmp_path):
    write(tmp_path / "0" / "metadata.json", PART)
    write(tmp_path / "1" / "metadata.json", {"abc.mp4": {"label": "REAL"}})
    with pytest.raises(DataError, match=r"'abc' is listed .*0/metadata.json .*1/metadata.json"):
        read_labels([tmp_path])


def test_missing_and_empty_folders(tmp_path):
    with pytest.raises(DataError, match="no such label file or folder"):
        read_labels([tmp_path / "no"])
    with pytest.raises(DataError, match="holds no metadata.json"):
        read_labels([tmp_path])
