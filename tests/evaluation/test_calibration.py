"""Calibration: the fitted probabilities come out of the network itself, in scoring and in the tool."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from scripts import load_script
from small_config import SMALL, write_weights
from torch import nn

from tools.fill_tables import tables_in
from utils.core.errors import ConfigError, DataError, WeightsError
from utils.evaluation import calibration
from utils.evaluation.calibration_steps import Steps, bias_of
from utils.evaluation.dev_score import Member
from utils.evaluation.measures import labelled_faces, spread
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import build_ensemble, to_probabilities
from utils.weights.checkpoint import read_state_dict, save_state_dict, save_weights, tensors_digest
from utils.weights.preprocess import PREPROCESS_KEY

ROOT = Path(__file__).resolve().parents[2]


def overconfident(bias: bool, n: int = 4000) -> tuple[nn.Linear, torch.Tensor, np.ndarray, np.ndarray]:
    """A layer whose logit is twice the true one, and 1 too high; inputs, labels and true logits."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.rand(n, 16, generator=generator) * 4
    true = 3 * (inputs[:, 0] - inputs[:, 1])
    labels = (torch.rand(n, generator=generator) < torch.sigmoid(true)).long().numpy()
    layer = nn.Linear(16, 2, bias=bias)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[1, 0], layer.weight[0, 1] = 6, 6
        if bias:
            layer.bias.copy_(torch.tensor([0.0, 1.0]))
    return layer, inputs, labels, true.numpy()


def fitted(layer: nn.Linear, inputs: torch.Tensor, labels: np.ndarray) -> calibration.Calibration:
    direction = calibration.direction_of(layer, inputs)
    scale, offset = calibration.fit(calibration.columns(layer, inputs, direction), labels)
    return calibration.Calibration(scale, offset, direction)


@pytest.mark.parametrize("bias", [True, False], ids=["Xception's", "WS-DAN's"])
def test_the_calibrated_layer_gives_the_fitted_probabilities(bias):
    layer, inputs, labels, true = overconfident(bias)
    found = fitted(layer, inputs, labels)
    assert found.scale == pytest.approx(0.5, rel=0.1)
    assert found.offset == pytest.approx(-0.5 if bias else 0.0, abs=0.15)
    before = calibration.logits_of_fake(layer, inputs)
    steady = 1.0 if bias else (inputs @ found.direction).numpy()
    expected = found.scale * before + found.offset * steady
    calibration.apply(layer, found)
    after = calibration.logits_of_fake(layer, inputs)
    np.testing.assert_allclose(after, expected, atol=1e-4)
    assert np.abs(after - true).mean() < 0.2 < np.abs(before - true).mean()
    again = fitted(layer, inputs, labels)  # what is calibrated stays as it is
    assert again.scale == pytest.approx(1, abs=0.01) and again.offset == pytest.approx(0, abs=0.02)


def test_a_mean_feature_stands_for_the_bias_that_is_missing():
    layer, inputs, _, _ = overconfident(False)
    assert (inputs @ calibration.direction_of(layer, inputs)).mean() == pytest.approx(1, abs=1e-3)
    assert calibration.direction_of(overconfident(True)[0], inputs) is None


def test_an_ensembles_scale_and_offset_in_each_layer_are_those_of_its_mean_of_logits():
    made = [overconfident(bias)[:2] for bias in (True, False)]
    shares, (layers, inputs) = (0.6, 0.4), zip(*made, strict=True)
    labels = overconfident(True)[2]
    directions = [calibration.direction_of(*pair) for pair in zip(layers, inputs, strict=True)]
    tables = [calibration.columns(*row) for row in zip(layers, inputs, directions, strict=True)]
    table = np.average(tables, axis=0, weights=shares)
    scale, offset = calibration.fit(table, labels)
    for layer, direction in zip(layers, directions, strict=True):
        calibration.apply(layer, calibration.Calibration(scale, offset, direction))
    after = [calibration.logits_of_fake(*pair) for pair in zip(layers, inputs, strict=True)]
    np.testing.assert_allclose(np.average(after, axis=0, weights=shares), table @ (scale, offset), atol=1e-4)


