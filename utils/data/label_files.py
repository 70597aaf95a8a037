"""Files that say which videos are fake, in every form that is about, as one table of what they say.

Tables with the columns `filename,label` or `name,is_fake,original[,set_name]`, maybe among others; lists
without a header, `abc.mp4,FAKE`; DFDC's metadata.json, `{"abc.mp4": {"label": "FAKE", "original":
"xyz.mp4"}, ...}`, also as a CSV, JSON without originals, `{"abc.mp4": "FAKE"}`, and lists of rows in JSON.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from utils.core.errors import DataError
from utils.core.names import name_in
from utils.data.lists import read_json
from utils.data.tables import Table, read_table

METADATA_FILE = "metadata.json"
WORDS = {"real": 0, "fake": 1, "false": 0, "true": 1}  # false and true as pandas writes is_fake
NAMES, KINDS = ("filename", "name", "video", "file"), ("label", "is_fake")  # columns, the first that is there
NONE = ("", "nan", "none", "null", "na", "<na>")  # how tables say that there is no original
FORMS = "filename,label or name,is_fake,original[,set_name]"


class Label(NamedTuple):
    """What a file says of a video; original: None = the file doesn't tell originals, "" = there is none."""

    name: str
    is_fake: int
    original: str | None
    set_name: str
    source: str
    where: str


def read_label_files(paths: Sequence[str | Path]) -> pd.DataFrame:
    """All rows of label files, or of every metadata.json in a folder, names as they are written there.

    The columns are those of `Label`. DataError names the place of what is missing or can't be understood.
    """
    rows = [row for path in paths for file in label_files(Path(path)) for row in read_file(file)]
    return pd.DataFrame(rows, columns=Label._fields).astype({"original": object})


def label_files(path: Path) -> list[Path]:
    """The file itself, or every metadata.json below a folder, links to folders included."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: no such label file or folder")
    found, seen = [], set()

    def refuse(error: OSError) -> None:
        raise DataError(f"{error.filename}: can't list this folder ({error.strerror})") from None

    for folder, folders, names in os.walk(path, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        if METADATA_FILE in names:
            found.append(Path(folder, METADATA_FILE))
    if not found:
        raise DataError(f"{path} holds no {METADATA_FILE}; a table of labels is given by its own name")
    return sorted(found)


def read_file(path: Path) -> list[Label]:
    """The rows of one file."""
    if path.suffix.lower() == ".json":
        return list(_metadata_rows(path))
    table = read_table(path, (*NAMES, *KINDS))
    header = table.header()
    kind = next((column for column in KINDS if column in header), None)
    if kind is None and header and header[0] not in NAMES and _is_pair(table.lines[0]):
        return list(_headless_rows(table))
    name = next((column for column in NAMES if column in header), "" if "" in header else None)
    if kind is None or name is None:
        missing = "is empty" if not header else f"has the columns {','.join(header)[:80]}"
        raise DataError(f"{path} {missing}; labels have {FORMS}")
    if len(table.lines) == 1:
        raise DataError(f"{path} lists no video")
    return list(_table_rows(table, name, kind))


def _table_rows(table: Table, name: str, kind: str) -> Iterator[Label]:
    names = {row[name] for _, row in table.rows()}
    for where, row in table.rows():
        is_fake = _label(row[kind])
        if is_fake is None:
            raise DataError(f"{where}: {kind} must be 0, 1, real or fake, not {row[kind]!r}")
        if not row[name]:
            raise DataError(f"{where}: the video has no name")
        original = row.get("original")
        if original is not None and original not in names and original.lower() in NONE:
            original = ""
        texts = (row[name], original, row.get("set_name", ""), row.get("source", ""))
        video, original, *rest = (text and name_in(text) for text in texts)
        yield Label(video, is_fake, original, *rest, where)


def _is_pair(cells: list[str]) -> bool:
    """Whether a line of a table without a header is a name and a label: `abc.mp4,FAKE` or `abc.mp4 FAKE`."""
    cells = cells if len(cells) > 1 else cells[0].rsplit(maxsplit=1)
    return len(cells) == 2 and _label(cells[1]) is not None


def _headless_rows(table: Table) -> Iterator[Label]:
    for cells, number in zip(table.lines, table.numbers, strict=True):
        where = f"{table.path} line {number}"
        if not _is_pair(cells):
            raise DataError(f"{where}: must be a name and FAKE or REAL, as in the first line")
        name, word = cells if len(cells) > 1 else cells[0].rsplit(maxsplit=1)
        if not name:
            raise DataError(f"{where}: the video has no name")
        yield Label(name, _label(word), None, "", "", where)


def _label(text: str) -> int | None:
    """0 or 1 for 0, 1, 0.0, 1.0, real, fake, false and true; None for anything else."""
    word = text.strip().lower()
    if word in WORDS:
        return WORDS[word]
    try:
        return {0.0: 0, 1.0: 1}.get(float(word))
    except ValueError:
        return None


def _metadata_rows(path: Path) -> Iterator[Label]:
    """Of one metadata.json; its "split" says train everywhere and isn't used."""
    entries = _entries(path)
    tells = any(isinstance(entry, dict) and "original" in entry for _, entry in entries)
    for video, entry in entries:
        entry = entry if isinstance(entry, dict) else {"label": entry}
        label, original = next((entry[key] for key in KINDS if key in entry), None), entry.get("original")
        if isinstance(original, float) and math.isnan(original):  # of a table that pandas made JSON of
            original = None
        if label is None:
            raise DataError(f"{path}: the video {video!r} has no label")
        is_fake = _label(str(label))
        if is_fake is None:
            raise DataError(f"{path}: the label of {video!r} must be FAKE or REAL, not {label!r}")
        if original is not None and not isinstance(original, str):
            raise DataError(f"{path}: the original of {video!r} must be a name, not {original!r}")
        if not Path(video).stem:
            raise DataError(f"{path}: a video has no name")
        source = str(entry.get("source") or "")
        yield Label(video, is_fake, (original or "") if tells else None, "", source, f"{path} ({video})")


def _entries(path: Path) -> list[tuple[str, object]]:
    """(video, what is said of it) of a JSON file, which may be a list of rows, too."""
    videos = read_json(path)
    if isinstance(videos, list) and all(isinstance(row, dict) for row in videos):
        pairs = [(str(next((row[key] for key in NAMES if key in row), "")), row) for row in videos]
    else:
        pairs = list(videos.items()) if isinstance(videos, dict) else []
    if not pairs:
        raise DataError(f'{path} is no DFDC metadata, {{"<video>.mp4": {{"label": "FAKE" or "REAL", ...}}}}')
    return pairs
