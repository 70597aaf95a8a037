"""make_split.py --check: every leak in and across lists is found, and nothing else is called one."""

import json

import pytest

import make_split

HEAD = "name,is_fake,n_frame,set_name\n"


@pytest.fixture
def check(tmp_path, capsys, monkeypatch):
    """`check(labels=..., **files)` writes the files (a dict: JSON) and checks them: (status, out, err)."""
    monkeypatch.chdir(tmp_path)

    def run(labels=None, **lists):
        names = []
        for name, content in lists.items():
            is_json = isinstance(content, dict)
            names.append(f"{name}.json" if is_json else f"{name}.csv")
            (tmp_path / names[-1]).write_text(json.dumps(content) if is_json else HEAD + content)
        given = []
        if labels is not None:
            (tmp_path / "labels.csv").write_text("name,is_fake,original\n" + labels)
            given = ["labels.csv"]
        status = make_split.main([*given, "--check", *names])
        return (status, *capsys.readouterr())

    return run


def test_a_clean_list(check):
    status, out, err = check(a="r,0,9,train\nf,1,9,train\ns,0,9,val\n")
    assert (status, err) == (0, "")
    assert "a.csv: train 1 real + 1 fake, val 1 real + 0 fake" in out
    assert "no leak found" in out and "the originals of 3 videos are unknown" in out


def test_a_video_in_two_sets_of_one_list(check):
    status, out, _ = check(a="r,0,9,train\nr,0,9,val\n")
    assert status == 1 and "LEAK: a.csv train and a.csv val share 1 videos (such as r)\n" in out
    status, out, _ = check(a={"train": [["r", 0]], "test_all": [["r", 0]]})
    assert status == 1 and "LEAK: a.json train and a.json test_all share 1 videos" in out


def test_an_original_in_two_sets_needs_labels_to_be_found(check):
    rows = "f,1,9,train\ng,1,9,val\n"
    assert check(a=rows)[0] == 0
    status, out, _ = check(a=rows, labels="f,1,r\ng,1,r\nr,0,\n")
    assert status == 1 and "LEAK: a.csv train and a.csv val share 1 originals (such as r)\n" in out
    assert check(a=rows, labels="f,1,r\ng,1,s\n")[0] == 0


def test_a_fake_and_its_source_in_two_sets(check):
    """The source is known to be its own original, though the labels don't name it."""
    status, out, _ = check(a="f,1,9,train\nr,0,9,test\n", labels="f,1,r\n")
    assert status == 1 and "a.csv train and a.csv test share 1 originals" in out


def test_leaks_across_lists(check):
    first, second = "f,1,9,train\nr,0,9,val\n", {"train": [["r", 0]], "valid": [["f", 1]]}
    status, out, _ = check(a=first, b=second)
    assert status == 1
    assert "LEAK: a.csv train and b.json valid share 1 videos (such as f)" in out
    assert "LEAK: a.csv val and b.json train share 1 videos (such as r)" in out
    assert "2 pairs of sets leak" in out
    status, out, _ = check(a="f,1,9,train\n", b={"valid": [["g", 1]]}, labels="f,1,r\ng,1,r\n")
    assert status == 1 and "a.csv train and b.json valid share 1 originals (such as r)" in out


def test_sets_of_one_use_may_share(check):
    lists = {"train": [["a", 0]], "valid": [["b", 0]], "test": [["c", 0]], "test_all": [["c", 0], ["d", 1]]}
    status, out, _ = check(a="a,0,9,train\nb,0,9,val\ne,0,9,val\nc,0,9,test\nd,1,9,test\n", b=lists)
    assert status == 0
    assert "contained: b.json test (1 videos) lies in b.json test_all" in out
    assert "same: a.csv test and b.json test_all hold the same 2 videos" in out
    assert "contained: b.json valid (1 videos) lies in a.csv val" in out
    status, out, _ = check(a="b,0,9,val\ne,0,9,val\n", b={"valid": [["b", 0], ["x", 0]]})
    assert status == 0 and "shared: a.csv val and b.json valid, of one use, share 1 videos" in out


def test_the_published_lists_in_small(check):
    """CSV val in the JSON's train + valid, CSV test = test_all, which holds test; no list leaks in itself."""
    csv = "a,0,9,train\nb,1,9,train\nc,0,9,val\nd,1,9,val\ne,0,9,test\nf,1,9,test\n"
    lists = {"train": [["a", 0], ["d", 1]], "valid": [["b", 1], ["c", 0]]}
    lists |= {"test": [["e", 0]], "test_all": [["e", 0], ["f", 1]]}
    assert check(csv=csv)[0] == 0 and check(json=lists)[0] == 0
    status, out, _ = check(csv=csv, json=lists)
    assert status == 1
    assert "note: 2 of 2 videos of csv.csv val lie in json.json train (1) + valid (1): WS-DAN" in out
    assert "2 pairs of sets leak" in out  # train with valid, val with train
    assert "of csv.csv test lie in" not in out


def test_repeated_rows_and_contradicting_labels_are_warned_of(check):
    status, out, err = check(a="r,0,9,train\nr,0,9,train\n", b={"train": [["r", 1]]}, labels="r,0,\n")
    assert status == 0 and "no leak found" in out
    assert "1 rows repeat a video of the same set, such as r" in err
    assert "1 videos are called real here and fake there, such as r" in err


def test_bad_lists_are_one_line(tmp_path, capsys):
    (tmp_path / "bad.json").write_text('{"train": 3}')
    (tmp_path / "bad.csv").write_text("name\na\n")
    for name in ("bad.json", "bad.csv", "missing.json", "missing.csv", ""):
        assert make_split.main(["--check", str(tmp_path / name)]) == 1
        said = capsys.readouterr()
        assert said.out == "" and said.err.startswith("error: ") and said.err.count("\n") == 1
