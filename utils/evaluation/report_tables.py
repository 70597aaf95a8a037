"""A table of a report: one thing for the terminal, the Markdown file and the page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from utils.core.names import shown

BOLD = re.compile(r"\*\*[-+.%\d]+\*\*")
MARKS = re.compile(r"""\\(?=[!-/:-@[-`{-~])|[`|<*\[]""")  # a backslash is one where a sign follows it


@dataclass(frozen=True)
class Table:
    """Cells as text, a heading a column; title: a line above it, note: one below."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""

    def markdown(self) -> str:
        """As Markdown, which reads well in a terminal, too."""
        lines = [f"{escaped(self.title)}\n"] if self.title else []
        lines += [line_of(self.headings), "|---" * len(self.headings) + "|", *map(line_of, self.rows)]
        return "\n".join([*lines, *([f"\n{self.note}"] if self.note else [])])


def line_of(cells: Sequence[str]) -> str:
    """A row of a Markdown table; what a cell holds of Markdown and HTML, as a file's name may, is text.

    A number in bold stays so.
    """
    texts = (cell if BOLD.fullmatch(cell) else escaped(cell) for cell in cells)
    return f"| {' | '.join(texts)} |".replace("|  |", "| |")


def escaped(text: str) -> str:
    """A text on one line, in which Markdown finds nothing to obey."""
    return MARKS.sub(r"\\\g<0>", shown(text))


def joined(tables: Sequence[Table]) -> str:
    """Tables below each other."""
    return "\n\n".join(table.markdown() for table in tables)
