"""An output folder that vanishes in mid-run, or takes no more: a line, exit status 1, nothing made up."""

import shutil
from itertools import count

import pytest
from processes import files_up_to
from scripts import run_script
from training_runs import keys, script

import make_dataset
from utils.data import extraction
from utils.scoring import submission
from utils.scoring.record import Record
from utils.training import run as runs
from utils.training.config import XceptionConfig
from utils.training.run import RunFolder


@pytest.fixture
def vanish(monkeypatch):
    """`vanish(folder, owner, name)`: the folder is gone before the second call of a function or method."""

    def plan(folder, owner, name, at=1):
        whole, calls = getattr(owner, name), count()

        def call(*arguments, **options):
            if next(calls) == at:
                folder.rename(folder.with_name("elsewhere"))
            return whole(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    return plan


@pytest.fixture
def videos(tmp_path, clip):
    (tmp_path / "videos").mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        shutil.copy(clip, tmp_path / "videos" / name)
    return tmp_path / "videos"


def assert_told(error, folder):
    """The last line of standard error says what is wrong with the folder; no traceback is there."""
    last = error.splitlines()[-1]
    assert last.startswith("error: ") and str(folder) in last and "Traceback" not in error, error
    assert error.count("error: ") == 1, error


@pytest.mark.parametrize("name", ["begin_folder", "write_crop_file", "finish_folder"])
def test_extraction_whose_folder_vanishes(videos, tmp_path, capsys, vanish, name):
    out = tmp_path / "out"
    vanish(out, extraction, name)
    assert make_dataset.main([str(videos), str(out), "--every", "30", "--writers", "1"]) == 1
    assert_told(capsys.readouterr().err, out)
    assert not out.exists() and not list(tmp_path.rglob("*.part"))
    assert len(list((tmp_path / "elsewhere").glob("*/faces.csv"))) <= 1


@pytest.mark.parametrize(("owner", "name", "at"), [(Record, "append", 1), (submission, "write_whole", 0)])
def test_scoring_whose_folder_vanishes(videos, tmp_path, main, config, vanish, owner, name, at):
    out = tmp_path / "out"
    vanish(out, owner, name, at)
    code, _, error = main(videos, "--config", config, "--output", out / "o.csv")
    assert code == 1 and not out.exists()
    assert_told(error, out)


@pytest.mark.parametrize(("owner", "name"), [(RunFolder, "save"), (runs, "append_line")])
def test_training_whose_folder_vanishes(data, tmp_path, capsys, tiny, vanish, owner, name):
    out = tmp_path / "out"
    vanish(out, owner, name)
    assert train(data, out) == 1
    assert_told(capsys.readouterr().err, out)
    assert not out.exists()


def train(data, out):
    arguments = [f"{key}={value!r}" for key, value in keys(data, out).items()]
    return run_script(script, XceptionConfig, "xception-conf.py", *arguments)


@pytest.mark.parametrize("size", [100, 12000])
def test_training_without_room_is_a_line_and_goes_on_later(data, tmp_path, capsys, tiny, size):
    with files_up_to(size):
        assert train(data, tmp_path / "out") == 1
    assert_told(capsys.readouterr().err, tmp_path / "out")
    assert not list((tmp_path / "out").glob(".*"))
    assert train(data, tmp_path / "out") == 0
