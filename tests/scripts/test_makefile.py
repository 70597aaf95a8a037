"""`make setup`: quick the second time, and no Python that is asked for is passed over in silence."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# A `make test` around this would hand them on.
UNSET = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHON", "VENV"}


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
