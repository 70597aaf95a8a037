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

from utils.core.errors import DataError, WeightsError
from utils.evaluation import calibration
from utils.evaluation.measures import labelled_faces, spread
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import build_ensemble
from utils.weights.checkpoint import read_state_dict, save_state_dict, save_weights
from utils.weights.preprocess import METADATA_KEY

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


@pytest.mark.parametrize("bias", [True, False], ids=["Xception's", "WS-DAN's"])
def test_the_calibrated_layer_gives_the_fitted_probabilities(bias):
    layer, inputs, labels, true = overconfident(bias)
    found = calibration.fit(layer, inputs, labels)
    assert found.scale == pytest.approx(0.5, rel=0.1)
    assert found.offset == pytest.approx(-0.5 if bias else 0.0, abs=0.15)
    before = calibration.logits_of_fake(layer, inputs)
    steady = 1.0 if bias else (inputs @ found.direction).numpy()
    expected = found.scale * before + found.offset * steady
    calibration.apply(layer, found)
    after = calibration.logits_of_fake(layer, inputs)
    np.testing.assert_allclose(after, expected, atol=1e-4)
    assert np.abs(after - true).mean() < 0.2 < np.abs(before - true).mean()
    again = calibration.fit(layer, inputs, labels)  # what is calibrated stays as it is
    assert again.scale == pytest.approx(1, abs=0.01) and again.offset == pytest.approx(0, abs=0.02)


def test_a_mean_feature_stands_for_the_bias_that_is_missing():
    layer, inputs, labels, _ = overconfident(False)
    found = calibration.fit(layer, inputs, labels)
    assert (inputs @ found.direction).mean() == pytest.approx(1, abs=1e-3)


def test_networks_that_go_against_the_labels_or_one_class_are_refused():
    layer, inputs, labels, _ = overconfident(True)
    with pytest.raises(DataError, match="against the labels"):
        calibration.fit(layer, inputs, 1 - labels)
    with pytest.raises(DataError, match="one kind is missing"):
        calibration.fit(layer, inputs, np.zeros_like(labels))
    with pytest.raises(WeightsError, match="no finite number"):
        calibration.fit(layer, inputs * torch.tensor(float("nan")), labels)
    told_apart = (calibration.logits_of_fake(layer, inputs) > 0).astype(int)
    with pytest.raises(DataError, match="too few, or all judged rightly"):
        calibration.fit(layer, inputs, told_apart)


def test_notes_of_calibrations_compose_to_what_was_done_to_the_logit():
    """Two calibrations after each other, in the layer and in the note, also through the note's text."""
    layer, inputs, labels, _ = overconfident(True)
    plain = calibration.logits_of_fake(layer, inputs)
    note = calibration.Note.read(None)
    for scale, offset, faces in ((0.5, -1.25, "9 faces of a.csv, set val"), (1.5, 0.25, "7 faces")):
        found = calibration.Calibration(scale, offset, None)
        calibration.apply(layer, found)
        note = calibration.Note.read(str(note.then(found, faces)))
    assert str(note) == "logit * 0.7500 + -1.6250, fitted 2 times, last on 7 faces"
    after = calibration.logits_of_fake(layer, inputs)
    np.testing.assert_allclose(after, note.scale * plain + note.offset, atol=1e-4)
    once = calibration.Note.read("logit * 0.5000 + -1.2500, fitted on 9 faces of a.csv, set val")
    assert once == calibration.Note(0.5, -1.25, 1, "9 faces of a.csv, set val")
    odd = calibration.Note(0.5, 1.0, 2, "3 faces of a\nb.csv, set val")
    assert calibration.Note.read(str(odd)) == odd
    for text in ("", "yes", "logit * x + 1.0, fitted on 3 faces", "logit * 1.2.3 + 1.0, fitted on 3 faces"):
        with pytest.raises(WeightsError, match="none of calibrate.py"):
            calibration.Note.read(text)


def test_crops_are_spread_over_a_video():
    frames = np.arange(10) * 3
    assert spread(frames, 1).tolist() == [15] and spread(frames, 2).tolist() == [6, 21]
    assert spread(frames[:2], 5).tolist() == [0, 3]


