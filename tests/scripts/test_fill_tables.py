"""Tables of the pages are those of the results: filled from them, and seen where they differ."""

import pytest

from tools.fill_tables import PAGES, fill, filled
from utils.core.errors import DataError

RESULT = """    python evaluate.py faces --output external/results/val

12 faces

| corruption | AUC | log loss |
|---|---|---|
| plain | 0.9000 | 0.3000 |
| JPEG, quality 50 | 0.8000 | 0.4000 |

| reals called fake | AUC | log loss |
|---|---|---|
| plain | 4% | none |

| clip | truth |
|---|---|
| a.mp4 | real |
"""
PAGE = "Before.\n\n<!-- results: log loss\n{rows}\n-->\nold\n<!-- end -->\n\nAfter.\n"


@pytest.fixture
def results(tmp_path):
    (tmp_path / "val.md").write_text(RESULT)
    return tmp_path


def rows_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("|")]


def test_a_row_is_taken_by_its_first_cell_and_called_as_the_page_says(results):
    text = filled(PAGE.format(rows="12 faces of DFDC = val: JPEG, quality 50"), results)
    assert rows_of(text) == ["| | log loss |", "|---|---|", "| 12 faces of DFDC | 0.4000 |"]
    assert text.startswith("Before.") and text.endswith("After.\n") and "old" not in text
    assert filled(text, results) == text


def test_without_a_cell_the_whole_table_is_taken(results):
    text = filled(PAGE.format(rows="= val"), results)
    assert rows_of(text)[2:] == ["| plain | 0.3000 |", "| JPEG, quality 50 | 0.4000 |"]


def test_of_tables_with_the_same_columns_one_is_taken_by_its_first_heading(results):
    text = filled(PAGE.format(rows="x = val / reals called fake: plain"), results)
    assert rows_of(text)[2:] == ["| x | none |"]


@pytest.mark.parametrize("row, named", [("x = absent: plain", "absent.md"), ("x = val: gone", "gone")])
def test_a_result_that_is_not_there_is_named(results, row, named):
    with pytest.raises(DataError, match=named):
        filled(PAGE.format(rows=row), results)


def test_checking_writes_nothing_and_fails_where_a_table_differs(results, capsys):
    page = results / "page.md"
    page.write_text(PAGE.format(rows="x = val: plain"))
    assert fill([page], check=True, results=results) == 1
    assert "old" in page.read_text() and str(page) in capsys.readouterr().out
    assert fill([page], results=results) == 0 and "| x | 0.3000 |" in page.read_text()
    assert fill([page], check=True, results=results) == 0


def test_the_pages_here_have_the_tables_of_their_results():
    assert fill(PAGES, check=True) == 0
