"""Tables as people have them: commas, semicolons or tabs, a BOM or none, any line ends, any columns."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.core.errors import DataError
from utils.core.shortage import is_short

DELIMITERS = ",;\t"
UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # what Excel calls Unicode text


@dataclass(frozen=True)
class Table:
    """A file's lines as cells without blanks around them; numbers: at which line of the file each ends."""

    path: Path
    lines: list[list[str]]
    numbers: list[int]

    def header(self) -> list[str]:
        """The first line as column names, in lower case."""
        return [cell.lower() for cell in self.lines[0]] if self.lines else []

    def rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Where each line below the header is, and its cells by column; "" for one that it lacks."""
        header = self.header()
        for cells, number in zip(self.lines[1:], self.numbers[1:], strict=True):
            filled = [*cells, *[""] * (len(header) - len(cells))]
            yield f"{self.path} line {number}", dict(zip(header, filled, strict=False))


def read_table(path: Path, named: Sequence[str] = ()) -> Table:
    """The lines of a table that aren't empty. DataError for a file that can't be read as one.

    named: columns of which the header names one; the delimiter is the one that shows most of them.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        if is_short(error):
            raise
        raise DataError(f"{path} can't be read as CSV: {error.strerror}") from None
    utf16 = data.startswith(UTF16)
    text = data.decode("utf-16" if utf16 else "utf-8-sig", "replace" if utf16 else "surrogateescape")
    first = next((line for line in text.splitlines() if line.strip()), "")

    def shown(delimiter: str) -> tuple[int, int]:
        cells = [cell.strip(" \"'").lower() for cell in first.split(delimiter)]
        return len(set(cells) & set(named)), len(cells)

    lines, numbers = [], []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=shown),
                        skipinitialspace=True)  # fmt: skip
    try:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                lines.append([cell.strip() for cell in cells])
                numbers.append(reader.line_num)
    except csv.Error as error:
        raise DataError(f"{path} can't be read as CSV: {error}") from None
    return Table(path, lines, numbers)
