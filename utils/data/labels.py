"""Labels as training's lists and groups need them: by video, with the original that a fake was made from.

`utils.data.label_files` says in which forms they may come.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from utils.core.errors import DataError
from utils.data.label_files import read_label_files
from utils.faces.video import VIDEO_SUFFIXES

LONGEST_CHAIN = 50  # a fake of a fake of ...; longer ones go in a circle


def read_labels(paths: Sequence[str | Path]) -> pd.DataFrame:
    """All labels: name, is_fake (0 or 1), original, knows_original, set_name ("" = not given), source, where.

    Names lose a video's suffix, as folders of crops do, unless two differ by it alone. The
    original of a real video is itself, unless one is given, and so is that of a fake whose file tells no
    originals: knows_original is False then. That of a fake of a fake is the first one's. The set `valid` is
    called `val`. DataError names the place of what is missing, unknown or there twice.
    """
    table = read_label_files(paths)
    stems = table["name"].map(_without_suffix)
    with_suffix = table.loc[table["name"] != stems, "name"].drop_duplicates()
    shared = stems[with_suffix.index][stems[with_suffix.index].duplicated()]
    table["name"] = stems.where(~stems.isin(set(shared)), table["name"])
    twice = table["name"].duplicated(keep=False)
    if twice.any():
        rows = table[twice & (table["name"] == table.loc[twice, "name"].iloc[0])]
        places = " and ".join(rows["where"])
        raise DataError(f"the video {rows['name'].iloc[0]!r} is listed more than once: {places}")
    alone = table[(table["is_fake"] == 1) & (table["original"] == "")]
    if len(alone):
        first = alone.iloc[0]
        raise DataError(f"{first['where']}: the fake {first['name']!r} has no original")
    table["knows_original"] = table["original"].notna() | (table["is_fake"] == 0)
    given = table["original"].fillna("")
    table["original"] = given.where(given != "", table["name"])
    return table.assign(set_name=table["set_name"].replace("valid", "val"), original=_first_originals(table))


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
