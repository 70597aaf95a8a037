"""`make setup`: quick the second time, no Python that is asked for passed over, and torch without CUDA.

`make weights`: its lines fit what they run and each other.
"""

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from utils.core.config import load_config
from utils.training.config import WSDANConfig, XceptionConfig

ROOT = Path(__file__).resolve().parents[2]
# A `make test` around this would hand them on.
UNSET = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON", "VENV", "CPU", "TORCH_INDEX"}


def interpreter(path: Path, version: str) -> Path:
    """Stands in for a Python: says its version, and fails at everything else."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\ntest "$1" = -V && echo Python {version}\n')
    path.chmod(0o755)
    return path


@pytest.fixture
def folder(tmp_path) -> Path:
    """The Makefile beside a .venv of Python 3.11.2 that is set up."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    for path in ROOT.glob("requirements*.txt"):
        (tmp_path / path.name).touch()
    interpreter(tmp_path / ".venv/bin/python", "3.11.2")
    (tmp_path / ".venv/.setup-done").touch()
    return tmp_path


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess:
    environment = {name: value for name, value in os.environ.items() if name not in UNSET} | variables
    return subprocess.run(["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_the_second_time_nothing_is_done(folder):
    same = interpreter(folder / "same", "3.11.2")
    for arguments in (["setup"], ["setup", f"PYTHON={same}"]):
        done = make(folder, *arguments)
        assert done.returncode == 0 and not done.stderr, done.stderr


def test_another_python_than_that_of_the_venv_is_an_error(folder):
    other = interpreter(folder / "other", "3.12.1")
    said = f"error: {other} is Python 3.12.1, but .venv was set up with Python 3.11.2; "
    said += "to set it up anew: rm -r .venv"
    asked = f"PYTHON={other}"
    for done in (make(folder, "setup", asked), make(folder, "test", asked),
                 make(folder, "setup", PYTHON=str(other))):  # fmt: skip
        assert done.returncode == 2 and done.stderr.splitlines()[0] == said
    missing = make(folder, "setup", "PYTHON=no-such-python")
    assert missing.returncode == 2 and "no-such-python is missing" in missing.stderr.splitlines()[0]


def test_packages_of_two_pythons_are_not_mixed_when_requirements_change(folder):
    other = interpreter(folder / "other", "3.12.1")
    os.utime(folder / ".venv/.setup-done", (0, 0))
    done = make(folder, "setup", f"PYTHON={other}")
    assert done.returncode == 2 and "rm -r .venv" in done.stderr and "venv module" not in done.stderr


# Makes a .venv whose Python is itself, notes pip's arguments, and has the torch that TORCH_IS states.
RECORDER = """#!/bin/sh
case "$*" in
  "-m venv"*) for last; do :; done; mkdir -p "$last/bin"; cp "$0" "$last/bin/python"; echo "venv $*" >>log ;;
  "-m pip"*list*) printf 'numpy==2\\ntorch==2.9.0+cpu\\ntorchvision==0.24.0+cpu\\n' ;;
  "-m pip"*) echo "$*" >>log ;;
  *torch.version.cuda*) test "$TORCH_IS" = cpu ;;
esac
"""


@pytest.fixture
def fresh(tmp_path) -> Path:
    """The Makefile and the requirements beside a Python that only notes what it is asked for."""
    for path in (ROOT / "Makefile", *ROOT.glob("requirements*.txt")):
        shutil.copy(path, tmp_path)
    (tmp_path / "recorder").write_text(RECORDER)
    (tmp_path / "recorder").chmod(0o755)
    return tmp_path


def pip_calls(folder: Path) -> list[str]:
    return (folder / "log").read_text().splitlines()


def test_cpu_takes_torch_from_the_index_that_is_named(fresh):
    index = "file:///an/index"
    done = make(fresh, "setup", "PYTHON=./recorder", "CPU=1", f"TORCH_INDEX={index}", TORCH_IS="cpu")
    assert done.returncode == 0, done.stderr
    venv, torch, rest, *_ = pip_calls(fresh)
    assert "--system-site-packages" not in venv
    assert f"--index-url {index}" in torch and "torch>=" in torch and "torchvision>=" in torch
    assert "-c .venv/torch.txt" in rest and "-r requirements.txt" in rest and index not in rest
    assert (fresh / ".venv/torch.txt").read_text() == "torch==2.9.0+cpu\ntorchvision==0.24.0+cpu\n"


def test_cpu_keeps_the_torch_without_cuda_that_python_has(fresh):
    done = make(fresh, "setup", "PYTHON=./recorder", "CPU=1", TORCH_IS="cpu")
    assert done.returncode == 0, done.stderr
    venv, rest, *_ = pip_calls(fresh)
    assert "--system-site-packages" in venv and "-c .venv/torch.txt" in rest


def test_cpu_says_so_where_the_index_gives_torch_with_cuda(fresh):
    index = ("CPU=1", "TORCH_INDEX=file:///an/index")
    done = make(fresh, "setup", "PYTHON=./recorder", *index, TORCH_IS="with CUDA")
    assert done.returncode == 2 and "TORCH_INDEX" in done.stderr.splitlines()[0]
    assert not any("requirements" in call for call in pip_calls(fresh))


def test_cpu_without_either_is_an_error_that_names_the_key(fresh):
    done = make(fresh, "setup", "PYTHON=./recorder", "CPU=1", TORCH_IS="with CUDA")
    assert done.returncode == 2 and "TORCH_INDEX" in done.stderr.splitlines()[0]
    assert not (fresh / ".venv").exists()


def test_without_cpu_everything_comes_from_the_usual_index(fresh):
    assert make(fresh, "setup", "PYTHON=./recorder", TORCH_IS="cpu").returncode == 0
    venv, rest, *_ = pip_calls(fresh)
    assert "--system-site-packages" not in venv and "torch.txt" not in rest


def commands_of(folder: Path, target: str) -> list[list[str]]:
    """What a target would run, a list of words each, without the interpreter."""
    done = make(folder, "-n", target)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.replace("\\\n", " ").splitlines()
    return [shlex.split(line)[1:] for line in lines if line.startswith(".venv/bin/python ")]


@pytest.mark.parametrize(
    "script, schema", [("train-xception.py", XceptionConfig), ("train-wsdan.py", WSDANConfig)]
)
def test_each_training_of_weights_has_a_config_that_loads(folder, script, schema):
    lines = [words[1:] for words in commands_of(folder, "weights") if words[0] == script]
    assert lines
    for config, *changes in lines:
        loaded = load_config(ROOT / config, schema, changes)
        assert loaded.pretrained.endswith(".safetensors") and loaded.groups


def test_the_bias_of_weights_is_measured_on_what_is_calibrated(folder):
    commands = commands_of(folder, "weights")
    [first, second] = [words for words in commands if words[:2] == ["evaluate.py", "dev"]]
    [calibrated] = [words for words in commands if words[0] == "tools/calibrate.py"]
    assert commands.index(first) < commands.index(calibrated) < commands.index(second)
    name, _, members = first[2].partition("=")
    assert calibrated[1:3] == members.split(",")
    written = first[first.index("--output") + 1]
    assert calibrated[calibrated.index("--bias-of") + 1] == f"{written}.json:{name}"
    assert "--limits" in second and "--limits" not in first


def test_make_alone_lists_the_targets():
    listed = set(re.findall(r"^make ([a-z-]+)", make(ROOT).stdout, re.M))
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", text, re.M).group(1).split())
    assert listed | {"help", "test-slow", "same-python"} == targets and "setup" in listed
