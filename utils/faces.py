"""A detected face, and `faces.csv`, the table of them beside the crops of a video."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from utils.files import write_whole

# Landmarks are named as seen in the image: the left eye is the one further left in the picture.
LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")
COLUMNS = ("frame", "score", "x1", "y1", "x2", "y2") + tuple(
    f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy"
)


@dataclass(frozen=True)
class Face:
    """One face of a frame, in pixels of that frame; box and landmarks may lie outside it.

    score: face probability in [0, 1]; box: (4,) x1, y1, x2, y2; landmarks: (5, 2) x, y in the order
    of `LANDMARK_NAMES`.
    """

    score: float
    box: np.ndarray
    landmarks: np.ndarray

    def row(self, frame: int) -> list[str]:
        """The face as a row of `faces.csv`, in the order of `COLUMNS`."""
        numbers = [self.score, *self.box.tolist(), *self.landmarks.reshape(-1).tolist()]
        return [str(frame), *(f"{number:.4f}" for number in numbers)]


def write_faces_csv(path: Path, rows: Iterable[tuple[int, Face]]) -> None:
    """Write (frame number, face) pairs; aside first, so the file is whole whenever it exists."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(face.row(frame) for frame, face in rows)
    write_whole(path, text.getvalue())


def read_faces_csv(path: Path) -> list[tuple[int, Face]]:
    """The (frame number, face) pairs of a `faces.csv`; ValueError if it isn't one."""
    with open(path, newline="", encoding="utf-8") as file:
        try:
            header, *rows = csv.reader(file)
        except csv.Error as error:
            raise ValueError(f"{path} is no table: {error}") from None
    if tuple(header) != COLUMNS:
        raise ValueError(f"{path} has the columns {','.join(header) or 'none'}, not those of a faces.csv")
    if any(len(row) != len(COLUMNS) for row in rows):
        raise ValueError(f"{path} has rows of other than {len(COLUMNS)} entries")
    table = [(int(row[0]), [float(number) for number in row[1:]]) for row in rows]
    return [
        (frame, Face(numbers[0], np.array(numbers[1:5]), np.array(numbers[5:]).reshape(5, 2)))
        for frame, numbers in table
    ]
