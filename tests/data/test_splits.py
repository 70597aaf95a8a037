"""Training lists: what was given is kept, no original lies in two sets, and both formats agree."""

import json

import pandas as pd
import pytest

import make_split
from utils.core.errors import DataError
from utils.data.labels import read_labels
from utils.data.splits import assign_sets, check_no_leak, hold_out

SHARES = {"train": 0.8, "val": 0.2}


def table(n_originals: int, n_fakes: int = 2, set_name: str = "") -> pd.DataFrame:
    """Originals r0, r1, ... with fakes r0f0, r0f1, ..."""
    rows = [
        (name, int("f" in name), original, set_name)
        for original in (f"r{k}" for k in range(n_originals))
        for name in (original, *(f"{original}f{j}" for j in range(n_fakes)))
    ]
    return pd.DataFrame(rows, columns=["name", "is_fake", "original", "set_name"])


def crops(root, **counts: int) -> None:
    for name, count in counts.items():
        (root / name).mkdir(parents=True)
        for number in range(count):
            (root / name / f"{number:03d}.png").touch()


def run(tmp_path, text: str, *options: str) -> int:
    (tmp_path / "labels.csv").write_text(text)
    faces, out = tmp_path / "faces", tmp_path / "out"
    return make_split.main([str(tmp_path / "labels.csv"), str(faces), "--out", str(out), *options])


def test_no_original_in_two_sets_and_the_shares_are_met():
    split = assign_sets(table(100), SHARES, seed=0)
    assert split.groupby("original")["set_name"].nunique().max() == 1
    assert split.groupby("set_name")["original"].nunique().to_dict() == {"train": 80, "val": 20}


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_rows():
    videos = table(40)
    split = assign_sets(videos, SHARES, seed=1).set_index("name")["set_name"]
    mixed = assign_sets(videos.sample(frac=1, random_state=0), SHARES, seed=1).set_index("name")["set_name"]
    assert split.equals(mixed[split.index])
    assert not split.equals(assign_sets(videos, SHARES, seed=2).set_index("name")["set_name"])


def test_given_sets_are_kept_and_draw_their_original_along():
    videos = table(30)
    videos.loc[videos["name"] == "r3f1", "set_name"] = "test"
    split = assign_sets(videos, SHARES, seed=0)
    assert set(split.loc[split["original"] == "r3", "set_name"]) == {"test"}
    assert set(split.loc[split["original"] != "r3", "set_name"]) == {"train", "val"}


def test_an_original_in_two_given_sets_is_an_error():
    videos = table(3, set_name="train")
    videos.loc[videos["name"] == "r1f0", "set_name"] = "val"
    with pytest.raises(DataError, match="'r1' in train and val"):
        assign_sets(videos, SHARES, seed=0)


def test_the_list_counts_crops_and_leaves_out_videos_without(tmp_path, capsys):
    crops(tmp_path / "faces", a=3, b=1, c=0)
    text = "name,is_fake,original,set_name\na,fake,b,val\nb,REAL,,val\nc,1,d,train\ne,0,e,\n"
    assert run(tmp_path, text) == 0
    assert (tmp_path / "out" / "dfdc-data.csv").read_text() == (
        "name,is_fake,n_frame,set_name\na,1,3,val\nb,0,1,val\n"
    )
    assert (tmp_path / "out" / "without-crops.txt").read_text().split() == ["c", "e"]
    said = capsys.readouterr().out
    assert "val: 1 real and 1 fake videos of 1 originals, 4 crops" in said and "2 labelled videos" in said
    assert "1 originals drawn (train 0.8, val 0.2; seed 0), 2 in their given sets" in said


def test_an_extraction_that_was_not_finished_is_told(tmp_path, capsys):
    crops(tmp_path / "faces", a=3, b=1)
    for name in "ab":
        (tmp_path / "faces" / name / ".source.json").write_text("{}")
    (tmp_path / "faces" / "a" / "faces.csv").touch()
    assert run(tmp_path, "name,is_fake,original\na,0,\nb,1,a\n") == 0
    assert "warning: the crops of 1 videos, such as 'b'" in capsys.readouterr().err


