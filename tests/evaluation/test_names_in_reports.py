"""Names of strangers in what evaluate.py shows and writes: text on one line, no markup, no formula."""

import csv
import json

import pytest
from scripts import load_script

from utils.core.names import FORMULA, name_in
from utils.evaluation.reensemble import Scores
from utils.evaluation.report_tables import Table
from utils.evaluation.score_files import read_scores

NAMES = [
    "new\nline.mp4", "\x1b[31mred.mp4", "=1+1.mp4", "a|b.mp4", "<img src=x onerror=alert(1)>.mp4",
    "`code`.mp4", "[a](b).mp4", "**bold**.mp4", "a\\|b.mp4", "it's \"so\".mp4", "-0.5", "\u202egpj.mp4",
]  # fmt: skip


@pytest.fixture
def files(tmp_path):
    """Labels and scores of all the names, as JSON and as our own tables have them."""
    (tmp_path / "metadata.json").write_text(json.dumps({name: "FAKE" for name in NAMES} | {"r.mp4": "REAL"}))
    Scores({name: (1, 0.5, 0.25) for name in [*NAMES, "r.mp4"]}, {}).write(tmp_path / "s.csv")
    return tmp_path


def test_scores_are_read_back_by_their_true_names(files):
    assert list(read_scores(files / "s.csv")) == [*NAMES, "r.mp4"]
    with open(files / "s.csv", newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert not [cell for cell in cells if cell.startswith(FORMULA) and cell != "-0.5"]
    assert set(NAMES) < set(map(name_in, cells))


def test_terminal_markdown_and_page_show_them_as_text(files, capsys):
    (files / "src.csv").write_text("filename,label,source\nr.mp4,0,<b>x|y\n")
    command = ["scores", str(files / "metadata.json"), str(files / "s.csv"), "--output", str(files / "o")]
    assert load_script("evaluate.py").main(command) == 0
    said, text, page = capsys.readouterr().out, (files / "o.md").read_text(), (files / "o.html").read_text()
    for shown in (said, text, page):
        assert all(letter.isprintable() for line in shown.split("\n") for letter in line)
        assert "new\\nline.mp4" in shown and "\\x1b" in shown and "\\u202egpj" in shown
    for shown in (said, text):
        assert "\\<img" in shown and "\\`code\\`" in shown and "\n<img" not in shown
    assert "<img" not in page and "&lt;img" in page
    told = json.loads((files / "o.json").read_text())["files"][str(files / "s.csv")]
    assert told["fakes called real"].keys() == set(NAMES)


def test_a_table_is_as_wide_as_its_headings_whatever_is_in_it():
    rows = [[name, "**0.5**"] for name in NAMES]
    lines = Table(["file", "score"], rows, "a\nb").markdown().split("\n")
    assert lines[0] == "a\\nb" and len(lines) == 4 + len(NAMES)
    for line in lines[4:]:
        bars = line.replace("\\\\", "").replace("\\|", "").count("|")
        assert bars == 3 and line.endswith(" **0.5** |")
    assert "\\*\\*bold\\*\\*" in lines[4 + NAMES.index("**bold**.mp4")]


def test_scores_from_faces_are_shown_as_text():
    text = Scores({name: (1, 0.5, 0.25) for name in NAMES}, {}).markdown()
    assert text.count("\n") == 1 + len(NAMES) and "\\<img" in text
