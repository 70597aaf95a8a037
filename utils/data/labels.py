"""Labels: which videos are fake, and the original that each was made from.

They come as tables `name,is_fake,original[,set_name]` or as DFDC's metadata.json files, a file a part:
`{"abc.mp4": {"label": "FAKE", "split": "train", "original": "xyz.mp4"}, ...}`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from utils.core.errors import DataError
from utils.data.lists import read_json
from utils.faces.video import VIDEO_SUFFIXES

LABELS = {"0": 0, "1": 1, "real": 0, "fake": 1}
NEEDED = ("name", "is_fake", "original")
METADATA_FILE = "metadata.json"
LONGEST_CHAIN = 50  # a fake of a fake of ...; longer ones go in a circle


def read_labels(paths: Sequence[str | Path]) -> pd.DataFrame:
    """All labels as one table: name, is_fake (0 or 1), original, set_name ("" = not given), where it is from.

    A path is a table, a metadata.json, or a folder that is searched for metadata.json files. Names lose a
    video's suffix, as folders of crops do, those in a table unless two differ by it alone. The original of a
    real video is itself, unless one is given; that of a fake of a fake is the first one's. The set `valid` is
    called `val`. DataError names the place of what is missing, unknown or there twice.
    """
    files = [file for path in paths for file in _label_files(Path(path))]
    tables = [_read_metadata(file) if file.suffix.lower() == ".json" else _read_table(file) for file in files]
    table = pd.concat(tables, ignore_index=True)
    stems = table["name"].map(_without_suffix)
    table["name"] = table["name"].where(stems.duplicated(keep=False), stems)
    twice = table["name"].duplicated(keep=False)
    if twice.any():
        rows = table[twice & (table["name"] == table.loc[twice, "name"].iloc[0])]
        places = " and ".join(rows["where"])
        raise DataError(f"the video {rows['name'].iloc[0]!r} is listed more than once: {places}")
    return table.assign(
        set_name=table["set_name"].replace("valid", "val"), original=_first_originals(table)
    )


def _label_files(path: Path) -> list[Path]:
    """The file itself, or every metadata.json below a folder, links to folders included."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError(f"{path}: no such label file or folder")
    found, seen = [], set()
    for folder, folders, names in os.walk(path, followlinks=True):
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


def _read_metadata(path: Path) -> pd.DataFrame:
    """The labels of one metadata.json; its "split" says train everywhere and isn't used."""
    videos = read_json(path)
    if not isinstance(videos, dict) or not videos:
        raise DataError(f'{path} is no DFDC metadata, {{"<video>.mp4": {{"label": "FAKE" or "REAL", ...}}}}')
    rows = []
    for video, entry in videos.items():
        label = entry.get("label") if isinstance(entry, dict) else None
        original = entry.get("original") if isinstance(entry, dict) else None
        if label is None:
            raise DataError(f"{path}: the video {video!r} has no label")
        is_fake = {"fake": 1, "real": 0}.get(str(label).strip().lower())
        if is_fake is None:
            raise DataError(f"{path}: the label of {video!r} must be FAKE or REAL, not {label!r}")
        if original is not None and not isinstance(original, str):
            raise DataError(f"{path}: the original of {video!r} must be a name, not {original!r}")
        if is_fake and not original:
            raise DataError(f"{path}: the fake {video!r} has no original")
        if not Path(video).stem:
            raise DataError(f"{path}: a video has no name")
        rows.append((Path(video).stem, is_fake, Path(original or video).stem, "", f"{path} ({video})"))
    return pd.DataFrame(rows, columns=[*NEEDED, "set_name", "where"])


def _read_table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as CSV: {' '.join(str(error).split())}") from None
    missing = [column for column in NEEDED if column not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; it needs {','.join(NEEDED)}[,set_name]")
    if table.empty:
        raise DataError(f"{path} lists no video")
    table = table.reindex(columns=[*NEEDED, "set_name"], fill_value="").fillna("")
    table = table.apply(lambda column: column.str.strip())
    table["where"] = [f"{path} line {line}" for line in range(2, len(table) + 2)]
    labels = table["is_fake"].str.lower()
    for bad, what in (
        (~labels.isin(LABELS), "is_fake must be 0, 1, real or fake, not {is_fake!r}"),
        (table["name"] == "", "the video has no name"),
        ((table["original"] == "") & labels.isin(("1", "fake")), "the fake {name!r} has no original"),
    ):
        if bad.any():
            row = table[bad].iloc[0].to_dict()
            raise DataError(f"{row['where']}: " + what.format(**row))
    table["is_fake"] = labels.map(LABELS)
    table["original"] = table["original"].where(table["original"] != "", table["name"])
    return table


def _first_originals(table: pd.DataFrame) -> pd.Series:
    """The original of each video, followed to its end: a fake of a fake must not part from the first one.

    A table may write an original as a file, `xyz.mp4`; it is the video `xyz` unless there is an `xyz.mp4`.
    """
    original = table["original"]
    original = original.where(original.isin(set(table["name"])), original.map(_without_suffix))
    of_original = dict(zip(table["name"], original, strict=True))
    for _ in range(LONGEST_CHAIN):
        further = original.map(lambda name: of_original.get(name, name))
        if further.equals(original):
            return original
        previous, original = original, further
    circle = table[original != previous].iloc[0]
    raise DataError(f"{circle['where']}: the originals of {circle['name']!r} lead in a circle")


def _without_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in VIDEO_SUFFIXES else name
