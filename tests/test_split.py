"""Training lists: what was given is kept, no original lies in two sets, and bad tables are told."""

import pandas as pd
import pytest

import make_split
from utils.errors import DataError
from utils.split import assign_sets, check_no_leak, read_tables

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


def test_several_tables_and_own_fractions(tmp_path):
    crops(tmp_path / "faces", **{f"v{k}": 1 for k in range(10)})
    for part in (0, 1):
        rows = "".join(f"v{k},{k % 2},v{k},\n" for k in range(5 * part, 5 * part + 5))
        (tmp_path / f"{part}.csv").write_text("name,is_fake,original,set_name\n" + rows)
    argv = [str(tmp_path / "0.csv"), str(tmp_path / "1.csv"), str(tmp_path / "faces")]
    assert make_split.main([*argv, "--out", str(tmp_path), "--fractions", "train=0.5", "x=0.2", "y=0.3"]) == 0
    counts = pd.read_csv(tmp_path / "dfdc-data.csv")["set_name"].value_counts()
    assert counts.to_dict() == {"train": 5, "y": 3, "x": 2}


@pytest.mark.parametrize(
    "text, said",
    [
        ("name,is_fake\na,1\n", "no column original"),
        ("name,is_fake,original\na,1,b\nc,0,c\na,1,d\n", "'a' is listed more .*line 2 and .*line 4"),
        ("name,is_fake,original\na,1,b\nc,maybe,d\n", "line 3: is_fake must be .*'maybe'"),
        ("name,is_fake,original\na,1,\n", "line 2: the fake 'a' has no original"),
        ("name,is_fake,original\n,0,b\n", "line 2: the video has no name"),
        ("", "can't be read"),
    ],
)
def test_bad_tables(tmp_path, text, said):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as caught:
        read_tables([path])
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


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
    assert capsys.readouterr().err.count("error: ") == 5
    assert not (tmp_path / "out").exists()


def test_the_shared_faces_have_no_leak(shared):
    """The real table: 26,000 videos, its sets kept."""
    faces = read_tables([shared / "faces" / "faces.csv"])
    check_no_leak(faces)
    split = assign_sets(faces, SHARES, seed=0)
    assert (split["set_name"] == faces["set_name"]).all()
    assert split["set_name"].value_counts().to_dict() == {"train": 23000, "val": 3000}
