"""The ensemble: the reference's numbers, the weighted mean, and what it is built from."""

import numpy as np
import pytest
import torch
from fill import fill
from small_config import SMALL, write_weights
from torch import nn

from utils.ensemble import NETWORKS, Ensemble, Member, build_ensemble
from utils.errors import ConfigError, WeightsError
from utils.preprocess import PUBLISHED, Preprocess
from utils.schemas import SubmissionConfig

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
        Member(fill(NETWORKS[name](), gain), PUBLISHED[name], weight)
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


def test_a_batch_equals_its_faces_one_by_one_and_may_be_empty():
    ensemble = Ensemble([Member(fill(NETWORKS["xception"]()), SMALL, 1.0)])
    images = np.random.default_rng(1).integers(0, 256, (3, 320, 320, 3), dtype=np.uint8)
    single = np.concatenate([ensemble.predict(image[None]) for image in images])
    np.testing.assert_allclose(ensemble.predict(images), single, atol=1e-5)
    assert len(set(single.round(6))) == 3
    assert ensemble.predict(images[:0]).shape == (0,)


def test_bf16_stays_near_fp32():
    images = np.random.default_rng(1).integers(0, 256, (2, 320, 320, 3), dtype=np.uint8)
    net = fill(NETWORKS["xception"]())
    exact, fast = (Ensemble([Member(net, SMALL, 1.0)], "cpu", p).predict(images) for p in ("fp32", "bf16"))
    np.testing.assert_allclose(fast, exact, atol=0.05)
    assert not np.array_equal(fast, exact)


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
    torch.save(fill(NETWORKS["xception"]()).state_dict(), tmp_path / "published.pth")
    config = SubmissionConfig(ensemble=[("xception", str(tmp_path / "published.pth"), 1.0)])
    assert build_ensemble(config).members[0].preprocess == PUBLISHED["xception"]


def test_missing_weights_and_an_empty_ensemble_are_named(tmp_path):
    path = tmp_path / "absent.pth"
    with pytest.raises(WeightsError, match="absent.pth.*ensemble.*external/README.md"):
        build_ensemble(SubmissionConfig(ensemble=[("xception", str(path), 1.0)]))
    with pytest.raises(ConfigError, match="ensemble"):
        build_ensemble(SubmissionConfig())
