"""The split into sets: by original, so that no original lies in two of them.

All fakes of one original lie in that original's set: a network must not know a validation face from training.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from utils.crops import FACES_FILE
from utils.errors import DataError
from utils.lists import crop_numbers
from utils.video import SOURCE_FILE

READERS = 16  # folders listed at a time: a network disk answers slowly, but many at once


def count_crops(table: pd.DataFrame, root: str | Path) -> pd.DataFrame:
    """The table with n_frame, the crops each video has under `root/<name>/`; DataError if none has any."""
    if not Path(root).is_dir():
        raise DataError(f"{root}: no such folder of face crops; make_dataset.py makes it")
    folders = [os.path.join(root, name) for name in table["name"]]
    with ThreadPoolExecutor(READERS) as pool:
        counts = [len(numbers) for numbers in pool.map(crop_numbers, folders)]
    if not any(counts):
        raise DataError(f"{root} holds no crop <name>/<frame>.png of the {len(table)} labelled videos")
    return table.assign(n_frame=counts)


def unfinished(table: pd.DataFrame, root: str | Path) -> list[str]:
    """The videos whose crops are those of an extraction that was not finished: some may be missing."""

    def is_unfinished(name: str) -> bool:
        folder = Path(root, name)
        return (folder / SOURCE_FILE).is_file() and not (folder / FACES_FILE).is_file()

    with ThreadPoolExecutor(READERS) as pool:
        names = table["name"].tolist()
        return [name for name, is_so in zip(names, pool.map(is_unfinished, names), strict=True) if is_so]


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


def hold_out(table: pd.DataFrame, share: float, seed: int) -> pd.DataFrame:
    """The table with a share of the originals of `train` in a set of their own, `holdout`.

    For a last measurement on videos that neither training nor any choice has seen. Seeded; the same originals
    give the same set, whatever the order of the rows. DataError if there is no original to take or to leave.
    """
    if "holdout" in set(table["set_name"]):
        raise DataError("a set holdout is given already; leave --hold-out away, or rename that set")
    originals = sorted(set(table.loc[table["set_name"] == "train", "original"]))
    n_taken = round(share * len(originals))
    if not 0 < n_taken < len(originals):
        raise DataError(f"{share:g} of {len(originals)} originals in train is {n_taken}: nothing to part")
    taken = np.random.default_rng(seed).permutation(len(originals))[:n_taken]
    chosen = table["original"].isin([originals[place] for place in taken])
    return table.assign(set_name=table["set_name"].mask(chosen, "holdout"))


def check_no_leak(table: pd.DataFrame) -> None:
    """DataError if an original's videos lie in more than one set."""
    pairs = table[["original", "set_name"]].drop_duplicates()
    torn = pairs.loc[pairs["original"].duplicated(keep=False)]
    if len(torn):
        first = torn["original"].iloc[0]
        where = " and ".join(sorted(torn.loc[torn["original"] == first, "set_name"]))
        raise DataError(
            f"{torn['original'].nunique()} originals lie in more than one set, such as {first!r} in {where}: "
            "what is trained on would be validated on; correct set_name, or leave it out"
        )


def describe(table: pd.DataFrame, sets: Iterable[str]) -> str:
    """Videos, originals and crops of each set, a line a set; those in `sets` first, even if empty."""
    table = table[table["n_frame"] > 0]
    lines = []
    for name in dict.fromkeys([*sets, *table["set_name"]]):
        rows = table[table["set_name"] == name]
        fakes = int(rows["is_fake"].sum())
        lines.append(
            f"{name}: {len(rows) - fakes:,} real and {fakes:,} fake videos of {rows['original'].nunique():,} "
            f"originals, {rows['n_frame'].sum():,} crops"
        )
    return "\n".join(lines)
