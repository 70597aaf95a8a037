"""The table of weights files in `external/README.md`, and what is true of the files themselves."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from models import RetinaFace, xception
from utils.core.errors import DataError, WeightsError
from utils.weights.checkpoint import load_pretrained, load_weights
from utils.weights.networks import NETWORK_NAMES, build_network

_FILE, _NETWORK, _SHA256 = "file", "network", "sha256"
NOT_STATED = "-"

# How a file of each network in the table is loaded.
_LOADERS: dict[str, tuple[Callable[[], nn.Module], Callable]] = {
    "retinaface-resnet50": (partial(RetinaFace, "resnet50"), load_weights),
    "retinaface-mobilenet0.25": (partial(RetinaFace, "mobilenet0.25"), load_weights),
    "xception-base": (xception, load_pretrained),
    **{name: (partial(build_network, name), load_weights) for name in NETWORK_NAMES},
}


@dataclass(frozen=True)
class Entry:
    """One row: the file's name, the network it is of, its sha256 (lower-case hex, or "-" if not stated)."""

    file: str
    network: str
    sha256: str


@dataclass(frozen=True)
class Status:
    """What is true of a file: sha256 "ok", "differs" or "not stated"; error: why it doesn't load, or None."""

    entry: Entry
    present: bool
    sha256: str = ""
    error: str | None = None

    @property
    def fine(self) -> bool:
        """Absent, or here, as stated and loadable."""
        return not self.present or (self.sha256 != "differs" and self.error is None)

    def line(self) -> str:
        """The status for a reader."""
        if not self.present:
            return f"{self.entry.file}: absent"
        loads = "loads strictly" if self.error is None else f"does not load: {self.error}"
        return f"{self.entry.file}: present, sha256 {self.sha256}, {loads}"


def read_table(path: str | Path) -> list[Entry]:
    """The rows of the first table with the columns file, network and sha256 in a Markdown file.

    Raises DataError for a missing file or table, a row of another length, an unknown network, a file given
    twice and a sha256 that is neither "-" nor 64 hex digits.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise DataError(f"{path}: can't read the table of weights ({error.strerror or error})") from None
    rows = [_cells(line) for line in lines if line.lstrip().startswith("|")]
    start = next((at for at, row in enumerate(rows) if {_FILE, _NETWORK, _SHA256} <= set(row)), None)
    if start is None:
        raise DataError(f"{path}: holds no table with the columns {_FILE}, {_NETWORK}, {_SHA256}")
    header = rows[start]
    entries: dict[str, Entry] = {}
    for row in rows[start + 2 :]:  # below the header and its rule
        if len(row) != len(header):
            raise DataError(f"{path}: the row of {row[0]!r} has {len(row)} cells, the header {len(header)}")
        entry = _entry(dict(zip(header, row, strict=True)), path)
        if entry.file in entries:
            raise DataError(f"{path}: {entry.file} stands twice in the table")
        entries[entry.file] = entry
    return list(entries.values())


def check(entry: Entry, folder: str | Path) -> Status:
    """Look at the entry's file in `folder`: its sha256, and whether it loads strictly."""
    path = Path(folder, entry.file)
    if not path.exists():
        return Status(entry, present=False)
    build, load = _LOADERS[entry.network]
    try:
        load(build(), path)
        error = None
    except WeightsError as caught:
        error = str(caught).removeprefix(f"{path}: ")
    return Status(entry, True, _compare(path, entry.sha256), error)


def _compare(path: Path, stated: str) -> str:
    if stated == NOT_STATED or not path.is_file():
        return "not stated"
    with open(path, "rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return "ok" if digest.hexdigest() == stated else "differs"


def _cells(line: str) -> list[str]:
    return [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]


def _entry(row: dict[str, str], path: Path) -> Entry:
    entry = Entry(row[_FILE], row[_NETWORK], row[_SHA256].lower())
    if entry.network not in _LOADERS:
        known = ", ".join(_LOADERS)
        raise DataError(f"{path}: {entry.file} is of the unknown network {entry.network!r}; known: {known}")
    digits = len(entry.sha256) == 64 and set(entry.sha256) <= set(string.hexdigits)
    if entry.sha256 != NOT_STATED and not digits:
        raise DataError(f"{path}: the sha256 of {entry.file} is neither {NOT_STATED!r} nor 64 hex digits")
    return entry
