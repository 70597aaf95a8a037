"""Scores made anew from a table of faces."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from scripts import load_script

from utils.core.errors import ConfigError
from utils.evaluation.reensemble import Rule, read_weights
from utils.scoring.details import COLUMNS, FaceRow
from utils.scoring.ensemble import to_logits, to_probabilities

NOISE = np.random.default_rng(5)
TABLE = {name: NOISE.random((count, 2)) for name, count in (("a.mp4", 25), ("b.mp4", 7), ("c.mp4", 1))}


def face_rows(by_network):
    return [FaceRow((10 * k, k / 2, 0, 0, 1, 1, 50), tuple(each), 0.6 * each[0] + 0.4 * each[1])
            for k, each in enumerate(by_network.tolist())]  # fmt: skip


@pytest.fixture
def tables(tmp_path):
    """faces.csv, its rows not in the frames' order, and submission.csv with a file that has no face."""
    with open(tmp_path / "faces.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*COLUMNS, "xception", "wsdan-xception", "ensemble"])
        for name, by_network in TABLE.items():
            for face in face_rows(by_network)[::-1]:
                writer.writerow([name, *face.place, "", *face.by_network, face.probability])
    means = {name: 0.6 * rows[:, 0].mean() + 0.4 * rows[:, 1].mean() for name, rows in TABLE.items()}
    with open(tmp_path / "submission.csv", "w", newline="") as file:
        scores = {"nobody.mp4": 0.5} | means
        csv.writer(file, lineterminator="\n").writerows(
            [("filename", "label"), *((n, f"{p:.6f}") for n, p in scores.items())]
        )
    return tmp_path


def evaluate(*arguments):
    return load_script("evaluate.py").main(["faces-csv", *map(str, arguments)])


def test_the_ensemble_as_it_was_gives_the_submission_again(tables, capsys):
    new = tables / "new.csv"
    assert evaluate(tables / "faces.csv", "--like", tables / "submission.csv", "--scores", new) == 0
    assert new.read_bytes() == (tables / "submission.csv").read_bytes()
    assert "| a.mp4 | 25 |" in capsys.readouterr().out


def test_of_several_people_each_is_scored_and_the_highest_counts():
    rows = face_rows(TABLE["a.mp4"])
    persons = [replace(row, person=1 + k % 2) for k, row in enumerate(rows)]
    parts = [[row.probability for row in persons[start::2]] for start in (0, 1)]
    assert Rule().score(persons) == pytest.approx(max(map(np.mean, parts)))
    assert Rule(first=3).score(persons) == pytest.approx(max(np.mean(part[:3]) for part in parts))
    assert Rule().score(rows) == pytest.approx(np.mean(parts[0] + parts[1]))


def test_other_weights_and_means(tables):
    new = tables / "new.csv"
    arguments = ["--weights", "xception=1", "wsdan-xception=3", "--combine", "logits", "--mean", "trimmed"]
    assert evaluate(tables / "faces.csv", *arguments, "--trim", "0.2", "--scores", new) == 0
    with open(new, newline="") as file:
        scores = {row["filename"]: float(row["label"]) for row in csv.DictReader(file)}
    for name, by_network in TABLE.items():
        mixed = to_probabilities(to_logits(by_network) @ [0.25, 0.75])
        cut = {"a.mp4": 5, "b.mp4": 1, "c.mp4": 0}[name]
        assert scores[name] == pytest.approx(np.sort(mixed)[cut : len(mixed) - cut].mean(), abs=1e-6)


def test_fewer_faces():
    faces = face_rows(TABLE["a.mp4"])
    each = np.array([face.probability for face in faces])
    assert Rule(first=4).score(faces[::-1]) == pytest.approx(each[:4].mean())
    assert Rule(spread=5).score(faces) == pytest.approx(each[2::5].mean())
    assert Rule(spread=99).score(faces) == pytest.approx(each.mean())
    assert Rule(mean="median").score(faces) == pytest.approx(np.median(each))
    assert Rule((1.0, 0.0), "probabilities").score(faces) == pytest.approx(TABLE["a.mp4"][:, 0].mean())


@pytest.mark.parametrize(
    "entries", [["xeption=1"], ["xception"], ["xception=x"], ["xception=-1"], ["xception=0"]]
)
def test_weights_that_make_no_sense_are_named(tmp_path, entries):
    with pytest.raises(ConfigError, match=entries[0]):
        read_weights(entries, ["xception", "wsdan-xception"], tmp_path / "faces.csv")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--weights", "xception=1"], "--combine"),
        (["--first", "3", "--spread", "3"], "--spread"),
        (["--trim", "0.5"], "--trim"),
        (["--scores", "faces.csv"], "overwritten"),
        (["--like", "other.csv"], "a.mp4"),
    ],
)
def test_what_is_wrong_is_one_line(tables, arguments, named, capsys, monkeypatch):
    monkeypatch.chdir(tables)
    (tables / "other.csv").write_text("filename,label\nb.mp4,0.5\n")
    assert evaluate("faces.csv", *arguments) in (1, 2)
    said = capsys.readouterr().err
    assert named in said and said.count("\n") == 1
