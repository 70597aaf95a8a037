"""The weights that come with the repository: whole, as the table says, and worth something."""

import csv
import json
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from utils.core.config import ROOT, load_config
from utils.core.metrics import frame_metrics
from utils.evaluation.calibration import CALIBRATION_KEY, Note
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import BUNDLED, build, score, score_media
from utils.scoring.verdict import (
    FAKE,
    OPEN,
    REAL,
    VERDICT_KEY,
    Limits,
    ensemble_of,
    limits_for,
    verdict_on,
)
from utils.training.config import WSDANConfig, XceptionConfig
from utils.weights.checkpoint import read_metadata, read_state_dict
from utils.weights.preprocess import PREPROCESS_KEY, Preprocess
from utils.weights.table import check, read_entries


@pytest.fixture(scope="module")
def config() -> SubmissionConfig:
    return load_config(BUNDLED, SubmissionConfig)


def few_faces(*overrides: str) -> SubmissionConfig:
    """The config with a third of the faces of a clip, which take a third of the time."""
    return load_config(BUNDLED, SubmissionConfig, ["face_limit=9", *overrides])


def results(name: str) -> dict:
    """What a measuring command left in external/results."""
    return json.loads((ROOT / "external" / "results" / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def judged(clip):
    """The result of a real clip."""
    config = few_faces()
    return next(score_media([clip], *build(config, "cpu"), config))


def test_every_bundled_file_is_here_and_is_the_one_in_the_table(config):
    table = {entry.file: entry for entry in read_entries(ROOT / "external/weights.json")}
    for network, path, _ in config.ensemble:
        entry = table[path.rsplit("/", 1)[-1]]
        assert (ROOT / "external" / entry.file).stat().st_size <= 45_000_000
        status = check(entry, ROOT / "external")
        assert status.is_present and status.is_fine and entry.network == network and entry.sha256


def test_the_file_says_what_the_network_expects_of_a_face(config):
    for _, path, _ in config.ensemble:
        _, metadata = read_state_dict(path)
        preprocess = Preprocess.from_metadata(metadata[PREPROCESS_KEY])
        assert 224 <= preprocess.size <= 256 and preprocess.window is not None


def test_two_networks_say_what_they_are_and_what_may_be_done_with_them(config):
    assert [network for network, _, _ in config.ensemble] == ["xception", "wsdan-xception"]
    notes = []
    for network, path, _ in config.ensemble:
        metadata = read_metadata(path)
        assert metadata["network"] == network and metadata["data"] and "research" in metadata["licence"]
        notes.append(Note.read(metadata[CALIBRATION_KEY]))
    # Calibrated as one: the same scale and offset in both, which is the ensemble's where logits are averaged.
    assert config.combine == "logits" and notes[0] == notes[1] and notes[0].faces >= 400


def test_the_verdicts_limits_come_from_the_files(config, judged):
    limits = limits_for(config)
    assert 0 < limits.real_at < 0.5 <= limits.fake_at < 1
    assert limits.reals.count >= 200 and limits.fakes.count >= 200
    assert verdict_on(judged, limits).word in (REAL, OPEN)
    assert verdict_on(replace(judged, probability=limits.fake_at), limits).word in (FAKE, OPEN)


def test_the_limits_hold_for_the_shipped_ensemble(config, capsys):
    """Red after new weights: `evaluate.py dev --limits` on the shipped files was left out."""
    limits = limits_for(config)
    assert limits is not None and not capsys.readouterr().err
    [text] = {read_metadata(path).get(VERDICT_KEY) for _, path, _ in config.ensemble}
    assert Limits.from_metadata(text) == limits


def test_the_results_of_choosing_and_of_the_words_are_those_of_the_shipped_files(config):
    """Red after new weights: `evaluate.py dev` or `verdicts` into external/results was left out."""
    said, limits = results("verdicts"), limits_for(config)
    assert (said["real_at"], said["fake_at"]) == (limits.real_at, limits.fake_at)
    sides = {side.name: pytest.approx(limits.shares(side)) for side in (limits.reals, limits.fakes)}
    assert said["shares"] == sides
    [row] = [row for row in results("dev")["candidates"] if row["name"] == "bundled"]
    networks = sorted([member["content"], member["weight"]] for member in row["members"])
    shares = [(path, share) for _, path, share in config.ensemble]
    chosen = {"networks": networks, "combine": row["combine"], "flip": row["flip"], "crop": False}
    assert chosen == ensemble_of(shares, config.combine, config.flip, config.attention_crop)


def test_the_result_of_calibrating_is_that_of_the_shipped_files(config):
    """Red after new weights: `tools/calibrate.py --report external/results/calibration` was left out."""
    text = (ROOT / "external" / "results" / "calibration.md").read_text()
    for _, path, _ in config.ensemble:
        note = Note.read(read_metadata(path)[CALIBRATION_KEY])
        assert f"logit * {note.scale:.4f} + {note.offset:.4f}" in text and note.fitted_on in text


def test_all_bundled_files_together_are_small_enough():
    assert sum(path.stat().st_size for path in (ROOT / "external").glob("bundled-*")) <= 90_000_000


@pytest.mark.parametrize(
    ("file", "schema", "start"),
    [
        ("xception-conf-bundled.py", XceptionConfig, "xception-pairs.safetensors"),
        ("wsdan-conf/bundled.py", WSDANConfig, "wsdan-xception-gpu.safetensors"),
    ],
)
def test_a_bundled_network_is_trained_on_what_its_start_expects(shared, file, schema, start):
    path = shared / "weights" / start
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    _, metadata = read_state_dict(path)
    assert load_config(ROOT / file, schema).preprocess == Preprocess.from_metadata(metadata[PREPROCESS_KEY])


def test_a_real_clip_is_judged_and_its_score_repeats(clip, judged):
    assert judged.faces == 9 and 0 <= judged.probability <= 1 and judged.probability != 0.5
    again = score(clip, few_faces())["label"].item()
    assert again == pytest.approx(judged.probability, abs=1e-6)


def test_validation_faces_are_told_apart_through_the_whole_road(shared, tmp_path):
    """40 validation images, detected, aligned and scored as a clip is; chance would be an AUC of 0.5."""
    faces, folder = shared / "faces", tmp_path / "faces"
    if not (faces / "val.tar").is_file():
        pytest.skip("the shared data holds no validation faces")
    folder.mkdir()
    with open(faces / "faces.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["set_name"] == "val"]
    picked = {row["name"]: int(row["is_fake"]) for kind in "01"
              for row in [row for row in rows if row["is_fake"] == kind][:20]}
    with tarfile.open(faces / "val.tar") as archive:
        for name in picked:
            (folder / f"{name}.jpg").write_bytes(archive.extractfile(f"val/{name}.jpg").read())
    table = score(folder)
    judged = table[table["reason"] == ""]
    labels = [picked[name.removesuffix(".jpg")] for name in judged["filename"]]
    assert len(judged) >= 37
    assert frame_metrics(labels, judged["label"])["auc"] > 0.8


def shifts_of_the_fast_setting(paths) -> np.ndarray:
    """How far the fast setting moves each file's probability."""
    exact, fast = (score(paths, load_config(BUNDLED, SubmissionConfig, [f"speed={name}"]), "cpu")
                   for name in ("exact", "fast"))
    assert (exact.faces == fast.faces).all() and (exact.faces > 0).all()
    return (exact.label - fast.label).abs().to_numpy()


def test_the_fast_setting_judges_a_clip_as_the_exact_one(clip, judged):
    exact = score(clip, few_faces("speed=exact"))
    assert exact.faces.item() == judged.faces
    assert exact.label.item() == pytest.approx(judged.probability, abs=0.005)


@pytest.mark.slow
def test_the_fast_setting_judges_labelled_clips_as_the_exact_one(shared):
    shifts = shifts_of_the_fast_setting([shared / "videos"])
    assert len(shifts) == 4 and shifts.mean() < 0.005 and shifts.max() < 0.02
