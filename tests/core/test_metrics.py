"""Frame metrics against figures worked out by hand."""

import math

import numpy as np
import pytest

from utils.core.metrics import frame_metrics


def test_worked_example():
    figures = frame_metrics(np.array([0, 0, 0, 1]), np.array([0.2, 0.5, 0.1, 0.8]))
    losses = [-math.log(0.8), -math.log(0.5), -math.log(0.9), -math.log(0.8)]
    assert figures["log_loss"] == pytest.approx(sum(losses) / 4)
    assert figures["balanced_log_loss"] == pytest.approx((sum(losses[:3]) / 3 + losses[3]) / 2)
    assert figures["auc"] == 1.0
    assert figures["accuracy"] == 1  # a real face at exactly 0.5 is not called fake
    assert frame_metrics([1, 0], [0.5, 0.51])["accuracy"] == 0


def test_a_sure_and_wrong_answer_is_clipped():
    figures = frame_metrics([0, 1], [1.0, 0.0])
    assert figures["log_loss"] == pytest.approx(-math.log(0.01))
    assert figures["balanced_log_loss"] == pytest.approx(-math.log(0.01))
    assert frame_metrics([0, 1], [0.0, 1.0])["log_loss"] == pytest.approx(-math.log(0.99))


def test_balanced_loss_does_not_depend_on_the_share_of_a_class():
    labels, probabilities = np.array([0, 1, 1]), np.array([0.3, 0.6, 0.9])
    once = frame_metrics(labels, probabilities)
    thrice = frame_metrics(np.append(labels, [0, 0]), np.append(probabilities, [0.3, 0.3]))
    assert thrice["balanced_log_loss"] == pytest.approx(once["balanced_log_loss"])
    assert thrice["log_loss"] != pytest.approx(once["log_loss"])


def test_auc_is_the_share_of_pairs_in_order():
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 2, 60), rng.random(60).round(1)  # rounded: with ties
    real, fake = probabilities[labels == 0], probabilities[labels == 1]
    pairs = (fake[:, None] > real).mean() + (fake[:, None] == real).mean() / 2
    assert frame_metrics(labels, probabilities)["auc"] == pytest.approx(pairs)


def test_one_class_has_no_auc_but_the_rest():
    figures = frame_metrics([1, 1], [0.9, 0.4])
    assert math.isnan(figures["auc"])
    assert figures["balanced_log_loss"] == pytest.approx(figures["log_loss"])
    assert figures["accuracy"] == 0.5


@pytest.mark.parametrize(
    "labels, probabilities",
    [([], []), ([0, 1], [0.5]), ([0, 2], [0.5, 0.5]), ([0, 1], [0.5, math.nan]), ([0, 1], [0.5, 1.1])],
)
def test_what_is_no_judgement_is_refused(labels, probabilities):
    with pytest.raises(ValueError):
        frame_metrics(labels, probabilities)
