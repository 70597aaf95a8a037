"""What came of an extraction; `failures.csv`: which files failed or hold no face, and why."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from utils.core.files import csv_lines, write_whole
from utils.core.names import name_in

NAME = "failures.csv"
COLUMNS = ("file", "reason")
FACELESS = "no face in it"


@dataclass(frozen=True)
class Outcome:
    """What came of one file: its crops, or why it failed. warning: what is missing of it."""

    path: Path
    crops: int = 0
    failure: str | None = None
    warning: str | None = None


@dataclass
class Extracted:
    """What a run has done so far; failures and warnings are (file, reason)."""

    videos: int = 0  # whose crops are complete now
    faceless: list[Path] = field(default_factory=list)  # of them
    frames: int = 0
    crops: int = 0
    part: float = 0.0  # of the videos being worked on
    failures: list[tuple[Path, str]] = field(default_factory=list)
    warnings: list[tuple[Path, str]] = field(default_factory=list)

    def at(self, part: float, frames: int) -> Extracted:
        """So many frames were searched, and the files being worked on are done to this part."""
        self.part, self.frames = part, frames
        return self

    @property
    def rows(self) -> list[tuple[Path, str]]:
        """(file, reason) of those that failed or hold no face."""
        return [*self.failures, *((path, FACELESS) for path in self.faceless)]

    def add(self, outcome: Outcome) -> None:
        """One file more is through."""
        if outcome.failure is not None:
            self.failures.append((outcome.path, outcome.failure))
            return
        if outcome.warning:
            self.warnings.append((outcome.path, outcome.warning))
        self.videos += 1
        self.crops += outcome.crops
        if not outcome.crops:
            self.faceless.append(outcome.path)


def update_failures(
    out_dir: Path, rows: Iterable[tuple[Path, str]], begun: Iterable[Path]
) -> tuple[Path, int]:
    """Write (file, reason) rows, and keep those of an earlier run about files that this one hasn't begun.

    Sorted by file. Returns the table's path and how many rows it has; without any there is no such file.
    Raises OSError.
    """
    path, known = out_dir / NAME, {str(file) for file in begun}
    table = [row for row in read_failures(path) if row[0] not in known]
    table += [(str(file), reason) for file, reason in rows]
    if not table:
        path.unlink(missing_ok=True)
        return path, 0
    write_whole(path, csv_lines([COLUMNS, *sorted(table)]))
    return path, len(table)


def read_failures(path: Path) -> list[tuple[str, str]]:
    """The rows of such a table; none where there is no table."""
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            return [tuple(map(name_in, row)) for row in csv.reader(file) if len(row) == len(COLUMNS)][1:]
    except (OSError, csv.Error):
        return []
