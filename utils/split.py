"""Training lists from label tables and the crops that exist, with no original in two sets.

The list is the published `dfdc-data.csv`: `name,is_fake,n_frame,set_name`, n_frame = number of crops. All
fakes of one original lie in that original's set: a network must not know a validation face from training.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from utils.errors import DataError
from utils.lists import COLUMNS, crop_numbers

LABELS = {"0": 0, "1": 1, "real": 0, "fake": 1}
NEEDED = ("name", "is_fake", "original")


def read_tables(paths: Sequence[str | Path]) -> pd.DataFrame:
    """The tables `name,is_fake,original[,set_name]` as one, all text but is_fake (0 or 1); "" = not given.

    is_fake may be written 0, 1, real or fake; a real video without an original is its own. DataError names
    file and row of what is missing, unknown or there twice.
    """
    table = pd.concat([_read_table(Path(path)) for path in paths], ignore_index=True)
    twice = table["name"].duplicated(keep=False)
    if twice.any():
        rows = table[twice & (table["name"] == table.loc[twice, "name"].iloc[0])]
        places = " and ".join(f"{row.file} line {row.line}" for row in rows.itertuples())
        raise DataError(f"the video {rows['name'].iloc[0]!r} is listed more than once: {places}")
    return table


def _read_table(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise DataError(f"{path}: no such label file")
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as CSV: {' '.join(str(error).split())}") from None
    missing = [column for column in NEEDED if column not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; it needs {','.join(NEEDED)}[,set_name]")
    table = table.reindex(columns=[*NEEDED, "set_name"], fill_value="")
    table["file"], table["line"] = str(path), np.arange(len(table)) + 2
    labels = table["is_fake"].str.strip().str.lower()
    for bad, what in (
        (~labels.isin(LABELS), "is_fake must be 0, 1, real or fake, not {is_fake!r}"),
        (table["name"] == "", "the video has no name"),
        ((table["original"] == "") & labels.isin(("1", "fake")), "the fake {name!r} has no original"),
    ):
        if bad.any():
            row = table[bad].iloc[0].to_dict()
            raise DataError(f"{path} line {row['line']}: " + what.format(**row))
    table["is_fake"] = labels.map(LABELS)
    table["original"] = table["original"].where(table["original"] != "", table["name"])
    return table


def count_crops(table: pd.DataFrame, root: str | Path) -> pd.DataFrame:
    """The table with n_frame, the crops each video has under `root/<name>/`; DataError if none has any."""
    if not Path(root).is_dir():
        raise DataError(f"{root}: no such folder of face crops; make_dataset.py makes it")
    counts = [len(crop_numbers(os.path.join(root, name))) for name in table["name"]]
    if not any(counts):
        raise DataError(f"{root} holds no crop <name>/<frame>.png of the {len(table)} labelled videos")
    return table.assign(n_frame=counts)


def assign_sets(table: pd.DataFrame, fractions: Mapping[str, float], seed: int) -> pd.DataFrame:
    """The table with a set_name in every row: one that is given is kept, the others go by original.

    A video without a set follows its original, if another video of it has one; else the originals are
    drawn into the sets (seeded; the same originals give the same sets, whatever the order of the rows) in
    proportion to `fractions`. DataError if an original lies in two sets.
    """
    given = table[table["set_name"] != ""]
    check_no_leak(given)
    set_of = dict(zip(given["original"], given["set_name"], strict=True))
    free = sorted(set(table["original"]) - set_of.keys())
    order = np.random.default_rng(seed).permutation(len(free))
    edges = np.rint(np.cumsum(list(fractions.values())) * len(free)).astype(int)
    places = np.searchsorted(edges, np.arange(len(free)), side="right").clip(max=len(fractions) - 1)
    names = list(fractions)
    set_of |= {free[pick]: names[place] for pick, place in zip(order, places, strict=True)}
    table = table.assign(set_name=table["original"].map(set_of))
    check_no_leak(table)
    return table


def check_no_leak(table: pd.DataFrame) -> None:
    """DataError if an original's videos lie in more than one set."""
    sets = table.groupby("original")["set_name"].unique()
    torn = sets[sets.map(len) > 1]
    if len(torn):
        where = " and ".join(sorted(torn.iloc[0]))
        raise DataError(
            f"{len(torn)} originals lie in more than one set, such as {torn.index[0]!r} in {where}: "
            "what is trained on would be validated on; correct set_name, or leave it out"
        )


def write_list(table: pd.DataFrame, path: Path) -> None:
    """Write the videos that have crops as `name,is_fake,n_frame,set_name`; aside first, so never half."""
    aside = path.with_name(path.name + ".part")
    table.loc[table["n_frame"] > 0, list(COLUMNS)].to_csv(aside, index=False, lineterminator="\n")
    os.replace(aside, path)


def describe(table: pd.DataFrame) -> str:
    """Videos, originals and crops of each set, a line a set."""
    lines = []
    for name, rows in table[table["n_frame"] > 0].groupby("set_name", sort=False):
        fakes = int(rows["is_fake"].sum())
        lines.append(
            f"{name}: {len(rows) - fakes:,} real and {fakes:,} fake videos of {rows['original'].nunique():,} "
            f"originals, {rows['n_frame'].sum():,} crops"
        )
    return "\n".join(lines)