def test_the_real_faces_of_each_domain_weigh_alike():
    labels = np.array([0] * 30 + [1] * 50 + [0] * 10)
    domains = np.array(["a"] * 80 + ["b"] * 10)
    weights = calibration.alike(labels, domains)
    parts = (labels == 0) & (domains == "a"), (labels == 0) & (domains == "b"), labels == 1
    assert [weights[part].sum() for part in parts] == pytest.approx([22.5, 22.5, 45])
    logits = np.where(labels == 1, 1.0, np.where(domains == "b", 0.9, -1.0)) + np.linspace(-2, 2, 90)
    table = np.stack([logits, np.ones(90)], axis=1)
    # the few faces of b that look fake move the bias down, once they count as much as those of a
    assert calibration.fit(table, labels, weights)[1] < calibration.fit(table, labels)[1]


def test_the_bias_may_be_given_and_the_scale_is_fitted_to_it():
    layer, inputs, labels, _ = overconfident(True)
    table = calibration.columns(layer, inputs, None)
    scale, offset = calibration.fit_scale(table, labels, None, bias=-4.0)
    assert offset == pytest.approx(-4 * scale)

    def loss(factor: float) -> float:
        return np.logaddexp(0, np.where(labels == 1, -1, 1) * factor * (table[:, 0] - 4)).mean()

    assert loss(scale) <= min(loss(scale * 1.05), loss(scale / 1.05))
    fitted_scale, fitted_offset = calibration.fit(table, labels)
    same = calibration.fit_scale(table, labels, None, bias=fitted_offset / fitted_scale)
    assert same == pytest.approx((fitted_scale, fitted_offset), abs=1e-3)


def test_networks_that_go_against_the_labels_or_too_few_faces_are_refused():
    layer, inputs, labels, _ = overconfident(True)
    table = calibration.columns(layer, inputs, None)
    for error, rows, kinds in (
        (DataError, table, 1 - labels),
        (DataError, table, np.zeros_like(labels)),
        (DataError, table[:30], np.arange(30) % 2),
        (DataError, table, (table[:, 0] > 0).astype(int)),
        (WeightsError, table * np.nan, labels),
    ):
        with pytest.raises(error):
            calibration.fit(rows, kinds)


def test_notes_of_calibrations_compose_to_what_was_done_to_the_logit():
    """Two calibrations after each other, in the layer and in the note, also through the note's text."""
    layer, inputs, labels, _ = overconfident(True)
    plain = calibration.logits_of_fake(layer, inputs)
    note = calibration.Note.read(None)
    for scale, offset, faces in ((0.5, -1.25, 9), (1.5, 0.25, 7)):
        found = calibration.Calibration(scale, offset, None)
        calibration.apply(layer, found)
        note = calibration.Note.read(note.then(found, faces, "a.csv\nval").to_metadata())
    assert note == calibration.Note(0.75, -1.625, 2, 7, "a.csv\nval")
    after = calibration.logits_of_fake(layer, inputs)
    np.testing.assert_allclose(after, note.scale * plain + note.offset, atol=1e-4)
    wrong = note.to_metadata().replace("0.75", '"x"')
    for text in ("", "yes", "[]", "{}", wrong):
        with pytest.raises(WeightsError, match="calibrated"):
            calibration.Note.read(text)


def test_crops_are_spread_over_a_video():
    frames = np.arange(10) * 3
    assert spread(frames, 1).tolist() == [15] and spread(frames, 2).tolist() == [6, 21]
    assert spread(frames[:2], 5).tolist() == [0, 3]


@pytest.fixture
def data(tmp_path) -> Path:
    """24 real and 24 fake videos of one flat crop; the fakes are brighter, some the other way round."""
    sets = {"valid": []}
    for k in range(48):
        fake = int(k >= 24)
        level = 190 - k if fake != (k % 6 == 2) else 60 + k
        (tmp_path / "faces" / f"v{k}").mkdir(parents=True)
        noise = np.random.default_rng(k).integers(-20, 20, (320, 320, 3))
        cv2.imwrite(str(tmp_path / "faces" / f"v{k}" / "004.png"), (level + noise).astype(np.uint8))
        sets["valid"].append([f"v{k}", fake])
    (tmp_path / "dfdc.json").write_text(json.dumps(sets))
    return tmp_path


def tool():
    return load_script("tools/calibrate.py")


