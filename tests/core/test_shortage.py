"""Too little memory or too few file handles are the machine's fault: a line, never a verdict on a file."""

import builtins
import errno
import io
import resource
import subprocess
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import av
import cv2
import pytest
import training_runs
import wsdan_runs
from safetensors import SafetensorError

from utils.core.config import ROOT, load_config
from utils.core.console import run
from utils.core.errors import MediaError, WeightsError
from utils.core.shortage import is_short, memory_is_short, room_for_torch
from utils.data.lists import read_json
from utils.data.tables import read_table
from utils.faces.video import FrameReader
from utils.scoring.config import SubmissionConfig
from utils.weights.checkpoint import read_state_dict

TOO_MANY = OSError(errno.EMFILE, "Too many open files", "a.mp4")
SHORT = [
    MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"),
    RuntimeError("could not create a primitive"),
    ImportError("libtorch_cpu.so: failed to map segment from shared object"),
    cv2.error("(-4:Insufficient memory) Failed to allocate 8294400 bytes"),
]  # fmt: skip
UNMAPPED = SafetensorError("Error while mapping: Cannot allocate memory (os error 12)")
NO_MEMORY = av.error.MemoryError(errno.ENOMEM, "Cannot allocate memory")


def raising(error: Exception):
    def call(*_, **__):
        raise error

    return call


@pytest.fixture
def short(monkeypatch):
    """A machine on which no memory can be had."""

    monkeypatch.setattr("utils.core.shortage.mmap.mmap", raising(SHORT[1]))


@pytest.mark.parametrize("error", SHORT)
def test_a_file_is_to_blame_where_there_is_memory(error):
    assert not memory_is_short() and not is_short(error)


@pytest.mark.parametrize("error", [*SHORT, TOO_MANY])
def test_a_shortage_is_a_line_that_names_what_to_do(short, error, capsys):
    assert is_short(error)
    assert run(raising(error), memory_advice="take less") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and ("take less" in said or "ulimit -n" in said)


@pytest.mark.parametrize("is_machine", [True, False])
def test_files_are_damaged_or_the_machine_is_short(clip, tmp_path, monkeypatch, request, is_machine):
    """The same errors: a hostile file asks for any amount, a whole one is read on a machine that has none."""
    if is_machine:
        request.getfixturevalue("short")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"x" * 100)
    monkeypatch.setattr("utils.weights.checkpoint.safe_open", raising(UNMAPPED))
    with pytest.raises(MemoryError if is_machine else WeightsError):
        read_state_dict(path)
    monkeypatch.setattr("utils.faces.container.av.open", raising(NO_MEMORY))
    with pytest.raises(MemoryError if is_machine else MediaError):
        list(FrameReader(clip))


def test_no_file_is_unreadable_for_lack_of_handles(clip, tmp_path, monkeypatch):
    monkeypatch.setattr(builtins, "open", raising(TOO_MANY))
    monkeypatch.setattr(io, "open", raising(TOO_MANY))  # which pathlib takes
    config = partial(load_config, schema=SubmissionConfig)
    for read in (lambda path: list(FrameReader(path)), read_json, read_table, config):
        with pytest.raises(OSError, match="Too many open files"):
            read(clip)


def limited(kind: int, amount: int, *arguments: object) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=600,
        preexec_fn=lambda: resource.setrlimit(kind, (amount, amount)),
    )  # fmt: skip


@pytest.mark.parametrize("script", ["best-submission.py", "train-xception.py"])
def test_without_the_memory_to_start(clip, tmp_path, script):
    what = [clip, "--output", tmp_path / "o.csv"] if script[0] == "b" else ["xception-conf.py"]
    done = limited(resource.RLIMIT_AS, 1 << 30, script, *what)
    assert done.returncode == 1 and "1.0 GiB" in done.stderr and done.stderr.count("\n") == 1, done.stderr


@pytest.fixture(scope="module")
def wsdan_data(tmp_path_factory, clip):
    return wsdan_runs.write_faces(tmp_path_factory.mktemp("wsdan"), clip)


def command(what: str, clip, out, request) -> tuple[list[object], Path]:
    """A command by its name, and what it leaves once it is through."""
    if what == "extract":
        return ["make_dataset.py", clip, out, "--every", 30], out / "faces.csv"
    if what == "xception":
        values = training_runs.keys(request.getfixturevalue("data"), out, n_epoches=1)
        return ["train-xception.py", "xception-conf.py", *overrides(values)], out / "best.pth"
    if what == "wsdan":
        values = wsdan_runs.keys(request.getfixturevalue("wsdan_data"), out, epochs=1, pretrained=None)
        return ["train-wsdan.py", "wsdan-conf/xception.py", *overrides(values)], out / "best.pth"
    options = ["--workers", 1] if what == "worker" else []
    return ["best-submission.py", clip, "--output", out / "o.csv", *options], out / "o.csv"


def overrides(values: dict) -> list[str]:
    return [f"{key}={value!r}" for key, value in values.items()]


COMMANDS = ["score", "worker", "extract", "xception", "wsdan"]


@pytest.mark.slow
@pytest.mark.parametrize("what", COMMANDS)
@pytest.mark.parametrize("quarters", range(8, 24, 2))
def test_in_however_little_memory_the_answer_is_a_line_or_the_same(clip, tmp_path, request, what, quarters):
    """2 to 6 GiB of addresses: those that suffice give one and the same table."""
    arguments, left = command(what, clip, tmp_path / "o", request)
    done = limited(resource.RLIMIT_AS, quarters << 28, *arguments)
    assert "Traceback" not in done.stderr and "damaged" not in done.stderr, done.stderr
    if done.returncode:
        assert done.returncode == 1 and "GiB of addresses" in done.stderr.splitlines()[-1], done.stderr
        assert not left.exists()
    elif left.suffix == ".csv":
        arguments, whole = command(what, clip, tmp_path / "whole", request)
        assert not limited(resource.RLIMIT_CORE, 0, *arguments).returncode
        assert left.read_bytes() == whole.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("what", COMMANDS)
@pytest.mark.parametrize("handles", range(5, 17, 2))  # with fewer Python itself doesn't start
def test_with_however_few_handles_the_answer_is_a_line_or_the_work(clip, tmp_path, request, what, handles):
    arguments, left = command(what, clip, tmp_path / "o", request)
    done = limited(resource.RLIMIT_NOFILE, handles, *arguments)
    print(what, handles, done.returncode, done.stderr[-300:])
    assert "Traceback" not in done.stderr
    if done.returncode:
        assert done.returncode == 1 and "ulimit -n" in done.stderr.splitlines()[-1]
    assert left.exists() == (done.returncode == 0)
    assert what not in ("score", "worker") or done.returncode or "0 of them not judged" in done.stdout


def test_an_unlimited_process_needs_no_trial(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a trial without need"))
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (resource.RLIM_INFINITY,) * 2)
    room_for_torch()


@pytest.mark.parametrize(
    "status, error, short",
    [(0, "", False), (-6, "std::bad_alloc", True), (1, "ModuleNotFoundError: torch", False)],
)
def test_the_trial_tells_lack_of_memory_from_lack_of_torch(monkeypatch, status, error, short):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1 << 30,) * 2)
    done = subprocess.CompletedProcess([], status, "", error)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(MemoryError) if short else nullcontext():
        room_for_torch()
