"""File names from strangers, on a terminal and in tables."""

import csv
import io
import os
from pathlib import Path

import pytest

from utils.core.files import csv_lines
from utils.core.names import FORMULA, cell, name_in, shown

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["a.mp4", "видео.mp4", "映像 1.mp4", "Ünï.mp4", "'quoted' \"twice\".mp4"])
def test_ordinary_names_stay(name):
    assert shown(name) == name == cell(name)


@pytest.mark.parametrize("byte", [*range(32), 127, *range(128, 160)])
def test_nothing_that_a_terminal_obeys_is_shown(byte):
    said = shown(f"a{chr(byte)}b.mp4")
    assert said.isprintable() and said.startswith("a\\") and said.endswith("b.mp4")


def test_undecodable_bytes_and_reversed_letters_are_shown_as_what_they_are():
    assert shown(os.fsdecode(b"a\xff.mp4")) == "a\\udcff.mp4"
    assert shown("photo\u202egpj.exe") == "photo\\u202egpj.exe"


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula_and_each_is_still_the_files_name(sign, tmp_path, monkeypatch):
    name = f"{sign}1+cmd|' C'!A0.mp4"
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).touch()
    assert cell(name)[0] == "." and os.path.exists(cell(name)) and name_in(cell(name)) == name
    assert name_in("./a.mp4") == "./a.mp4"


def test_rows_hold_no_formula_and_read_back_as_they_were():
    texts = [f"{sign}1+1{rest}" for sign in FORMULA for rest in ("", ".mp4", "\r\nb", '",=2')]
    rows = [[text, 0.5, -1, "-0.25", "+1e5", "./a", f"a,{text}"] for text in texts]
    written, numbers = csv_lines(rows), ("-1", "-0.25", "+1e5")
    for cells in csv.reader(io.StringIO(written, newline="")):
        assert not [cell for cell in cells if cell.startswith(FORMULA) and cell not in numbers]
    for name in ("a;=1+1.mp4", "a\t=1+1.mp4"):  # some spreadsheets part cells there
        assert csv_lines([(name, 0.5)]) == f'"{name}","0.5"\n'
    texts = [[*map(str, row)] for row in rows]
    assert [[name_in(cell) for cell in row] for row in csv.reader(io.StringIO(written, newline=""))] == texts
    assert list(csv.reader(io.StringIO(csv_lines(rows, exact=True), newline=""))) == texts


def test_csv_is_written_in_one_place():
    """What writes it otherwise would have to see to formulas itself."""
    files = [path for folder in ("utils", "tools", ".") for path in (ROOT / folder).rglob("*.py")
             if not {"tests", ".venv", "benchmarks"} & set(path.relative_to(ROOT).parts)]  # fmt: skip
    writers = {path.name for path in files if any(
        word in path.read_text() for word in ("csv.writer", "DictWriter", "to_csv")
    )}  # fmt: skip
    assert writers == {"files.py"}
