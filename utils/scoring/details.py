"""What is kept of each face of a scoring run, and the table of it: a row a face, `submission.faces.csv`.

    filename,frame,seconds,x1,y1,x2,y2,eyes,person,<one column a network>,ensemble

frame: its number in the clip (with frames=spread that of its time, at the clip's mean rate); seconds: when it
is seen; x1 to y2: the box, pixels of the frame; eyes: pixels between them; person: whose face it is, from 1
on, with faces=all, else empty, since of each frame the largest face is judged; then each network's
probability of fake, and the ensemble's.

Until all is scored, the faces lie in a hidden file beside the output, a line of JSON a video, so that a run
which goes on with --resume has those of the videos before.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from utils.core.errors import ConfigError, DataError, UserError
from utils.core.files import csv_lines, write_whole
from utils.core.names import name_in
from utils.scoring.aggregate import Result, SeenFace
from utils.scoring.record import ANEW, state_of
from utils.scoring.submission import GO_ON

PLACE = ("frame", "seconds", "x1", "y1", "x2", "y2", "eyes")  # what is known of where a face is seen
COLUMNS = ("filename", *PLACE, "person")
ENSEMBLE = "ensemble"


@dataclass(frozen=True)
class FaceRow:
    """One face: place as of PLACE (seconds None = unknown), each network's probability, the ensemble's, and
    whose it is, None = people weren't told apart."""

    place: tuple[float | None, ...]
    by_network: tuple[float, ...]
    probability: float
    person: int | None = None

    @property
    def seconds(self) -> float | None:
        return self.place[1]


@dataclass(frozen=True)
class Kept:
    """What is kept of one video. took: seconds of work; looked_at: frames searched; missed: when those
    without a face are seen, in seconds, None = unknown; shown: pictures of some faces, see `utils.report`."""

    faces: list[FaceRow]
    took: float
    looked_at: int
    missed: list[float | None]
    shown: list[dict[str, Any]]


def place_of(face: SeenFace) -> tuple[float | None, ...]:
    """As of PLACE, in hundredths of a pixel and milliseconds."""
    seconds = None if face.seconds is None else round(face.seconds, 3)
    return face.frame, seconds, *(round(value, 2) for value in (*face.box, face.eyes))


class Details:
    """The hidden file that keeps them; what it holds counts for a file of the same size and time of change,
    and for the same `fingerprint`, as in the `Record`."""

    def __init__(self, output: Path, fingerprint: str):
        self.path = details_path(output)
        self.fingerprint = fingerprint
        self._places: dict[str, int] = {}  # of each name's line in the file
        self._mode = "wb"  # until something is written, what another run left stays as it is

    def recall(self, names: Mapping[Path, str]) -> set[str]:
        """The names of which something was kept; from now on add to it.

        Raises ConfigError for another file, and OSError where it can't be read.
        """
        self._mode, states = "ab", {name: state_of(path) for path, name in names.items()}
        with suppress(FileNotFoundError), open(self.path, "rb+") as file:
            start = 0
            while (line := file.readline()).endswith(b"\n"):
                try:
                    name, *state = (json.loads(line)[key] for key in ("filename", "state", "fingerprint"))
                except (ValueError, LookupError, TypeError):
                    raise ConfigError(f"{self.path} is not a file that --resume can read; {ANEW}") from None
                if state == [states.get(name), self.fingerprint]:
                    self._places[name] = start
                start = file.tell()
            file.truncate(start)  # a last line that a killed run left torn
        return set(self._places)

    def append(self, name: str, result: Result, took: float, shown: Sequence[Mapping] = ()) -> None:
        """Keep the `Detail` of a result. Raises UserError where the disk fails."""
        detail, networks = result.detail, [] if result.by_network is None else result.by_network.tolist()
        scored = zip(detail.faces, networks, detail.probabilities, strict=True)
        faces = [(place_of(face), *rest, face.person) for face, *rest in scored]
        entry = {
            "filename": name, "state": state_of(result.path), "fingerprint": self.fingerprint, "took": took,
            "looked_at": detail.looked_at, "missed": detail.missed, "faces": faces, "shown": list(shown),
        }  # fmt: skip
        try:
            with open(self.path, self._mode) as file:
                self._places[name] = file.tell()
                file.write(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            raise UserError(f"{self.path} can't be written ({error.strerror}); {GO_ON}") from None
        self._mode = "ab"

    def of(self, name: str) -> Kept | None:
        """What is kept of a name; None = nothing."""
        if name not in self._places:
            return None
        with open(self.path, "rb") as file:
            file.seek(self._places[name])
            entry = json.loads(file.readline())
        faces = [FaceRow(tuple(place), tuple(each), *rest) for place, each, *rest in entry["faces"]]
        return Kept(faces, entry["took"], entry["looked_at"], entry["missed"], entry["shown"])

    def remove(self) -> None:
        """Nothing is left to resume. A file that can't be removed stays."""
        with suppress(OSError):
            os.unlink(self.path)


def details_path(output: Path) -> Path:
    """`out/submission.csv` -> `out/.submission.faces.jsonl`."""
    return output.with_name(f".{output.stem}.faces.jsonl")


def network_columns(networks: Iterable[str]) -> list[str]:
    """A column's name for each network; the second of a kind is `xception-2`."""
    columns: list[str] = []
    for network in networks:
        kinds = [network, *(f"{network}-{number}" for number in range(2, len(columns) + 2))]
        columns.append(next(name for name in kinds if name not in columns))
    return columns


def write_faces(path: Path, names: Iterable[str], details: Details, networks: Sequence[str]) -> int:
    """Write the table of these files' faces, in their order; returns its rows. Raises UserError.

    networks: of the ensemble. Numbers are written in full, so that what is made of them anew is the same.
    """
    rows = [(*COLUMNS, *network_columns(networks), ENSEMBLE)]
    for name in names:
        kept = details.of(name)
        for face in kept.faces if kept else ():
            place = ["" if value is None else value for value in face.place]
            person = "" if face.person is None else face.person
            rows.append((name, *place, person, *face.by_network, face.probability))
    try:
        write_whole(path, csv_lines(rows))
    except OSError as error:
        raise UserError(f"{path} can't be written ({error.strerror}); {GO_ON}") from None
    return len(rows) - 1


def read_faces(path: Path) -> tuple[list[str], dict[str, list[FaceRow]]]:
    """The networks' columns, and each file's faces, of a table that `write_faces` wrote.

    Raises DataError for another table, or a number that is none.
    """
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            header, *rows = csv.reader(file)
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: can't be read as a table of faces ({error})") from None
    if tuple(header[: len(COLUMNS)]) != COLUMNS or header[-1] != ENSEMBLE or len(header) < len(COLUMNS) + 2:
        raise DataError(f"{path}: no table of faces, which best-submission.py --faces-csv writes")
    faces: dict[str, list[FaceRow]] = {}
    for number, row in enumerate(rows, 2):
        try:
            place = tuple(float(value) if value else None for value in row[1 : len(COLUMNS) - 1])
            person = int(row[len(COLUMNS) - 1]) if row[len(COLUMNS) - 1] else None
            *by_network, mean = map(float, row[len(COLUMNS) :])
            if len(row) != len(header) or not all(0 <= value <= 1 for value in (*by_network, mean)):
                raise ValueError
        except ValueError:
            raise DataError(f"{path}: line {number} is no face with probabilities in 0..1") from None
        faces.setdefault(name_in(row[0]), []).append(FaceRow(place, tuple(by_network), mean, person))
    return header[len(COLUMNS) : -1], faces