@pytest.fixture
def data(tmp_path) -> Path:
    """Six real and six fake videos of one flat crop; the fakes are brighter, two the other way round."""
    sets = {"valid": []}
    for k in range(12):
        fake = int(k >= 6)
        level = 190 - 5 * k if fake != (k in (2, 8)) else 60 + 5 * k
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
    arguments = ["--list", str(data / "dfdc.json"), "--faces", str(data / "faces"), "--set", "valid"]
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
    found = calibration.fit(net.last_linear, inputs, faces.labels)
    named = tmp_path / "named.safetensors"
    save_weights(net, named, {"network": "xception", METADATA_KEY: SMALL.to_metadata(), "seed": "7"})
    assert tool().main([str(named), *arguments, "--batch-size", "5"]) == 0
    before, after = (float(part.split()[-1]) for part in capsys.readouterr().out.strip().rsplit(" -> ", 1))
    assert after <= before

    written = tmp_path / "named-calibrated.safetensors"
    _, metadata = read_state_dict(written)
    assert metadata["seed"] == "7" and metadata[METADATA_KEY] == SMALL.to_metadata()
    assert "12 faces of dfdc.json, set valid" in metadata["calibrated"]
    once = calibration.Note.read(metadata["calibrated"])
    twice = tmp_path / "twice.safetensors"
    assert tool().main([str(written), *arguments, "--output", str(twice)]) == 0
    note = calibration.Note.read(read_state_dict(twice)[1]["calibrated"])
    assert (once.times, note.times, note.fitted_on) == (1, 2, "12 faces of dfdc.json, set valid")
    # fitted to the same faces there is nothing left to do, but for the rounding to fp16
    assert note.scale == pytest.approx(once.scale, rel=0.02)
    assert note.offset == pytest.approx(once.offset, abs=0.02 + 0.02 * abs(once.offset))
    ensemble = build_ensemble(SubmissionConfig(ensemble=[("xception", str(written), 1.0)]))
    probability = ensemble.predict(np.stack([faces.face(k) for k in range(len(faces))]))
    expected = 1 / (1 + np.exp(-(found.scale * logit + found.offset)))
    np.testing.assert_allclose(probability, expected, atol=0.02)  # fp16


def test_errors_are_one_line(data, tmp_path, capsys):
    plain = str(write_weights(tmp_path / "plain.safetensors"))
    state, _ = read_state_dict(plain)
    noted, odd = (str(tmp_path / name) for name in ("noted.safetensors", "odd.safetensors"))
    metadata = {"network": "xception", METADATA_KEY: SMALL.to_metadata()}
    save_state_dict(state, noted, metadata | {"calibrated": "by hand"})
    save_state_dict(state, odd, metadata | {METADATA_KEY: "{"})
    common = ["--faces", str(data / "faces"), "--set", "valid"]
    for weights, said in (
        ("no.safetensors", "no such weights file"),
        ("/", "a folder, not a weights file"),
        (plain, "names no network"),
        (noted, "none of calibrate.py: 'by hand'"),
        (odd, "'preprocess' can't be understood"),
    ):
        assert tool().main([weights, "--list", str(data / "dfdc.json"), *common]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {weights}: ") and error.count("\n") == 1 and said in error
    before = Path(odd).read_bytes()
    for output, said in (("a.pth", "must end in .safetensors"), (odd, "would be overwritten")):
        assert tool().main([odd, "--list", str(data / "dfdc.json"), *common, "--output", output]) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {output}: ") and error.count("\n") == 1 and said in error
    assert Path(odd).read_bytes() == before
    (data / "faces" / "v3" / "004.png").write_bytes(b"no picture")
    faces = labelled_faces(data / "dfdc.json", data / "faces", "valid")
    with pytest.raises(DataError, match="v3.004.png"):
        list(faces.batches(4))
    with pytest.raises(DataError, match="no video of set"):
        labelled_faces(data / "dfdc.json", data / "faces", "train")
