"""The matrix: sets of parts, rows of networks, undefined where a set has one class; the command."""

import json
import shutil
import tarfile
from argparse import Namespace

import cv2
import numpy as np
import pytest
from fill import fill
from scripts import load_script
from small_config import SMALL

from models import xception
from utils.core.errors import ConfigError, DataError
from utils.evaluation import matrix, matrix_sets
from utils.evaluation.dev_set import Part
from utils.evaluation.matrix_sets import EvalSet, Named, clips_reader, unpack
from utils.weights.checkpoint import save_weights
from utils.weights.preprocess import PREPROCESS_KEY


def part(group: str, is_fake: bool, owners) -> Part:
    return Part(group, is_fake, None, tuple(owners))


LOGITS = {("a", False): np.array([-2.0, 1.0, -1.0]), ("a", True): np.array([3.0, -0.5])}


def test_a_face_is_a_score_and_a_clip_the_mean_of_its_faces():
    parts = part("a", False, [0, 0, 1]), part("a", True, [2, 2])
    faces = matrix.judged_on(EvalSet("s", parts, ""), LOGITS)
    p = 1 / (1 + np.exp(-np.array([-2.0, 1.0, -1.0, 3.0, -0.5])))
    assert faces.labels.tolist() == [0, 0, 0, 1, 1] and faces.scores == pytest.approx(p)
    assert faces.owners is None
    clips = matrix.judged_on(EvalSet("s", parts, "", is_clips=True), LOGITS)
    assert clips.labels.tolist() == [0, 0, 1]
    assert clips.scores == pytest.approx([p[:2].mean(), p[2], p[3:].mean()])
    paired = matrix.judged_on(EvalSet("s", parts, "", is_paired=True), LOGITS)
    assert paired.owners == [0, 0, 1, 2, 2]


def test_a_figure_of_one_class_is_undefined():
    sets = [EvalSet("both", (part("a", False, range(3)), part("a", True, range(2))), "x"),
            EvalSet("reals", (part("a", False, range(3)),), "y")]  # fmt: skip
    figures = {"row": {one.name: matrix.judged_on(one, LOGITS).figures() for one in sets}}
    text = "\n".join(table.markdown() for table in matrix.matrix_tables(figures, sets))
    assert "| AUC | both | reals |" in text and "| both | 3 | 2 | faces | x |" in text
    assert "| row | 33.3% | 33.3% |" in text  # reals called fake
    assert "| row | 50.0% | undefined |" in text  # fakes called real
    assert text.count("undefined") == 3  # and AUC, and equal error rate


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "net.safetensors"
    save_weights(fill(xception(num_classes=2)), path,
                 {PREPROCESS_KEY: SMALL.to_metadata(), "network": "xception"})  # fmt: skip
    return path


@pytest.fixture
def faces(tmp_path):
    """A list of six flat crops, three real and three fake."""
    sets = {"valid": []}
    for k in range(6):
        (tmp_path / "faces" / f"v{k}").mkdir(parents=True)
        noise = np.random.default_rng(k).integers(0, 255, (320, 320, 3)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / "faces" / f"v{k}" / "004.png"), noise)
        sets["valid"].append([f"v{k}", k % 2])
    (tmp_path / "dfdc.json").write_text(json.dumps(sets))
    return tmp_path


def test_the_command_on_sets_of_ones_own(faces, weights, tmp_path, capsys):
    tool, kept = load_script("evaluate.py"), tmp_path / "kept"
    own = ["--set", f"mine={faces}/dfdc.json:valid", "--faces", str(faces / "faces"), "--kept", str(kept)]
    row = f"net={weights}"
    assert tool.main(["matrix", row, *own, "--output", f"{tmp_path}/out/"]) == 0
    said = capsys.readouterr().out
    assert "| mine | 3 | 3 | faces | set valid of dfdc.json |" in said and "| AUC | mine |" in said
    data = json.loads((tmp_path / "out/metrics.json").read_text(), parse_constant=pytest.fail)
    assert data["rows"][0]["members"][0]["file"] == "net.safetensors"
    assert str(tmp_path) not in json.dumps([data["rows"], data["sets"], data["figures"]])
    assert data["figures"]["net"]["mine"]["files"] == 6
    assert "<svg" in (tmp_path / "out/metrics.html").read_text()
    [logits] = kept.rglob("net-*.npz")
    before = logits.stat().st_mtime_ns
    assert tool.main(["matrix", row, f"again={weights}", *own]) == 0
    assert "| again |" in capsys.readouterr().out and logits.stat().st_mtime_ns == before
    none = str(tmp_path / "none")
    for code, part_of_it, arguments in (
        (2, "needs --faces", [row, *own[:2]]),
        (1, "none is not there", [row, "--set", f"a={none}"]),
        (2, "NAME=FOLDER", [row, "--set", "a"]),
        (2, "NAME=FILE", ["net", *own]),
        (2, "'net' is named twice", [row, row, *own]),
        (2, "'mine' is named twice", [row, *own, "--set", own[1], own[1]]),
        (2, "none.safetensors", [f"net={none}.safetensors", *own]),
        (1, "no faces/faces.csv", [row, "--shared", str(tmp_path)]),
    ):
        assert tool.main(["matrix", *arguments]) == code
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and part_of_it in error


