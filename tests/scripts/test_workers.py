"""--workers and --dask of the commands that read videos: a crash costs its file alone, a kill nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import distributed
import pytest
from planted import plant
from scripts import ROOT, load_script
from submissions import rows

from utils.core import workers

SUBMISSION, DATASET = "best-submission.py", "make_dataset.py"


def start(script, *arguments, env=None):
    command = [sys.executable, str(ROOT / script), *map(str, arguments), "--device", "cpu"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=env)


def run(script, *arguments, env=None):
    """(exit code, stdout, stderr)"""
    process = start(script, *arguments, env=env)
    out, err = process.communicate(timeout=900)
    assert "Traceback" not in err, err
    return process.returncode, out, err


@pytest.fixture
def clips(tmp_path, clip, no_face_clip):
    """Clips to read, one that crashes the planted decoder, and the environment in which it is planted."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4", "crash.mp4"):
        shutil.copy(clip, folder / name)
    shutil.copy(no_face_clip, folder / "nobody.mp4")
    return folder, plant(tmp_path / "planted")


def files_in(folder):
    """Name -> content of all below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_scores_with_a_crash_are_those_without_the_file(clips, config, tmp_path, main, monkeypatch):
    """Without an option. The decoder is planted in the workers alone."""
    monkeypatch.setattr(workers, "FEW", 1)
    folder, env = clips
    monkeypatch.setenv("PYTHONPATH", env["PYTHONPATH"])
    output = tmp_path / "o.csv"
    common = folder, "--config", config, "face_limit=2"
    code, _, err = main(*common, "--output", output)
    assert code == 0, err
    errors = dict(rows(tmp_path / "o.errors.csv")[1:])
    assert errors.keys() == {"crash.mp4", "nobody.mp4"} and "SIGSEGV" in errors["crash.mp4"]
    (folder / "crash.mp4").unlink()
    assert main(*common, "--output", tmp_path / "whole.csv")[0] == 0
    scored = [row for row in rows(output) if row[0] != "crash.mp4"]
    assert scored == rows(tmp_path / "whole.csv")


@pytest.mark.parametrize(
    "options", [["--workers", 1], pytest.param(["--dask", ""], marks=pytest.mark.slow)], ids=["crew", "dask"]
)
def test_figures_of_clips_with_a_crash_are_those_without_the_file(clips, config, tmp_path, options):
    folder, env = clips
    (folder / "labels.csv").write_text("filename,label\na.mp4,0\ncrash.mp4,1\nb.mp4,1\n")
    command = ["clips", "--videos", str(folder), "--config", str(config), "--variants", "plain", "half size"]
    with ExitStack() as stack:
        if "--dask" in options:
            cluster = distributed.LocalCluster(
                n_workers=1, processes=True, dashboard_address=None, host="127.0.0.1", env=env
            )
            options[1] = stack.enter_context(cluster).scheduler_address
        code, out, err = run("evaluate.py", *command, "face_limit=2", "--output", tmp_path / "o", *options,
                             env=env)  # fmt: skip
    assert code == 0 and "crash.mp4" in out, out + err
    told = json.loads((tmp_path / "o.json").read_text())
    assert list(told["failed"]) == ["crash.mp4"] and "SIGSEGV" in told["failed"]["crash.mp4"]
    (folder / "labels.csv").write_text("filename,label\na.mp4,0\nb.mp4,1\n")
    tool = load_script("evaluate.py")
    assert tool.main([*command, "face_limit=2", "--output", str(tmp_path / "w"), "--device", "cpu"]) == 0
    whole = json.loads((tmp_path / "w.json").read_text())
    assert told["clips"] == approx_rows(whole["clips"]) and told["labels"] == whole["labels"]


def approx_rows(rows):
    """Figures but for the last digits, which the number of threads changes."""
    if isinstance(rows, dict):
        return {key: approx_rows(value) for key, value in rows.items()}
    return pytest.approx(rows, abs=1e-4)


@pytest.mark.slow
def test_crops_with_a_crash_and_a_hang_are_those_without_these_files(clips, tmp_path):
    folder, env = clips
    shutil.copy(folder / "a.mp4", folder / "hang.mp4")
    options = "--every", 20, "--workers", 2, "--video-timeout", 60
    code, out, err = run(DATASET, folder, tmp_path / "crops", *options, env=env)
    assert code == 0 and "4 done" in out and "2 failed" in out, out + err
    failures = dict(rows(tmp_path / "crops" / "failures.csv")[1:])
    assert "SIGSEGV" in failures["crash.mp4"] and "--video-timeout" in failures["hang.mp4"]
    for name in ("crash.mp4", "hang.mp4"):
        (folder / name).unlink()
    # with as many threads: how many add up a sum shows in its last digits
    assert run(DATASET, folder, tmp_path / "whole", *options)[0] == 0
    (tmp_path / "crops" / "failures.csv").unlink()
    (tmp_path / "whole" / "failures.csv").unlink()
    assert files_in(tmp_path / "crops") == files_in(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("script", [DATASET, SUBMISSION])
def test_kill_9_on_a_worker_in_mid_run_gives_the_undisturbed_result(clips, tmp_path, script, config):
    folder, _ = clips
    copy_more(folder)

    process = begin(script, folder, config, tmp_path / "killed", "--workers", 2)
    wait_for_some(process, tmp_path / "killed")
    os.kill(children(process.pid)[0], signal.SIGKILL)
    assert process.wait(900) == 0
    process.communicate()
    whole = begin(script, folder, config, tmp_path / "whole", "--workers", 2)
    assert whole.communicate()[1] is not None and whole.returncode == 0
    assert files_in(tmp_path / "killed") == files_in(tmp_path / "whole")


@pytest.fixture
def dask():
    """A cluster of two processes, in an environment that is put back: Dask changes the number of threads."""
    with mock.patch.dict(os.environ), distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", host="127.0.0.1"
    ) as cluster:  # fmt: skip
        yield cluster


@pytest.mark.slow
@pytest.mark.parametrize("script", [DATASET, SUBMISSION])
@pytest.mark.parametrize("victim", ["worker", "command"])
def test_kill_9_on_a_cluster_gives_the_undisturbed_result(clips, tmp_path, script, victim, config, dask):
    """Of a worker, or of the command, which then is given again at once."""
    folder, _ = clips
    copy_more(folder)
    options = "--dask", dask.scheduler_address
    process = begin(script, folder, config, tmp_path / "killed", *options)
    wait_for_some(process, tmp_path / "killed")
    if victim == "worker":
        os.kill(next(iter(dask.workers.values())).pid, signal.SIGKILL)
    else:
        process.kill()
        process.communicate()
        more = ["--resume"] if script == SUBMISSION else []
        process = begin(script, folder, config, tmp_path / "killed", *options, *more)
    said = process.communicate(timeout=900)
    assert process.returncode == 0 and "Traceback" not in said[1], said
    whole = begin(script, folder, config, tmp_path / "whole", *options)
    assert whole.communicate()[1] is not None and whole.returncode == 0
    one, other = files_in(tmp_path / "killed"), files_in(tmp_path / "whole")
    if script == SUBMISSION:  # batches are others, so that a last digit may be
        scores = [dict(rows(tmp_path / name / "o.csv")[1:]) for name in ("killed", "whole")]
        given, expected = ({name: float(text) for name, text in each.items()} for each in scores)
        assert given == pytest.approx(expected, abs=2e-6) and len(given) == 9
        del one["o.csv"], other["o.csv"]
    assert one == other


def copy_more(folder):
    """Eight clips of a face and one of nobody, all whole."""
    shutil.move(folder / "crash.mp4", folder / "d.mp4")
    for number in range(4):
        shutil.copy(folder / "a.mp4", folder / f"d{number}.mp4")


def begin(script, folder, config, where, *options):
    """A run that writes into the folder `where`."""
    where.mkdir(exist_ok=True)
    output = [where / "crops"] if script == DATASET else ["--output", where / "o.csv"]
    keys = ["--every", 2] if script == DATASET else ["--config", config]
    return start(script, folder, *output, *keys, *options)


def wait_for_some(process, where):
    """Until two files are done."""
    while done_files(where) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)


def children(pid):
    """The processes that a process has started."""
    try:
        return sorted(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return []


def done_files(folder):
    """How many files are done, as extraction or scoring leaves it."""
    record = folder / ".o.scored.csv"
    lines = record.read_text().count("\n") if record.exists() else 0
    return len(list(folder.rglob("faces.csv"))) + lines
