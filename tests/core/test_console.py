"""A command ends with a line and a status for what a user can cause, and with a traceback for a defect."""

import argparse
import importlib
import multiprocessing
import re
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from scripts import load_script

from utils.core.console import SMALLER_BATCH, parse_mixed, run
from utils.core.errors import ConfigError, DataError, WeightsError

ROOT = Path(__file__).resolve().parents[2]


def raising(error: BaseException):
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("no such key"), 2, "error: no such key"),
        (WeightsError("x.pth: damaged"), 2, "error: x.pth: damaged"),
        (DataError("no crop"), 1, "error: no crop"),
        (FileNotFoundError(2, "No such file or directory", "here.csv"), 1, "error: here.csv: No such file"),
        (OSError(28, "No space left", "last.pth"), 1, "error: last.pth: No space left; make room there"),
        (OSError("no room"), 1, "error: a file: no room"),
        (MemoryError(), 1, "error: memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 1, "error: memory ran out"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), 1, "error: memory ran out"),
        (RuntimeError("std::bad_alloc"), 1, "error: memory ran out"),
        (cv2.error("(-4:Insufficient memory) Failed to allocate 8294400 bytes"), 1, "error: memory ran out"),
        (KeyboardInterrupt(), 130, "what was done stays"),
    ],
)
def test_what_a_user_can_cause_is_a_line_and_a_status(capsys, error, status, line):
    assert run(raising(error), "what was done stays") == status
    said = capsys.readouterr()
    assert said.err.startswith(line) and said.err.count("\n") == 1 and not said.out


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), cv2.error("(-215) !empty()"), KeyError("name"), AssertionError()]
)
def test_a_defect_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        run(raising(error))


def test_who_has_no_batch_is_not_told_to_make_it_smaller(capsys):
    assert run(raising(MemoryError())) == run(raising(MemoryError()), memory_advice=SMALLER_BATCH) == 1
    plain, batch = capsys.readouterr().err.splitlines()
    assert "batch" not in plain and batch == "error: memory ran out; try a smaller batch_size=..."


@pytest.mark.parametrize(
    "command, keys",
    [("clips", {"detect_batch", "batch_size"}), ("people", {"detect_batch", "batch_size"}),
     ("faces", {"batch_size"}), ("verdicts", set())],
)  # fmt: skip
def test_judging_without_memory_names_the_keys_that_help(monkeypatch, capsys, command, keys):
    module = importlib.import_module(f"utils.evaluation.command_{command}")
    monkeypatch.setattr(module, "work", lambda arguments: raising(MemoryError())())
    needed = ["--list", "a.csv", "--faces", "b"] if command == "faces" else []
    assert load_script("evaluate.py").main([command, *needed]) == 1
    assert set(re.findall(r"(\w+)=", capsys.readouterr().err)) == keys


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_a_command_as_ctrl_c_does(capsys, number):
    """A second one doesn't disturb its clearing up."""
    cleared = []

    def work() -> int:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            cleared.append(True)

    assert run(work, "what was done stays") == 128 + number and cleared
    assert capsys.readouterr().err == "what was done stays\n"
    assert signal.getsignal(number) == signal.SIG_DFL


def test_under_nohup_sighup_does_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run(lambda: signal.raise_signal(signal.SIGHUP) or 3) == 3
    finally:
        signal.signal(signal.SIGHUP, before)


def test_processes_of_a_command_end_by_a_signal_as_others():
    def work() -> int:
        child = multiprocessing.get_context("fork").Process(target=signal.raise_signal, args=[signal.SIGTERM])
        child.start()
        child.join()
        return child.exitcode

    assert run(work) == -signal.SIGTERM


@pytest.mark.parametrize("status", [0, 1, 143])
def test_the_status_of_the_work_is_passed_on(status):
    assert run(lambda: status) == status


def test_a_reader_that_leaves_is_no_traceback():
    """As in `command | head -1`: the pipe's other end is closed before all is written."""
    code = "import sys; from utils.core.console import run\n"
    code += "def work():\n    print('line\\n' * 100_000)\n    return 0\nsys.exit(run(work))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdout.read(5)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=600) == 1


@pytest.mark.parametrize("errors", [subprocess.PIPE, subprocess.STDOUT], ids=["stdout", "2>&1"])
@pytest.mark.parametrize("first", ["stdout", "stderr"])
def test_a_pipe_of_both_streams_breaks_without_a_trace(errors, first):
    code = "import sys; from utils.core.console import run\n"
    code += f"def work():\n    print('a line', file=sys.{first})\n    print('another')\n    return 0\n"
    code += "sys.stdin.read()\nsys.exit(run(work))"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
    ) as process:
        process.stdout.close()
        process.stdin.close()  # from here on it writes
        if errors == subprocess.PIPE:
            assert process.stderr.read() == (b"a line\n" if first == "stderr" else b"")
        assert process.wait(timeout=600) == 1


def test_scoring_into_a_closed_pipe_ends_at_once_and_quietly(clip, tmp_path):
    """`python best-submission.py clip.mp4 | true`."""
    command = [sys.executable, str(ROOT / "best-submission.py"), str(clip), "--output", "o.csv"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=600) == 1
    assert not list(tmp_path.iterdir())


def test_a_standard_output_that_was_never_open_is_no_traceback():
    """As in `command >&-`."""
    code = "import sys; sys.stdout = None\nfrom utils.core.console import run\nsys.exit(run(lambda: 3))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (3, "")


def test_a_file_that_begins_with_a_dash_is_told_from_an_option(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-clip.mp4").touch()
    _, *found = parse_mixed(argparse.ArgumentParser(), ["a=1", "--", "-clip.mp4"])
    assert found == [[Path("-clip.mp4")], ["a=1"]]
    for name, hint in (("-clip.mp4", True), ("--report", False)):
        with pytest.raises(SystemExit):
            parse_mixed(argparse.ArgumentParser(), [name])
        said = capsys.readouterr().err
        assert name in said and (f"./{name}" in said) == hint