def test_a_clip_that_cannot_be_read_is_left_out_and_named(weights, clip, tmp_path, capsys):
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(clip, folder / "a.mp4")
    (folder / "broken.mp4").write_bytes(b"no video")
    (folder / "labels.csv").write_text("filename,label\na.mp4,0\nbroken.mp4,1\n")
    arguments = ["matrix", f"net={weights}", "--set", f"own={folder}", "--kept", str(tmp_path / "kept")]
    for _ in range(2):  # the second run tries it again
        assert load_script("evaluate.py").main([*arguments, "--output", f"{tmp_path}/o"]) == 0
        data = json.loads((tmp_path / "o.json").read_text())
        assert list(data["failed"]) == ["broken.mp4"] and "| broken.mp4 |" in capsys.readouterr().out
        assert data["figures"]["net"]["own"]["files"] == 1
    (folder / "a.mp4").write_bytes(b"no video")
    assert load_script("evaluate.py").main(arguments) == 1 and "none of 2" in capsys.readouterr().err


def test_places_of_sets_are_told_apart(tmp_path):
    (tmp_path / "a:b").mkdir()
    assert Named.read(f"x={tmp_path}/a:b").path == tmp_path / "a:b"
    (tmp_path / "l.csv").touch()
    assert Named.read(f"x={tmp_path}/l.csv:test") == Named("x", tmp_path / "l.csv", "test")
    assert Named.read(f"x={tmp_path}/l.csv").set_name == "val"
    for text, error in ((f"x={tmp_path}/no.csv:test", DataError), ("x=", ConfigError), ("x", ConfigError)):
        with pytest.raises(error):
            Named.read(text)


def test_pictures_that_are_not_in_the_archive_are_named(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"picture")
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        tar.add(tmp_path / "a.jpg", "val/../../a.jpg")
    unpack(tmp_path / "t.tar", ["a"], tmp_path / "out")
    assert (tmp_path / "out" / "a.jpg").read_bytes() == b"picture"
    with pytest.raises(DataError, match="such as b"):
        unpack(tmp_path / "t.tar", ["a", "b"], tmp_path / "out")
    (tmp_path / "t.tar").write_bytes(b"no archive")
    with pytest.raises(DataError, match="t.tar"):
        unpack(tmp_path / "t.tar", ["a"], tmp_path / "out")


@pytest.mark.slow
def test_the_shared_sets(shared, weights, tmp_path, monkeypatch):
    """A few faces of each, one clip: real and fake where there are both, swaps paired with their reals."""
    monkeypatch.setattr(matrix_sets, "MOST_FACES", 40)
    clip = sorted((shared / "reals/clips").iterdir())[0]
    monkeypatch.setattr(matrix_sets, "real_clips", lambda _: [matrix_sets.LabelledClip(clip, 0, clip.name)])
    (tmp_path / "shared").mkdir()
    for name in ("faces", "reals", "videos"):
        (tmp_path / "shared" / name).symlink_to(shared / name)
    read = clips_reader(Namespace(workers=0, video_timeout=None, dask=None))
    sets = {one.name: one for one in matrix_sets.shared_sets(tmp_path / "shared", tmp_path / "kept", read)}
    assert list(sets) == list(matrix_sets.SHARED_SETS)
    counts = {name: [len(part.owners) for part in one.parts] for name, one in sets.items()}
    assert 38 <= counts["val"][0] <= 40 and counts["swaps"][0] == counts["val"][0] > counts["swaps"][1] > 0
    assert counts["videos"] == [50, 50] and len(counts["reals"]) == len(counts["clips of reals"]) == 1
    again = matrix_sets.shared_sets(tmp_path / "shared", tmp_path / "kept", read)
    assert [one.parts for one in again] == [one.parts for one in sets.values()]
    shutil.rmtree(tmp_path / "kept")
