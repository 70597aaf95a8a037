"""What is imported when: `--help` needs nothing heavy, and scoring nothing that only training uses."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "torch", "torchvision", "cv2", "numpy", "scipy", "pandas", "sklearn", "skimage", "albumentations", "onnx",
    "av", "tensorboard", "efficientnet_pytorch",
}  # fmt: skip
SCRIPTS = sorted(
    path.name for path in ROOT.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
)


def modules_after(code: str, tmp_path) -> set[str]:
    """Top-level names of the modules that are there after the code ran in a fresh interpreter."""
    path = tmp_path / "modules"
    code = f"import sys\n{code}\nopen({str(path)!r}, 'w').write(' '.join(sys.modules))"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    return {name.partition(".")[0] for name in path.read_text().split()}


def test_the_scripts_are_found():
    assert {"best-submission.py", "make_dataset.py", "make_split.py", "train-wsdan.py"} <= set(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_imports_nothing_heavy(script, tmp_path):
    code = f"""
import runpy
sys.argv = [{script!r}, "--help"]
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as end:
    assert not end.code
"""
    assert not HEAVY & modules_after(code, tmp_path)


def test_scoring_imports_nothing_of_training(tmp_path):
    names = "utils.scoring.scorer, utils.data.extraction, utils.scoring.submission"
    loaded = modules_after(f"import {names}", tmp_path)
    needed = {"torch", "cv2", "av", "numpy"}
    assert needed <= loaded
    assert not loaded & (HEAVY - needed)


@pytest.mark.parametrize("script", ["best-submission.py", "make_dataset.py", "evaluate.py"])
def test_work_begins_before_torch_is_there_so_that_idle_threads_sleep(script, tmp_path):
    """libgomp reads OMP_WAIT_POLICY once, when torch is imported; what the user sets stays."""
    arguments = ["scores", "a.csv", "b.csv"] if script == "evaluate.py" else ["in", "out"]
    code = f"""
import os, runpy
from utils.core import console
os.environ.pop("OMP_WAIT_POLICY", None)
run = console.run
def noting(work, *others, **named):
    assert "torch" not in sys.modules
    def noted():
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
        os.environ["OMP_WAIT_POLICY"] = "ACTIVE"
        return run(lambda: 0)
    return run(noted, *others, **named)
console.run = noting
sys.argv = [{script!r}, *{arguments!r}]
try:
    runpy.run_path({script!r}, run_name="__main__")
except SystemExit as end:
    assert end.code == 0
assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
"""
    modules_after(code, tmp_path)
