"""The lock of an output, and what killed runs left half-written."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from processes import another_run

from utils.core import files
from utils.core.errors import UserError
from utils.core.files import HOST, remove_leftovers, write_whole
from utils.core.lock import lock_path, sole_run


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock of tmp_path/o.csv."""
    with another_run(tmp_path / "o.csv") as process:
        yield process


def test_a_second_run_is_told_of_the_first_and_a_killed_one_leaves_no_trouble(tmp_path, holder):
    output = tmp_path / "o.csv"
    with pytest.raises(UserError) as caught, sole_run(output):
        pytest.fail("taken twice")
    said = str(caught.value)
    assert f"process {holder.pid} on {socket.gethostname()}" in said and str(output) in said
    assert "\n" not in said
    with sole_run(tmp_path / "other.csv"), sole_run(tmp_path):  # other outputs are free
        pass
    assert lock_path(output).exists()  # of the first, still

    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert lock_path(output).exists()
    with sole_run(output):
        assert str(os.getpid()) in lock_path(output).read_text()
    assert not lock_path(output).exists()


def test_a_lock_file_is_shown_without_what_a_terminal_obeys(tmp_path, holder):
    lock_path(tmp_path / "o.csv").write_bytes(b"\x1b[2J\xff\x07evil" + b"x" * 5000)
    with pytest.raises(UserError) as caught, sole_run(tmp_path / "o.csv"):
        pytest.fail("taken twice")
    assert str(caught.value).isprintable() and len(str(caught.value)) < 600


def test_an_output_whose_folder_is_removed_or_replaced_leaves_anothers_lock(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    with sole_run(folder):
        lock_path(folder).unlink()
        lock_path(folder).write_text("another's")
    assert lock_path(folder).read_text() == "another's"


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch, capsys):
    def none(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("utils.core.lock.fcntl.lockf", none)
    with sole_run(tmp_path):
        pass
    assert "No locks available" in capsys.readouterr().err and not lock_path(tmp_path).exists()


def test_only_our_own_leftovers_of_ended_processes_are_removed(tmp_path, monkeypatch):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    of_host, long_ago = f".{HOST}-", time.time() - 100_000
    gone = {f"{of_host}{ended.pid}-123.part", ".0123abcd-77-1.part", f"{of_host}{os.getpid()}-5.part"}
    kept = {
        f"{of_host}1-123.part", ".0123abcd-78-1.part", f"{of_host}{os.getpid()}-9.part", ".a-1.part",
        "1-2.part", f"{of_host}{ended.pid}-123.part.png", f"{of_host}{10**9}.part",
    }  # fmt: skip
    for name in gone | kept:
        (tmp_path / name).touch()
    for name in (".0123abcd-77-1.part", f"{of_host}{os.getpid()}-5.part"):  # another host's; ours, of before
        os.utime(tmp_path / name, (long_ago, long_ago))
    below = tmp_path / "below"
    below.mkdir()
    (below / f"{of_host}{ended.pid}-123.part").touch()
    (tmp_path / f"{of_host}{ended.pid}-7.part").mkdir()
    with sole_run(tmp_path):
        pass
    left = {path.name for path in tmp_path.iterdir()}
    assert left == kept | {"below", f"{of_host}{ended.pid}-7.part"} and len(list(below.iterdir())) == 1
    remove_leftovers(tmp_path / "absent")


def test_what_a_killed_write_leaves_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, "replace", lambda *_: os._exit(9))
    child = os.fork()
    if not child:
        write_whole(tmp_path / "a.csv", "half")
    os.waitpid(child, 0)
    assert len(list(tmp_path.iterdir())) == 1
    remove_leftovers(tmp_path)
    assert not list(tmp_path.iterdir())