def metadata(folder, n_originals: int, n_fakes: int, prefix: str) -> None:
    """A part of DFDC: originals, each with its fakes."""
    folder.mkdir(parents=True)
    videos = {}
    for k in range(n_originals):
        videos[f"{prefix}{k}.mp4"] = {"label": "REAL", "split": "train"}
        for j in range(n_fakes):
            fake = {"label": "FAKE", "split": "train", "original": f"{prefix}{k}.mp4"}
            videos[f"{prefix}{k}f{j}.mp4"] = fake
    (folder / "metadata.json").write_text(json.dumps(videos))


def test_dfdc_parts_become_both_lists(tmp_path, capsys):
    """Two part folders: no original in two sets, and the JSON holds what the CSV does."""
    for prefix in "ab":
        metadata(tmp_path / "dfdc" / f"part_{prefix}", 10, 2, prefix)
    names = [f"{p}{k}{f}" for p in "ab" for k in range(10) for f in ("", "f0", "f1")]
    crops(tmp_path / "faces", **{name: 2 for name in names if name != "a0f1"})
    argv = [str(tmp_path / "dfdc"), str(tmp_path / "faces"), "--out", str(tmp_path / "out")]
    assert make_split.main([*argv, "--fractions", "test=0.2", "train=0.5", "valid=0.3"]) == 0
    table = pd.read_csv(tmp_path / "out" / "dfdc-data.csv")
    original = table["name"].str.split("f").str[0]
    assert table.groupby(original)["set_name"].nunique().max() == 1
    assert original.groupby(table["set_name"]).nunique().to_dict() == {"test": 4, "train": 10, "val": 6}
    assert (table["is_fake"] == table["name"].str.contains("f")).all() and len(table) == 59
    lists = json.loads((tmp_path / "out" / "dfdc.json").read_text())
    assert list(lists) == ["train", "valid", "test"]
    for key, name in (("train", "train"), ("valid", "val"), ("test", "test")):
        rows = table[table["set_name"] == name]
        assert lists[key] == [list(pair) for pair in zip(rows["name"], rows["is_fake"], strict=True)]
    assert (tmp_path / "out" / "without-crops.txt").read_text() == "a0f1\n"
    capsys.readouterr()
    both = [str(tmp_path / "out" / name) for name in ("dfdc-data.csv", "dfdc.json")]
    assert make_split.main([str(tmp_path / "dfdc"), "--check", *both]) == 0
    assert "no leak found" in capsys.readouterr().out


def test_the_same_call_writes_the_same_files(tmp_path):
    metadata(tmp_path / "dfdc", 20, 1, "v")
    crops(tmp_path / "faces", **{f"v{k}": 1 for k in range(20)})
    written = []
    for out in ("one", "two"):
        argv = [str(tmp_path / "dfdc"), "--seed", "7", "--out", str(tmp_path / out), str(tmp_path / "faces")]
        assert make_split.main(argv) == 0
        written.append({path.name: path.read_bytes() for path in (tmp_path / out).iterdir()})
    assert written[0] == written[1] and len(written[0]) == 3


def test_an_empty_set_is_told(tmp_path, capsys):
    crops(tmp_path / "faces", a=1, b=1)
    assert run(tmp_path, "name,is_fake,original\na,0,\nb,1,a\n") == 0
    said = capsys.readouterr()
    assert "the set val is empty" in said.err and "val: 0 real and 0 fake" in said.out
    assert list(json.loads((tmp_path / "out" / "dfdc.json").read_text())) == ["train"]


def test_several_tables_and_own_fractions(tmp_path):
    crops(tmp_path / "faces", **{f"v{k}": 1 for k in range(10)})
    for part in (0, 1):
        rows = "".join(f"v{k},{k % 2},v{k},\n" for k in range(5 * part, 5 * part + 5))
        (tmp_path / f"{part}.csv").write_text("name,is_fake,original,set_name\n" + rows)
    argv = [str(tmp_path / "0.csv"), str(tmp_path / "1.csv"), str(tmp_path / "faces")]
    assert make_split.main([*argv, "--out", str(tmp_path), "--fractions", "train=0.5", "x=0.2", "y=0.3"]) == 0
    counts = pd.read_csv(tmp_path / "dfdc-data.csv")["set_name"].value_counts()
    assert counts.to_dict() == {"train": 5, "y": 3, "x": 2}


