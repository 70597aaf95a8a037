"""Figures of scores: worked by hand or scikit-learn's, undefined where they are; the bootstrap."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, roc_auc_score

from utils.evaluation.bootstrap import auc_of_draws, interval, mean_of_draws, weights_drawn
from utils.evaluation.paired import differences
from utils.evaluation.scores import equal_error, figures, reliability, table_across, table_of

LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1])
SCORES = np.array([0.1, 0.2, 0.3, 0.8, 0.4, 0.6, 0.7, 0.9, 0.95, 1.0])


def test_figures_of_a_known_case():
    row = figures(LABELS, SCORES, draws=200)
    assert (row["files"], row["reals"], row["fakes"]) == (10, 4, 6)
    assert [row[f"{a}_as_{b}"] for a in ("real", "fake") for b in ("real", "fake")] == [3, 1, 1, 5]
    assert row["accuracy"] == 0.8 and row["best_accuracy"] == 0.9 and row["best_threshold"] == 0.4
    assert row["auc"] == pytest.approx(1 - 3 / 24) and row["auc_low"] < row["auc"] <= row["auc_high"] <= 1
    assert row["average_precision"] == pytest.approx(average_precision_score(LABELS, SCORES))
    assert row["tpr_at_0.01"] == row["tpr_at_0.1"] == 0.5  # above the real of 0.8
    assert row["log_loss_clipped"] == pytest.approx(log_loss(LABELS, SCORES.clip(0.01, 0.99)))
    halves = [log_loss(LABELS[part], SCORES[part].clip(0.01, 0.99), labels=[0, 1]) for part in
              (LABELS == 0, LABELS == 1)]  # fmt: skip
    assert row["balanced_log_loss"] == pytest.approx(np.mean(halves))


def test_a_sure_and_wrong_answer_costs_the_raw_loss_most():
    row = figures(np.array([0, 1]), np.array([0.0, 0.0]), clip=(0.1, 0.9), draws=5)
    assert row["log_loss"] == pytest.approx(-np.log(1e-15) / 2)
    assert row["log_loss_clipped"] == pytest.approx(-(np.log(0.9) + np.log(0.1)) / 2)


def test_equal_error_is_where_both_errors_are_alike():
    assert equal_error(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])) == 0
    assert equal_error(np.array([0, 0, 1, 1]), np.array([0.1, 0.8, 0.2, 0.9])) == 0.5
    assert equal_error(np.array([0, 1]), np.array([0.9, 0.1])) == 1
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 4000)
    scores = (labels + rng.normal(0, 1, 4000)).clip(-4, 5) / 9 + 4 / 9
    at = np.sort(scores)
    gaps = [abs((scores[labels == 0] >= t).mean() - (scores[labels == 1] < t).mean()) for t in at]
    assert equal_error(labels, scores) == pytest.approx((scores[labels == 0] >= at[np.argmin(gaps)]).mean(),
                                                        abs=2e-3)  # fmt: skip


def test_calibration_error_is_none_where_scores_are_shares():
    labels = np.array([0] * 9 + [1] + [1] * 9 + [0])
    honest = np.repeat([0.1, 0.9], 10)
    assert figures(labels, honest, draws=5)["ece"] == pytest.approx(0)
    assert figures(labels, np.repeat([0.3, 0.7], 10), draws=5)["ece"] == pytest.approx(0.2)


def test_reliability_is_scikit_learns_curve():
    rng = np.random.default_rng(5)
    scores = rng.random(500)
    labels = (rng.random(500) < scores**2).astype(int)
    bins = reliability(labels, scores)
    fakes, means = calibration_curve(labels, scores, n_bins=10)
    np.testing.assert_allclose([[part.fakes, part.mean] for part in bins], np.stack([fakes, means], axis=1))
    assert sum(part.count for part in bins) == 500
    expected = sum(abs(part.fakes - part.mean) * part.count / 500 for part in bins)
    assert figures(labels, scores, draws=5)["ece"] == pytest.approx(expected)


def test_exactly_one_half_is_real_and_calling_nothing_fake_may_be_best():
    row = figures(np.array([0, 1, 0]), np.array([0.5, 0.5, 1.0]), draws=5)
    assert (row["real_as_real"], row["fake_as_real"], row["real_as_fake"]) == (1, 1, 1)
    assert row["best_accuracy"] == pytest.approx(2 / 3) and row["best_threshold"] > 1


def test_what_needs_both_kinds_is_undefined_without_one():
    row = figures(np.zeros(3), np.array([0.1, 0.6, 0.2]))
    for key in ("auc", "auc_low", "average_precision", "eer", "best_accuracy", "tpr_at_0.1", "misses",
                "balanced_log_loss"):  # fmt: skip
        assert np.isnan(row[key]), key
    assert row["accuracy"] == pytest.approx(2 / 3) and row["false_alarms"] == pytest.approx(1 / 3)
    assert "| AUC | undefined |" in table_of({"a": row}).markdown()
    assert table_across({"a": row}, ["files", "auc"], "set").rows == [["a", "3", "undefined"]]
    for labels, scores in (([0, 2], [0.1, 0.2]), ([0, 1], [0.1, 1.2]), ([], []), ([0], [0.1, 0.2])):
        with pytest.raises(ValueError):
            figures(np.array(labels), np.array(scores))


def test_the_bootstrap_draws_the_faces_of_a_video_together():
    rng = np.random.default_rng(3)
    labels, scores = np.tile([0, 1], 20), rng.random(40)
    alone = figures(labels, scores)
    repeated = figures(np.repeat(labels, 8), np.repeat(scores, 8), owners=np.repeat(np.arange(40), 8))
    apart = figures(np.repeat(labels, 8), np.repeat(scores, 8))
    assert repeated["auc"] == pytest.approx(roc_auc_score(labels, scores))

    def width(row):
        return row["auc_high"] - row["auc_low"]

    assert width(repeated) == pytest.approx(width(alone), rel=0.15) and width(apart) < 0.6 * width(alone)




def test_draws_weigh_files_as_scikit_learn_does():
    rng = np.random.default_rng(1)
    labels, scores = rng.integers(0, 2, 60), rng.random(60).round(1)  # rounded: with ties
    parts = list(weights_drawn(None, 60, draws=50))
    weights = np.concatenate(parts)
    assert weights.shape == (50, 60) and (weights.sum(axis=1) == 60).all() and weights.max() > 1
    expected = [roc_auc_score(labels, scores, sample_weight=row) for row in weights]
    np.testing.assert_allclose(auc_of_draws(labels, scores, weights), expected)
    means = [np.average(scores, weights=row) for row in weights]
    np.testing.assert_allclose(mean_of_draws(scores, weights), means)
    alone = np.zeros((1, 60))
    alone[0, np.flatnonzero(labels == 1)] = 1
    undefined = auc_of_draws(labels, scores, alone)
    assert np.isnan(undefined).all() and np.isnan(interval(undefined)).all()
    together = np.concatenate(list(weights_drawn(np.repeat(np.arange(30), 2), 60, draws=20)))
    assert (together[:, ::2] == together[:, 1::2]).all()


def test_a_difference_is_that_of_scikit_learns_figures_and_sure_where_it_is_large():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, 400)
    good, bad = ((labels + rng.normal(0, spread, 400)).clip(-2, 3) / 5 + 0.4 for spread in (0.4, 1.0))
    found = {part.figure: part for part in differences(labels, good, bad, draws=300)}
    gaps = {"AUC": roc_auc_score(labels, bad) - roc_auc_score(labels, good),
            "log loss, clipped": np.diff([log_loss(labels, p.clip(0.01, 0.99)) for p in (good, bad)])[0],
            "accuracy at 0.5": np.diff([accuracy_score(labels, p > 0.5) for p in (good, bad)])[0],
            }  # fmt: skip
    for name, gap in gaps.items():
        assert found[name].value == pytest.approx(gap, abs=1e-9)
        assert found[name].low < gap < found[name].high and found[name].verdict == "worse"
    assert all(part.verdict == "better" for part in differences(labels, bad, good, draws=300))
    same = differences(labels, good, good, draws=20)
    assert all(part.verdict == "not told apart" and part.low == part.high == 0 for part in same)
    alone = differences(np.ones(5), good[:5], bad[:5], draws=20)
    assert [part.verdict for part in alone[::2]] == ["undefined", "undefined"]