def test_the_tool_writes_weights_that_score_as_fitted(data, tmp_path, capsys):
    plain = write_weights(tmp_path / "plain.safetensors")
    arguments = ["--list", str(data / "dfdc.json"), "valid", "--faces", str(data / "faces")]
    assert tool().main([str(plain), *arguments]) == 2  # it doesn't say which network it is
    assert "names no network" in capsys.readouterr().err

    from models import xception
    from utils.weights.checkpoint import load_weights

    net = xception(num_classes=2)
    load_weights(net, plain)
    with torch.no_grad():
        net.last_linear.weight *= 30  # so that flat pictures differ in their answer
        net.last_linear.bias *= 30
    faces = labelled_faces(data / "dfdc.json", data / "faces", "valid")
    inputs = calibration.layer_inputs(
        net, SMALL.batch(torch.from_numpy(np.stack([faces.face(k) for k in range(len(faces))])))
    )
    if np.corrcoef(calibration.logits_of_fake(net.last_linear, inputs), faces.labels)[0, 1] < 0:
        with torch.no_grad():
            net.last_linear.weight *= -1
            net.last_linear.bias *= -1
    logit = calibration.logits_of_fake(net.last_linear, inputs)
    found = fitted(net.last_linear, inputs, faces.labels)
    named = tmp_path / "named.safetensors"
    save_weights(net, named, {"network": "xception", PREPROCESS_KEY: SMALL.to_metadata(), "seed": "7",
                             "verdict": "of before", "validation": "of before"})  # fmt: skip
    assert tool().main([str(named), *arguments, "--batch-size", "5", "--state", "licence=yours = mine"]) == 0
    out, warned = capsys.readouterr()
    [(_, headings, rows)] = tables_in(out)
    assert headings == ["dfdc.json log loss", "dfdc.json price", "dfdc.json reals called fake"]
    (before, price, _), (after, gain, _) = rows.values()
    assert float(price) == 0 and float(gain) == pytest.approx(float(after) - float(before), abs=1e-4)
    assert float(gain) <= 0 and "24 real and 24 fake" in out
    assert "warning: 24 real and 24 fake faces are few" in warned

    written = tmp_path / "named-calibrated.safetensors"
    _, metadata = read_state_dict(written)
    assert metadata["licence"] == "yours = mine" and metadata["seed"] == "7"
    assert not {"verdict", "validation"} & metadata.keys() and "dev --limits" in out
    assert metadata[PREPROCESS_KEY] == SMALL.to_metadata()
    once = calibration.Note.read(metadata["calibrated"])
    twice = tmp_path / "twice.safetensors"
    report = ["--report", str(tmp_path / "out" / "report")]
    assert tool().main([str(written), *arguments, "--output", str(twice), *report]) == 0
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert data["faces"] == {"real": 24, "fake": 24} and set(data["files"]) == {"twice.safetensors"}
    assert tables_in((tmp_path / "out" / "report.md").read_text()) == tables_in(capsys.readouterr().out)
    note = calibration.Note.read(read_state_dict(twice)[1]["calibrated"])
    assert (once.times, note.times, note.faces, note.fitted_on) == (1, 2, 48, "dfdc.json valid")
    # fitted to the same faces there is nothing left to do, but for the rounding to fp16
    assert note.scale == pytest.approx(once.scale, rel=0.02)
    assert note.offset == pytest.approx(once.offset, abs=0.02 + 0.02 * abs(once.offset))
    ensemble = build_ensemble(SubmissionConfig(ensemble=[("xception", str(written), 1.0)]))
    probability = ensemble.predict(np.stack([faces.face(k) for k in range(len(faces))]))
    expected = 1 / (1 + np.exp(-(found.scale * logit + found.offset)))
    np.testing.assert_allclose(probability, expected, atol=0.02)  # fp16