def test_usage_and_data_errors_have_their_exit_codes(tmp_path, capsys):
    good = "name,is_fake,original\na,0,a\n"
    crops(tmp_path / "faces", b=1)
    assert run(tmp_path, good) == 1
    assert "holds no crop" in capsys.readouterr().err
    assert run(tmp_path, good, "--fractions", "train=0.8", "val=0.3") == 2
    assert run(tmp_path, good, "--fractions", "half") == 2
    assert run(tmp_path, good, "--seed", "-1") == 2
    assert make_split.main([str(tmp_path / "no.csv"), str(tmp_path / "faces"), "--out", str(tmp_path)]) == 1
    assert make_split.main([str(tmp_path / "labels.csv"), str(tmp_path / "no"), "--out", str(tmp_path)]) == 1
    assert run(tmp_path, good, "--fractions", "train=nan") == 2
    assert run(tmp_path, good, "--fractions", "val=0.5", "valid=0.5") == 2
    assert make_split.main([str(tmp_path / "labels.csv"), str(tmp_path / "faces")]) == 2
    assert make_split.main([str(tmp_path / "labels.csv"), "--out", str(tmp_path)]) == 2
    assert make_split.main(["--check", "a.csv", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("error: ") == 10
    assert not (tmp_path / "out").exists()


def test_the_shared_faces_have_no_leak(shared):
    """The real table: 26,000 videos, its sets kept."""
    faces = read_labels([shared / "faces" / "faces.csv"])
    check_no_leak(faces)
    split = assign_sets(faces, SHARES, seed=0)
    assert (split["set_name"] == faces["set_name"]).all()
    assert split["set_name"].value_counts().to_dict() == {"train": 23000, "val": 3000}


def test_held_out_originals_come_from_train_alone_and_leave_no_video_behind():
    others = table(20, set_name="val").replace("^r", "o", regex=True)
    videos = pd.concat([table(100, set_name="train"), others], ignore_index=True)
    split = hold_out(videos, 0.05, seed=3)
    assert split.groupby("original")["set_name"].nunique().max() == 1
    held = split.loc[split["set_name"] == "holdout", "original"]
    assert held.nunique() == 5 and held.str.startswith("r").all()
    mixed = hold_out(videos.sample(frac=1, random_state=0), 0.05, seed=3)
    assert set(mixed.loc[mixed["set_name"] == "holdout", "name"]) == set(split.loc[held.index, "name"])
    assert set(hold_out(videos, 0.05, seed=4).query("set_name == 'holdout'")["original"]) != set(held)


def test_a_held_out_share_can_be_too_small(tmp_path, capsys):
    with pytest.raises(DataError, match="nothing to part"):
        hold_out(table(5, set_name="train"), 0.05, seed=0)
    with pytest.raises(DataError, match="a set holdout is given already"):
        hold_out(table(5, set_name="holdout"), 0.5, seed=0)
    crops(tmp_path / "faces", a=1)
    assert run(tmp_path, "name,is_fake,original\na,0,a\n", "--hold-out", "5") == 2
    assert "--hold-out must be a share" in capsys.readouterr().err


def test_the_command_sets_originals_aside(tmp_path, capsys):
    crops(tmp_path / "faces", **{f"r{k}": 1 for k in range(10)})
    text = "name,is_fake,original,set_name\n" + "".join(f"r{k},{k % 2},r{k},train\n" for k in range(10))
    assert run(tmp_path, text, "--hold-out", "0.2") == 0
    assert "holdout: " in capsys.readouterr().out
    assert len(json.loads((tmp_path / "out" / "dfdc.json").read_text())["holdout"]) == 2


def test_labels_without_originals_make_lists_and_a_warning(tmp_path, capsys):
    crops(tmp_path / "faces", a=1, b=1, c=1, d=1)
    text = "filename,label\na.mp4,REAL\nb.mp4,REAL\nc.mp4,FAKE\nd.mp4,FAKE\n"
    assert run(tmp_path, text, "--fractions", "train=0.5", "val=0.5") == 0
    assert "no original is told of 2 fakes" in capsys.readouterr().err
    lists = str(tmp_path / "out" / "dfdc-data.csv")
    assert make_split.main([str(tmp_path / "labels.csv"), "--check", lists]) == 0
    assert "the originals of 2 videos are unknown" in capsys.readouterr().out
