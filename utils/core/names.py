"""File names come from strangers: how they are shown on a terminal, and how they stand in a table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

MOST_NAMES = 5  # of a list in one line
# A spreadsheet computes what begins so, or opens an address; the wide forms are taken for the others in Asia.
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
NUMBER = re.compile(r"[-+]?\d+(\.\d*)?(e[-+]?\d+)?", re.ASCII | re.IGNORECASE)
HERE = "./"


def shown(text: object) -> str:
    """The text on one line, with `\\n`, `\\x1b` and the like for what a terminal would obey or can't show.

    Letters of any script stay; marks that turn the order of letters around don't.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in str(text)
    )


def some_of(paths: Sequence[Path]) -> str:
    """The base names of the first few, and how many more there are, on one line."""
    names = [shown(path.name) for path in paths[:MOST_NAMES]]
    more = len(paths) - len(names)
    return ", ".join([*names, f"{more} more"] if more else names)


def cell(text: str) -> str:
    """A text for a table that people open: of a file's name `./=1+1.mp4`, the same file, which is no formula.

    Numbers stay.
    """
    return f"{HERE}{text}" if text.startswith(FORMULA) and not NUMBER.fullmatch(text) else text


def name_in(cell: str) -> str:
    """The text that `cell` was given."""
    return cell.removeprefix(HERE) if cell.startswith(tuple(HERE + sign for sign in FORMULA)) else cell
