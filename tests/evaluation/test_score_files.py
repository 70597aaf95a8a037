"""evaluate.py scores: labels in every form; missing and wrong files named; report, page and fit."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scripts import ROOT, load_script

from utils.core.errors import DataError
from utils.evaluation.page import page
from utils.evaluation.report_tables import Table
from utils.evaluation.score_files import Scored, Truth, listed, read_scores, read_truth
from utils.evaluation.score_report import ScoreReport
from utils.evaluation.scores import Judged
from utils.scoring.calibrated import ScoreCalibration


@pytest.fixture
def tables(tmp_path):
    (tmp_path / "labels.csv").write_text(
        "filename,label,source\na.mp4,0,x\nb.mp4,1,x\nc.mp4,0,y\nd.mp4,1,y\ne.mp4,1,x\n"
    )
    (tmp_path / "s.csv").write_text("filename,label\na.mp4,0.1\nb.mp4,0.2\nc.mp4,0.5\ne.mp4,0.9\nz.mp4,0.3\n")
    (tmp_path / "s.errors.csv").write_text("filename,reason\nc.mp4,no face\n")
    (tmp_path / "t.csv").write_text("filename;label\r\nc.mp4;0.5\r\nd.mp4;0.6\r\nb.mp4;0.7\r\n")
    return tmp_path


def scored(labels: dict, scores: dict) -> Scored:
    return Scored(Path("s.csv"), scores, {}, Truth(labels))


def test_missing_extra_and_unjudged_files_are_named(tables):
    truth = read_truth([tables / "labels.csv"])
    found = Scored.read(tables / "s.csv", truth)
    lines = listed(found).splitlines()
    assert lines[1].split() == ["a.mp4", "real", "0.1000"] and lines[2].startswith("b.mp4  fake   0.2000")
    assert "no face" in lines[3] and "s.csv" in lines[4]
    assert lines[6].startswith("2 of 3 ") and "0 false alarms" in lines[6] and "1 miss " in lines[6]
    assert lines[7] == "not in s.csv: d.mp4" and lines[8] == "without a label: z.mp4"
    data = found.as_data()
    assert data["missing"] == ["d.mp4"] and data["without a label"] == ["z.mp4"]
    assert data["not judged"] == {"c.mp4": "no face"} and data["fakes called real"] == {"b.mp4": 0.2}


def test_a_real_at_exactly_one_half_is_right_and_a_fake_there_is_a_miss():
    found = scored({"a": 0, "b": 1}, {"a": 0.5, "b": 0.5})
    assert found.wrong(0) == [] and found.wrong(1) == ["b"]
    assert "1 of 2 judged files" in listed(found)


def test_of_many_files_the_wrong_ones_are_listed_and_all_of_them_where_asked_for(tmp_path):
    labels = {f"r{k}": 0 for k in range(80)} | {f"f{k}": 1 for k in range(80)}
    scores = {name: 0.9 - int(name[1:]) / 1000 for name in labels if name != "f0"}
    found = Scored(tmp_path / "s.csv", scores, {}, Truth(labels))
    lines = listed(found).splitlines()
    assert len(lines) == 1 + 50 + 1 + 2 and lines[1].startswith("r0 ") and "31 more" in lines[51]
    assert "80 false alarms" in lines[52] and "0 misses" in lines[52]
    whole = listed(found, whole=True).splitlines()
    assert len(whole) == 1 + 81 + 2 and whole[81].startswith("f0 ") and "more" not in "".join(whole)


@pytest.mark.parametrize(
    "labels, names, expected",
    [
        (["a"], ["a.mp4"], {"a": "a.mp4"}),  # a table name,is_fake,original beside a submission
        (["a.mp4"], ["a"], {"a.mp4": "a"}),
        (["a", "a.mp4"], ["a.mp4"], {"a.mp4": "a.mp4"}),
        (["a"], ["a.mp4", "a.avi"], {}),  # which of them isn't told
        (["a.mp4"], ["a.avi"], {}),
        (["b.c"], ["b.c.mp4"], {"b.c": "b.c.mp4"}),
    ],
)
def test_names_may_lack_the_suffix(labels, names, expected):
    assert scored(dict.fromkeys(labels, 0), dict.fromkeys(names, 0.1)).names == expected


def test_labels_of_several_files_and_folders_of_metadata(tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "metadata.json").write_text('{"a.mp4": {"label": "FAKE", "original": "b.mp4"}}')
    (tmp_path / "more.csv").write_text("\ufefffilename;label\r\nc.mp4;REAL\r\n")
    assert read_truth([tmp_path, tmp_path / "more.csv"]).labels == {"a.mp4": 1, "c.mp4": 0}
    (tmp_path / "again.csv").write_text("filename,label\na.mp4,1\n")
    with pytest.raises(DataError, match=r"'a.mp4' is there again: .*metadata.json \(a.mp4\) and .*line 2"):
        read_truth([tmp_path, tmp_path / "again.csv"])


@pytest.mark.parametrize("text", ["name,p\na,0.1\n", "", "a,many\n", "a,0\na,1\n", "a,1.5\n"])
def test_tables_that_are_none_are_refused(tmp_path, text):
    header = "" if text in ("", "name,p\na,0.1\n") else "filename,label\n"
    (tmp_path / "s.csv").write_text(header + text)
    with pytest.raises(DataError, match="s.csv"):
        read_scores(tmp_path / "s.csv")


def test_sources_and_the_paired_difference(tables):
    truth = read_truth([tables / "labels.csv"])
    report = ScoreReport([Scored.read(tables / name, truth) for name in ("s.csv", "t.csv")])
    data = report.as_data()
    first, second = map(str, (tables / "s.csv", tables / "t.csv"))
    assert data["figures"][first]["files"] == data["figures"][second]["files"] == 3
    assert {source: row["files"] for source, row in data["by_source"][second].items()} == {"x": 1, "y": 2}
    assert data["by_source"][first]["x"]["auc"] == 1
    [less] = data["differences"]
    assert less["files"] == 1 and less["figures"]["accuracy at 0.5"]["difference"] == 1  # b.mp4 alone
    assert less["figures"]["AUC"]["verdict"] == "undefined"
    titles = [table.title for table in report.tables()]
    assert titles[1:] == [f"By source, {first}", f"By source, {second}",
                          f"{second} less {first}, of the 1 files that both judge"]  # fmt: skip
    with pytest.raises(DataError, match="u.csv"):
        (tables / "u.csv").write_text("filename,label\nz.mp4,0.2\n")
        Scored.read(tables / "u.csv", truth)


def test_a_page_asks_for_nothing_and_names_stay_text():
    evil = "<script>alert(1)</script>\"'&.csv"
    judged = [Judged(evil, np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.4, 0.6])),
              Judged("one class", np.zeros(2, int), np.array([0.1, 0.2]))]  # fmt: skip
    text = page("Scores", ["evaluate.py", evil], [Table(["file", evil], [[evil, "1"]], evil, evil)], judged)
    assert "<script" not in text and text.count("&lt;script&gt;") > 8
    assert not re.search(r"(src|href|url|@import)\s*[=(]|https?:", text)
    assert text.count("<svg") == 5 and text.count("<polyline") == 1 + 2 + 1 + 1 + 1
    alone = page("Scores", [], [], judged[1:])
    assert alone.count("undefined: one class only") == 2


def test_a_user_judges_scores(tables):
    """In a process of its own, from another folder."""
    command = [sys.executable, str(ROOT / "evaluate.py"), "scores", "labels.csv", "t.csv", "--output", "out/"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tables, timeout=600)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "1 of 3 judged files" not in done.stdout and "3 of 3 judged files" in done.stdout
    assert {path.name for path in (tables / "out").iterdir()} == {f"metrics.{kind}" for kind in
                                                                  ("md", "json", "html")}  # fmt: skip


def test_the_command(tables, tmp_path, capsys):
    tool, labels = load_script("evaluate.py"), str(tables / "labels.csv")
    command = ["scores", labels, str(tables / "s.csv"), str(tables / "t.csv"), "--output", f"{tmp_path}/out/"]
    assert tool.main(command) == 0
    said = capsys.readouterr().out
    assert "1 miss" in said and "| AUC |" in said and "z.mp4" in said
    data = json.loads((tmp_path / "out/metrics.json").read_text(), parse_constant=pytest.fail)
    assert data["command"].startswith("python evaluate.py scores")
    assert data["figures"][str(tables / "s.csv")]["auc"] == 1
    assert data["by_source"][str(tables / "t.csv")]["x"]["auc"] is None  # undefined: one class
    assert "<svg" in (tmp_path / "out/metrics.html").read_text()
    assert "| AUC |" in (tmp_path / "out/metrics.md").read_text()
    for code, arguments in (
        (1, [str(tables / "none.csv"), str(tables / "s.csv")]),
        (1, [str(tables / "s.csv"), str(tables / "s.csv")]),
        (2, [labels, str(tables / "s.csv"), "--clip", ".9", ".1"]),
        (2, [*command[1:4], "--fit", str(tmp_path / "c.json")]),
        (1, [*command[1:3], "--fit", str(tmp_path / "c.json")]),  # three files are too few
        (2, [*command[1:3], "--fit", str(tables / "s.csv")]),
    ):
        assert tool.main(["scores", *arguments]) == code
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    with pytest.raises(SystemExit, match="2"):
        tool.main(["judge"])


def test_a_calibration_is_fitted_and_said_to_be_of_few_files(tmp_path, capsys):
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, 120)
    logits = 3 * (labels - 0.5) + rng.normal(0, 1.5, 120)  # log odds 4/3 of it
    scores = 1 / (1 + np.exp(-(2 * logits - 2)))
    rows = [f"v{k},{label}\n" for k, label in enumerate(labels)]
    (tmp_path / "l.csv").write_text("filename,label\n" + "".join(rows))
    (tmp_path / "s.csv").write_text("filename,label\n" + "".join(f"v{k},{p}\n" for k, p in enumerate(scores)))
    command = [*(str(tmp_path / name) for name in ("l.csv", "s.csv")), "--fit", str(tmp_path / "c.json")]
    assert load_script("evaluate.py").main(["scores", *command, "--output", str(tmp_path / "r")]) == 0
    said, warned = capsys.readouterr()
    assert warned.startswith("warning: ") and "200" in warned and f"calibration={tmp_path / 'c.json'}" in said
    found = ScoreCalibration.read(str(tmp_path / "c.json"))
    assert found.scale == pytest.approx(2 / 3, rel=0.35) and found.files == 120
    assert found.scale * -2 + found.offset == pytest.approx(0, abs=0.5)
    assert json.loads((tmp_path / "r.json").read_text())["fitted"]["scale"] == found.scale