def test_the_bias_is_that_of_the_same_ensemble_in_the_report(tmp_path):
    one = Member(write_weights(tmp_path / "one.safetensors"), 0.7)
    two = Member(write_weights(tmp_path / "two.safetensors", sign=-1), 0.3)
    members = [
        {"file": "elsewhere", "content": tensors_digest(member.path), "weight": member.weight}
        for member in (two, one)
    ]
    row = {"name": "a:b", "members": members, "combine": "logits", "flip": False, "bias": -0.75}
    path = tmp_path / "dev.json"

    def stated(change: dict, name: str = "a:b") -> float:
        path.write_text(json.dumps({"candidates": [{"name": "before"}, row | change]}))
        return bias_of(f"{path}:{name}", [one, two])

    assert stated({}) == -0.75
    for change, name in (
        ({}, "c"), ({"bias": None}, "a:b"), ({"bias": float("inf")}, "a:b"), ({"members": []}, "a:b"),
        ({"members": members[:1]}, "a:b"), ({"combine": "probabilities"}, "a:b"), ({"flip": True}, "a:b"),
        ({"members": [member | {"weight": 0.5} for member in members]}, "a:b"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=f"dev.json.*'{name}'|'{name}'.*dev.json"):
            stated(change, name)
    for text in ("[]", "{}", "no JSON"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="dev.json"):
            bias_of(f"{path}:a:b", [one, two])
    for text in ("none.json:a", "dev.json", "dev.json:", ".json:a", "dev"):
        with pytest.raises(ConfigError, match=f"--bias-of.*{text.partition(':')[0]}"):
            bias_of(text, [one, two])


def test_the_price_is_against_the_first_step_and_reals_alone_have_none():
    labels, domains = np.array([0, 1, 0, 0]), np.array(["a", "a", "b", "b"])
    steps = Steps(labels, domains)
    steps.add("first", np.array([-1.0, 1.0, 1.0, -1.0]))
    steps.add("moved", np.array([-2.0, 0.0, 0.0, -2.0]))
    table = steps.table()
    assert table.headings == ["step", "a log loss", "a price", "a reals called fake", "b reals called fake"]
    first, moved = np.log1p(np.exp(-1)), (np.log1p(np.exp(-2)) + np.log(2)) / 2
    assert table.rows[0][1:] == [f"{first:.4f}", "+0.0000", "0.0%", "50.0%"]
    assert table.rows[1][1:] == [f"{moved:.4f}", f"{moved - first:+.4f}", "0.0%", "0.0%"]


def test_errors_are_one_line(data, tmp_path, capsys):
    plain = str(write_weights(tmp_path / "plain.safetensors"))
    state, _ = read_state_dict(plain)
    noted, odd = (str(tmp_path / name) for name in ("noted.safetensors", "odd.safetensors"))
    metadata = {"network": "xception", PREPROCESS_KEY: SMALL.to_metadata()}
    save_state_dict(state, noted, metadata | {"calibrated": "by hand"})
    save_state_dict(state, odd, metadata | {PREPROCESS_KEY: "{"})
    common = ["--list", str(data / "dfdc.json"), "valid", "--faces", str(data / "faces")]
    for weights, said in (
        ("no.safetensors", "no such weights file"),
        (str(tmp_path), "a folder, not a weights file"),
        (plain, "names no network"),
        (noted, "by hand"),
        (odd, "'preprocess' can't be understood"),
    ):
        assert tool().main([weights, *common]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {weights}: ") and error.count("\n") == 1 and said in error
    named = str(tmp_path / "named.safetensors")
    save_state_dict(state, named, metadata)
    assert tool().main([named, *common, "--bias-of", str(tmp_path / "none.json:a")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and "none.json" in error
    before = Path(odd).read_bytes()
    for output, said in (("a.pth", "must end in .safetensors"), (odd, "would be overwritten")):
        assert tool().main([odd, *common, "--output", output]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {output}: ") and error.count("\n") == 1 and said in error
    assert Path(odd).read_bytes() == before
    (data / "faces" / "v3" / "004.png").write_bytes(b"no picture")
    faces = labelled_faces(data / "dfdc.json", data / "faces", "valid")
    with pytest.raises(DataError, match="v3.004.png"):
        list(faces.batches(4))
    with pytest.raises(DataError, match="no video of set"):
        labelled_faces(data / "dfdc.json", data / "faces", "train")


def test_scores_that_were_rounded_to_0_or_1_weigh_no_more_than_their_decimals_tell():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    scores = to_probabilities(3 * (2 * labels - 1) + 3 * rng.normal(size=200))
    scores[:2], labels[:2] = (4e-7, 1 - 4e-7), (1, 0)
    exact, rounded = (calibration.fit_scores(labels, each, "") for each in (scores, scores.round(6)))
    assert rounded.scale == pytest.approx(exact.scale, rel=0.01)
