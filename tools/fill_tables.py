"""Write the tables of README and docs anew, from the results that measuring commands left.

    python tools/fill_tables.py                 # README.md, external/MODEL_CARD.md, docs/*.md
    python tools/fill_tables.py docs/page.md
    python tools/fill_tables.py --check         # write nothing; 1 if a table isn't that of its results

A table stands between two comments. The first names columns, then rows, each as it is to be called, the file
below external/results without its suffix, where it holds several such tables the head of the right one's
first column, and the row's first cell there (left out: all rows of that table):

    <!-- results: AUC, log loss
    faces of DFDC = val: plain
    chosen = dev / reals called fake at 0.5: both
    = clips
    -->
    <!-- end -->

Exit codes: 0 done, 1 a result or a column is missing, 2 usage.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from utils.core.console import run  # noqa: E402
from utils.core.errors import DataError  # noqa: E402
from utils.core.files import write_whole  # noqa: E402

RESULTS = ROOT / "external" / "results"
PAGES = [ROOT / "README.md", ROOT / "external/MODEL_CARD.md", *sorted(ROOT.glob("docs/*.md"))]
PLACE = re.compile(r"(<!-- results: ([^\n]+)\n(.*?)\n?-->\n).*?(<!-- end -->)", re.S)
Table = tuple[str, list[str], dict[str, list[str]]]  # first heading, the others, first cell -> other cells


def main(argv: list[str] | None = None) -> int:
    """Fill or check; returns the exit code."""
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="*", type=Path, metavar="PAGE", help="Markdown files; default: all")
    parser.add_argument("--check", action="store_true", help="write nothing, name the tables that differ")
    arguments = parser.parse_args(argv)
    return run(lambda: fill(arguments.pages or PAGES, arguments.check))


def fill(pages: list[Path], check: bool = False, results: Path = RESULTS) -> int:
    """Write, or with `check` name, the pages whose tables aren't those of the results; exit status."""
    stale = 0
    for page in pages:
        text = page.read_text(encoding="utf-8")
        new = filled(text, results)
        if new != text:
            stale += 1
            print(f"{page}: {'not the results; run make tables' if check else 'written'}")
            if not check:
                write_whole(page, new)
    return 1 if check and stale else 0


def filled(text: str, results: Path) -> str:
    """The page with each of its tables made anew. DataError for a result that isn't there."""

    def table(place: re.Match) -> str:
        columns = [name.strip() for name in place[2].split(",")]
        lines = [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
        for row in filter(str.strip, place[3].splitlines()):
            lines += rows_of(row, columns, results)
        return f"{place[1]}\n" + "\n".join(lines) + f"\n\n{place[4]}"

    return PLACE.sub(table, text)


def rows_of(row: str, columns: list[str], results: Path) -> list[str]:
    """The lines that a row of a comment stands for."""
    name, _, source = (part.strip() for part in row.partition("="))
    place, _, cell = (part.strip() for part in source.partition(":"))
    file, _, head = (part.strip() for part in place.partition("/"))
    path = results / f"{file}.md"
    if not path.is_file():
        raise DataError(f"{path} is not there: no result for the row {row.strip()!r}")
    for first, headings, rows in tables_in(path.read_text(encoding="utf-8")):
        if head in ("", first) and set(columns) <= set(headings) and (not cell or cell in rows):
            places = [headings.index(column) for column in columns]
            chosen = {name or cell: rows[cell]} if cell else rows
            lines = [[called, *(cells[k] for k in places)] for called, cells in chosen.items()]
            return [f"| {' | '.join(line)} |" for line in lines]
    raise DataError(f"{path}: no table with columns {', '.join(columns)} and row {cell or '(any)'}")


def tables_in(text: str) -> list[Table]:
    """The Markdown tables of a text."""
    tables = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.M):
        rows = [[cell.strip() for cell in line.strip().strip("|").split("|")] for line in block.splitlines()]
        if len(rows) > 2:
            tables.append((rows[0][0], rows[0][1:], {row[0]: row[1:] for row in rows[2:]}))
    return tables


if __name__ == "__main__":
    sys.exit(main())
