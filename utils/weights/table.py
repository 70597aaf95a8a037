"""The list of weights files, external/weights.json: its table, and what is true of the files themselves."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from utils.core.errors import DataError, WeightsError
from utils.core.files import sha256_of
from utils.weights.checkpoint import load_pretrained, load_weights
from utils.weights.networks import DETECTOR_NAMES, NETWORK_NAMES, build_network

XCEPTION_BASE = "xception-base"  # Xception without its classifier, to start training from
KNOWN = (*NETWORK_NAMES, *DETECTOR_NAMES, XCEPTION_BASE)
HEADER = ("file", "what it is", "network", "origin", "licence", "sha256", "how to get it")


@dataclass(frozen=True)
class Entry:
    """A file: name, what it is, network, origin, licence, sha256 (hex, None: not stated), how to get it."""

    file: str
    what: str
    network: str
    origin: str
    licence: str
    sha256: str | None
    get: str


@dataclass(frozen=True)
class Status:
    """What is true of a file: sha256 "ok", "differs" or "not stated"; error: why it doesn't load, or None."""

    entry: Entry
    is_present: bool
    sha256: str = ""
    error: str | None = None

    @property
    def is_fine(self) -> bool:
        """Absent, or here, as stated and loadable."""
        return not self.is_present or (self.sha256 != "differs" and self.error is None)

    def line(self) -> str:
        """The status for a reader."""
        if not self.is_present:
            return f"{self.entry.file}: absent"
        loads = "loads strictly" if self.error is None else f"does not load: {self.error}"
        return f"{self.entry.file}: present, sha256 {self.sha256}, {loads}"


def read_entries(path: str | Path) -> list[Entry]:
    """The files of the list `[{"file": ..., "what": ..., ...}, ...]`, keys as of `Entry`.

    DataError for a missing or damaged list, a missing or unknown key, an unknown network, a file that stands
    there twice and a sha256 that is neither null nor 64 hex digits.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))
        entries = [Entry(**row) for row in rows]
    except OSError as error:
        raise DataError(f"{path}: can't read the list of weights ({error.strerror or error})") from None
    except (ValueError, TypeError) as error:
        keys = ", ".join(field.name for field in fields(Entry))
        raise DataError(f"{path}: needed is a list of files with the keys {keys}: {error}") from None
    for place, entry in enumerate(entries):
        if entry.network not in KNOWN:
            raise DataError(f"{path}: {entry.file}: unknown network {entry.network!r}; {', '.join(KNOWN)}")
        if any(other.file == entry.file for other in entries[:place]):
            raise DataError(f"{path}: {entry.file} stands there twice")
        digits = set(str(entry.sha256)) <= set(string.hexdigits.lower()) and len(str(entry.sha256)) == 64
        if entry.sha256 is not None and not digits:
            raise DataError(f"{path}: the sha256 of {entry.file} is neither null nor 64 hex digits")
    return entries


def markdown(entries: Sequence[Entry]) -> str:
    """The table of the files, ending in a newline."""
    rows = [HEADER, ["---"] * len(HEADER)]
    for entry in entries:
        rows.append((
            f"`{entry.file}`", entry.what, f"`{entry.network}`", entry.origin, entry.licence,
            entry.sha256 or "-", entry.get,
        ))  # fmt: skip
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def check(entry: Entry, folder: str | Path) -> Status:
    """Look at the entry's file in `folder`: its sha256, and whether it loads strictly."""
    path = Path(folder, entry.file)
    if not path.exists():
        return Status(entry, is_present=False)
    try:
        if entry.network == XCEPTION_BASE:
            load_pretrained(build_network("xception"), path)
        else:
            load_weights(build_network(entry.network), path)
        error = None
    except WeightsError as caught:
        error = str(caught).removeprefix(f"{path}: ")
    return Status(entry, True, _compare(path, entry.sha256), error)


def _compare(path: Path, stated: str | None) -> str:
    if stated is None or not path.is_file():
        return "not stated"
    return "ok" if sha256_of(path) == stated else "differs"
