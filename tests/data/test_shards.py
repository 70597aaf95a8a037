"""Crops in several folders: the same lists and the same training as from one folder that holds them all."""

import os
import shutil

import pytest
import torch
from scripts import load_script
from training_runs import TinyNet, assert_equal, config, log_of, one_thread, script, write_faces

from utils.core.config import load_config
from utils.core.errors import DataError
from utils.data.lists import find_videos, read_list
from utils.data.shards import find_crops, roots_in
from utils.training.config import XceptionConfig


@pytest.fixture
def data(tmp_path, clip):
    """Twelve videos in `faces`, and the same in the shards part1 and part2."""
    write_faces(tmp_path, clip)
    for k, name in enumerate(sorted(os.listdir(tmp_path / "faces"))):
        shutil.copytree(tmp_path / "faces" / name, tmp_path / f"part{k % 3 % 2 + 1}" / name)
    return tmp_path


def shards(data):
    return str(data / "part1"), str(data / "part2")


def test_the_lists_of_two_shards_are_those_of_one_folder(data, capsys):
    read_list(data / "list.csv")[["name", "is_fake"]].to_csv(data / "labels.csv", index=False)
    run = load_script("make_split.py").main
    labels, made = str(data / "labels.csv"), {}
    (data / "part1.log").write_text("a file that the pattern also finds")
    for out, where in (("one", [str(data / "faces")]), ("two", ["--faces", *shards(data)]),
                       ("pattern", [str(data / "part*")])):  # fmt: skip
        assert run([labels, *where, "--out", str(data / out), "--fractions", "train=0.5", "val=0.5"]) == 0
        made[out] = [(data / out / name).read_text() for name in ("dfdc-data.csv", "dfdc.json")]
    assert made["two"] == made["one"] == made["pattern"] and made["one"][0].count("\n") == 13
    capsys.readouterr()
    (data / "part1" / "video01").mkdir()  # no crops yet: they lie in the other
    assert find_crops(["video01"], shards(data))[0] == [str(data / "part2" / "video01")]
    shutil.copytree(data / "part1" / "video00", data / "part2" / "video00")
    assert run([labels, "--faces", *shards(data), "--out", str(data / "none")]) == 1
    said = capsys.readouterr().err
    assert all(str(data / part / "video00") in said for part in ("part1", "part2")) and said.count("\n") == 1


def test_a_training_reads_the_crops_of_both(data, monkeypatch, tmp_path):
    monkeypatch.setattr(script, "build_network", lambda name: TinyNet())
    states = []
    with one_thread():
        for name, where in (("one", str(data / "faces")), ("two", shards(data))):
            torch.manual_seed(0)
            assert script.train(config(data, tmp_path / name, data_root=where, n_epoches=1)) == 0
            states.append(torch.load(tmp_path / name / "best.pth")["state_dict"])
    assert log_of(tmp_path / "one") == log_of(tmp_path / "two")
    assert_equal(*states)


def test_roots_are_folders_patterns_and_several(data, monkeypatch):
    monkeypatch.chdir(data)
    named = load_config(None, XceptionConfig, ["data_root=('part1', 'part2')"]).data_root
    assert named == shards(data)
    pattern = load_config(None, XceptionConfig, ["data_root=part*"]).data_root
    assert roots_in(pattern) == list(shards(data)) == roots_in([pattern, "part2/../part1"])
    for wrong in (["part1", "part3"], "no*", str(data / "list.csv")):
        with pytest.raises(DataError, match="no such folder"):
            roots_in(wrong)
    (data / "part[12]").mkdir()  # is there, so it is no pattern
    assert roots_in("part[12]") == ["part[12]"]
    videos, _ = find_videos(read_list("list.csv"), pattern, ("val",))
    assert_equal([os.path.isfile(videos.crop(k, 1)) for k in range(len(videos))], [True] * 4)
