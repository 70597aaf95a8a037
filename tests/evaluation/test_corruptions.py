"""Corruptions: monotone, repeatable, each of its kind; and the table that the faces tool makes with them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from scripts import load_script
from skimage.metrics import peak_signal_noise_ratio as psnr
from small_config import write_config, write_weights

from utils.core.errors import WeightsError
from utils.core.files import give_report
from utils.data.crops import write_faces_csv
from utils.evaluation.corruptions import CORRUPTIONS
from utils.evaluation.measures import (
    LabelledFaces,
    corrupted,
    figures,
    found_table,
    probabilities,
    variant_table,
)
from utils.evaluation.scores import Judged
from utils.faces.align import TEMPLATE
from utils.faces.detector import Face

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_stronger_corruption_is_further_from_the_face(face, kind):
    before = face.copy()
    for seed in range(3):
        levels = [CORRUPTIONS[kind](face, level, (1, seed)) for level in range(3)]
        assert all(image.shape == face.shape and image.dtype == np.uint8 for image in levels)
        quality = [psnr(face, image) for image in levels]
        assert quality[0] > quality[1] > quality[2], quality
        assert quality[0] < 50 and quality[2] > 5
        assert np.array_equal(levels[1], CORRUPTIONS[kind](face, 1, (1, seed)))
    assert np.array_equal(face, before)


def test_darkening_and_contrast_are_what_they_say(face):
    dark = CORRUPTIONS["dark"](face, 1, (0,))
    linear = ((dark / 255) ** 2.2).mean() / ((face / 255) ** 2.2).mean()
    assert linear == pytest.approx(0.25, rel=0.02)
    flat = CORRUPTIONS["contrast"](face, 1, (0,)).astype(float)
    assert flat.std() == pytest.approx(0.45 * face.std(), rel=0.02)


def test_a_covered_and_a_cut_face_lose_the_stated_share():
    white = np.full((320, 320, 3), 255, np.uint8)
    for seed in range(8):
        covered = CORRUPTIONS["occlusion"](white, 1, (seed,))
        share = (covered != 255).any(axis=2).sum() / (140 * 168)
        assert share == pytest.approx(0.12, rel=0.1)
        gone = (CORRUPTIONS["cut"](white, 1, (seed,)) == 0).all(axis=2)
        box = gone[100:268, 90:230]
        assert box.mean() == pytest.approx(0.12, abs=0.01)


def test_a_small_face_has_no_fine_detail(face):
    noise = np.random.default_rng(0).integers(0, 256, face.shape).astype(np.uint8)
    assert CORRUPTIONS["small"](noise, 2, (0,)).std() < 0.35 * noise.std()


def test_damage_depends_on_the_place_alone(face):
    faces = np.stack([face] * 3)
    together = corrupted(faces, [4, 5, 6], "noise", 0, seed=2)
    alone = corrupted(faces[:1], [5], "noise", 0, seed=2)
    assert np.array_equal(together[1], alone[0]) and not np.array_equal(together[0], together[1])


class ByBrightness:
    """An ensemble that calls bright faces fake."""

    def predict(self, faces):
        return faces.mean(axis=(1, 2, 3)) / 255


class TwoFaces:
    """Four bright fakes and four dark reals."""

    labels = np.array([0, 1] * 4)

    def __len__(self):
        return 8

    def batches(self, size):
        levels = np.where(self.labels == 1, 200, 90)
        for start in range(0, 8, size):
            places = range(start, min(start + size, 8))
            yield np.stack([np.full((320, 320, 3), levels[k], np.uint8) for k in places]), places


def test_figures_of_a_known_ensemble():
    answers = probabilities(ByBrightness(), TwoFaces(), 3, ["dark", "noise"], seed=0)
    assert list(answers)[:2] == ["plain", "0.5 of the light"] and len(answers) == 7
    rows = figures(TwoFaces.labels, answers)
    assert rows["plain"]["auc"] == 1 and rows["plain"]["accuracy"] == 1
    expected = -(np.log(200 / 255) + np.log(1 - 90 / 255)) / 2
    assert rows["plain"]["log_loss"] == pytest.approx(expected)
    assert rows["0.1 of the light"]["accuracy"] == 0.5 and rows["plain"]["false_alarms"] == 0
    table = variant_table(rows).markdown()
    assert table.splitlines()[2].startswith("| plain | 1.0000 | 0.") and table.count("\n") == 8
    assert len({line.count("|") for line in table.splitlines()}) == 1


def test_what_is_found_is_a_share_of_so_many():
    rows = {
        "plain": Judged("plain", np.array([0, 0, 0, 1, 1]), np.array([0.5, 0.6, 0.1, 0.5, 0.9])).figures(),
        "reals": {"fake_as_fake": 0, "fakes": 0, "real_as_fake": 1, "reals": 3},
    }
    plain, reals = found_table(rows).rows
    assert plain == ["plain", "50.0% of 2", "33.3% of 3"] and reals == ["reals", "none there", "33.3% of 3"]


def test_answers_that_are_no_numbers_are_told():
    class Overflown:
        def predict(self, faces):
            return np.where(faces.mean(axis=(1, 2, 3)) > 100, np.nan, 0.1)

    with pytest.raises(WeightsError, match="plain faces: the networks gave no finite number"):
        probabilities(Overflown(), TwoFaces(), 3, ["dark"], seed=0)


def test_what_is_undefined_is_null_in_the_report(tmp_path, capsys):
    rows = figures(np.ones(2, int), {"plain": np.array([0.2, 0.9])})  # no real face
    text = variant_table(rows).markdown()
    assert give_report(tmp_path / "r", ["tool"], text, {"figures": rows, "more": [1, "a"]}) == 0
    data = json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
    assert data["figures"]["plain"]["auc"] is None and data["figures"]["plain"]["accuracy"] == 0.5
    assert (data["command"], data["more"]) == ("tool", [1, "a"]) and "undefined" in capsys.readouterr().out


def test_faces_are_grouped_by_how_far_they_turn(tmp_path):
    noses = [0, -4, 24, -16, 60, 40, -40]  # pixels to the right

    def groups(labels: list[int], noses: list[int] = noses) -> dict[str, list[int]]:
        for place, right in enumerate(noses):
            landmarks = TEMPLATE * 1.5 + [[0, 0], [0, 0], [right * 1.5, 0], [0, 0], [0, 0]]
            (tmp_path / str(place)).mkdir(exist_ok=True)
            write_faces_csv(tmp_path / str(place) / "faces.csv", [(9, Face(0.9, np.zeros(4), landmarks))])
        paths = [tmp_path / str(place) / "009.png" for place in range(len(labels))]
        faces = LabelledFaces(paths, np.array(labels))
        return {name: list(places) for name, places in faces.groups().items()}

    poses = {"frontal (2 faces)": [0, 1], "turned (2 faces)": [2, 3], "profile (3 faces)": [4, 5, 6]}
    assert groups([0, 1, 1, 0, 0, 1, 1]) == poses
    assert groups([0, 1, 1, 0, 0, 1, 1, 0, 1]) == poses  # the last two have no landmarks
    assert groups([0, 1, 1, 1, 0, 1, 1]) == {name: poses[name] for name in poses if "turned" not in name}
    assert groups([0, 1, 1, 0, 0, 1, 1], [0] * 7) == {}


def test_the_tool_measures_a_list(face, tmp_path, capsys):
    sets = {"valid": []}
    for k in range(4):
        (tmp_path / "faces" / f"v{k}").mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "faces" / f"v{k}" / "009.png"), np.roll(face, 11 * k, axis=1)[..., ::-1])
        sets["valid"].append([f"v{k}", k % 2])
    (tmp_path / "dfdc.json").write_text(json.dumps(sets))
    config = write_config(tmp_path / "conf.py", write_weights(tmp_path / "w.safetensors"))
    tool = load_script("evaluate.py")
    faces = ["--list", str(tmp_path / "dfdc.json"), "--faces", str(tmp_path / "faces")]
    common = ["--config", str(config), *faces]
    output = tmp_path / "out" / "robust"
    changes = ["--corruptions", "jpeg", "flip=True", "--output", str(output)]
    assert tool.main(["faces", *common, "--set", "valid", *changes]) == 0
    said = capsys.readouterr().out
    assert "set valid of dfdc.json: 2 real and 2 fake faces" in said and "| JPEG quality 50 |" in said
    assert said.strip() in (tmp_path / "out" / "robust.md").read_text()
    data = json.loads((tmp_path / "out" / "robust.json").read_text())
    assert data["command"].startswith("python evaluate.py faces --config")
    assert (data["config"]["flip"], data["config"]["attention_crop"]) == (True, False)
    assert set(data["figures"]) == {"plain", *(f"JPEG quality {quality}" for quality in (75, 50, 25))}
    (tmp_path / "b.md").mkdir()
    for code, said, arguments in (
        (2, "no-conf.py", ["--config", "no-conf.py", *common[2:], "--set", "valid"]),
        (2, "--corruptions rain: there are", [*common, "--set", "valid", "--corruptions", "rain"]),
        (2, "--corruptions rain: there are", [*common, "--set", "valid", "--corruptions", "all", "rain"]),
        (2, "did you mean 'flip'", [*common, "--set", "valid", "flips=True"]),
        (1, "dfdc.json: the list has no video of set 'val'", common),
        (2, "name the report", [*common, "--set", "valid", "--output", ""]),
        (2, "b.md: a folder", [*common, "--set", "valid", "--output", str(tmp_path / "b")]),
        (1, "dfdc.json/b.md: can't be written", [*common, "--set", "valid", "--output", f"{faces[1]}/b"]),
    ):
        assert tool.main(["faces", *arguments]) == code
        out, error = capsys.readouterr()
        assert not out  # it wasn't measured in vain
        assert error.startswith("error: ") and error.count("\n") == 1 and said in error
