"""File names come from strangers: how they are shown on a terminal, and how they stand in a table."""

from __future__ import annotations

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet computes what begins so, or opens an address
HERE = "./"


def shown(text: object) -> str:
    """The text on one line, with `\\n`, `\\x1b` and the like for what a terminal would obey or can't show.

    Letters of any script stay; marks that turn the order of letters around don't.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode()
        for letter in str(text)
    )


def cell(name: object) -> str:
    """A file's name for a table that people open: `./=1+1.mp4`, the same file, for what is no formula so."""
    text = str(name)
    return f"{HERE}{text}" if text.startswith(FORMULA) else text


def name_in(cell: str) -> str:
    """The name that `cell` was given."""
    return cell.removeprefix(HERE) if cell.startswith(tuple(HERE + sign for sign in FORMULA)) else cell
