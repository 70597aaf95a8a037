"""Figures of scores: worked by hand or scikit-learn's, undefined where they are; files of scores."""

import json

import numpy as np
import pytest
from scripts import load_script
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from utils.core.errors import DataError
from utils.evaluation.score_files import Scored, compared, listed, read_table, read_truth
from utils.evaluation.scores import equal_error, figures, markdown

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


def test_what_needs_both_kinds_is_undefined_without_one():
    row = figures(np.zeros(3), np.array([0.1, 0.6, 0.2]))
    for key in ("auc", "auc_low", "average_precision", "eer", "best_accuracy", "tpr_at_0.1"):
        assert np.isnan(row[key]), key
    assert row["accuracy"] == pytest.approx(2 / 3) and "undefined" in markdown({"a": row})
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


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "labels.csv").write_text(
        "filename,label,source\na.mp4,0,x\nb.mp4,1,x\nc.mp4,0,y\nd.mp4,1,y\ne.mp4,1,x\n"
    )
    (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.1\nb.mp4,0.2\nc.mp4,0.5\ne.mp4,0.9\nz.mp4,0.3\n")
    (tmp_path / "s.errors.csv").write_text("filename,reason\nc.mp4,no face\n")
    return tmp_path


def test_missing_extra_and_unjudged_files_are_named(tables):
    truth, scored = read_truth(tables / "labels.csv"), Scored.read(tables / "s.csv")
    lines = listed(truth, scored).splitlines()
    assert lines[1].split() == ["a.mp4", "real", "0.1000"] and lines[2].startswith("b.mp4  fake   0.2000")
    assert "no face" in lines[3] and "s.csv" in lines[4]
    assert lines[6].startswith("2 of 3 ") and "z.mp4" in lines[7]


def test_columns_are_files_and_their_sources(tables):
    truth = read_truth(tables / "labels.csv")
    files = [Scored.read(tables / "s.csv"), Scored(tables / "t.csv", {"c.mp4": 0.2, "d.mp4": 0.6}, {})]
    columns = compared(truth, files)
    assert [key.rpartition("/")[2] for key in columns] == ["s.csv", "s.csv, x", "t.csv", "t.csv, y"]
    assert [row["files"] for row in columns.values()] == [3, 3, 2, 2]
    with pytest.raises(DataError, match="u.csv"):
        compared(truth, [Scored(tables / "u.csv", {"z.mp4": 0.2}, {})])


def test_labels_may_be_dfdcs_metadata(tmp_path):
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps({"a.mp4": {"label": "FAKE", "original": "b.mp4"}, "b.mp4": {"label": "REAL"}}))
    assert read_truth(path).labels == {"a.mp4": 1, "b.mp4": 0}
    for wrong in ([], {"a": 1}, {"a": {"label": "TRUE"}}):
        path.write_text(json.dumps(wrong))
        if wrong != []:
            with pytest.raises(DataError, match="metadata.json"):
                read_truth(path)


@pytest.mark.parametrize("text", ["name,p\na,0.1\n", "", "a,many\n", "a,0\na,1\n", "a,1.5\n"])
def test_tables_that_are_none_are_refused(tmp_path, text):
    header = "" if text in ("", "name,p\na,0.1\n") else "filename,label\n"
    (tmp_path / "s.csv").write_text(header + text)
    with pytest.raises(DataError, match="s.csv"):
        read_table(tmp_path / "s.csv")


def test_the_command(tables, tmp_path, capsys):
    tool = load_script("evaluate.py")
    assert tool.main(["scores", str(tables / "labels.csv"), str(tables / "s.csv"), "--output",
                      str(tmp_path / "r")]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert "b.mp4" in said and "| AUC |" in said
    data = json.loads((tmp_path / "r.json").read_text())
    assert data["command"].startswith("python evaluate.py scores")
    assert data["figures"][str(tables / "s.csv")]["auc"] == 1
    for code, arguments in (
        (1, ["scores", str(tables / "none.csv"), str(tables / "s.csv")]),
        (1, ["scores", str(tables / "s.csv"), str(tables / "s.csv")]),
        (2, ["scores", str(tables / "labels.csv"), str(tables / "s.csv"), "--clip", ".9", ".1"]),
    ):
        assert tool.main(arguments) == code
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    with pytest.raises(SystemExit, match="2"):
        tool.main(["judge"])
