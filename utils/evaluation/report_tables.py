"""A table of a report: one thing for the terminal, the Markdown file and the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Cells as text, a heading a column; title: a line above it, note: one below."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    note: str = ""

    def markdown(self) -> str:
        """As Markdown, which reads well in a terminal, too."""
        lines = [f"{self.title}\n"] if self.title else []
        lines += [line_of(self.headings), "|---" * len(self.headings) + "|", *map(line_of, self.rows)]
        return "\n".join([*lines, *([f"\n{self.note}"] if self.note else [])])


def line_of(cells: Sequence[str]) -> str:
    """A row of a Markdown table; a bar within a cell, as a file's name may have, stays one."""
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("|  |", "| |")


def joined(tables: Sequence[Table]) -> str:
    """Tables below each other."""
    return "\n\n".join(table.markdown() for table in tables)
