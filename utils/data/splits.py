"""The split into sets by original, so that no original lies in two, and the search for leaks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from utils.core.errors import DataError
from utils.data.crops import FACES_FILE
from utils.data.lists import read_list, read_wsdan_list
from utils.data.shards import READERS, Roots, described, find_crops, roots_in
from utils.faces.video import SOURCE_FILE


def count_crops(table: pd.DataFrame, roots: Roots) -> pd.DataFrame:
    """The table with n_frame, the crops each video has, `<root>/<name>/`. DataError if none has any, and as
    of `find_crops`."""
    counts = [len(numbers) for numbers in find_crops(table["name"].tolist(), roots)[1]]
    if not any(counts):
        where = described(roots)
        raise DataError(f"{where} holds no crop <name>/<frame>.png of the {len(table)} labelled videos")
    return table.assign(n_frame=counts)


def unfinished(table: pd.DataFrame, roots: Roots) -> list[str]:
    """The videos whose crops are those of an extraction that was not finished: some may be missing."""
    folders = roots_in(roots)

    def is_unfinished(name: str) -> bool:
        return any(
            Path(root, name, SOURCE_FILE).is_file() and not Path(root, name, FACES_FILE).is_file()
            for root in folders
        )

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


USES = {"valid": "val", "test_all": "test"}
# What WS-DAN trains on as published, by the JSON's set names.
WSDAN_TRAINS_ON = ("train", "valid")


@dataclass(frozen=True)
class Part:
    """One set of one list: its videos, and the originals of those whose original is known."""

    file: str
    set_name: str
    videos: frozenset[str]
    originals: frozenset[str]

    @property
    def use(self) -> str:
        return USES.get(self.set_name, self.set_name)

    def __str__(self) -> str:
        return f"{self.file} {self.set_name}"


@dataclass(frozen=True)
class Overlap:
    """What two parts share; a leak if they have different uses."""

    first: Part
    second: Part
    videos: frozenset[str]
    originals: frozenset[str]

    @property
    def is_leak(self) -> bool:
        return self.first.use != self.second.use

    def __str__(self) -> str:
        if self.is_leak:
            shared = [
                f"{len(names):,} {kind} (such as {min(names)})"
                for kind, names in (("videos", self.videos), ("originals", self.originals))
                if names
            ]
            return f"LEAK: {self.first} and {self.second} share {' and '.join(shared)}"
        small, large = sorted((self.first, self.second), key=lambda part: len(part.videos))
        if len(small.videos) == len(large.videos) == len(self.videos):
            return f"same: {self.first} and {self.second} hold the same {len(self.videos):,} videos"
        if len(small.videos) == len(self.videos):
            return f"contained: {small} ({len(self.videos):,} videos) lies in {large}, of the same use"
        return f"shared: {self.first} and {self.second}, of one use, share {len(self.videos):,} videos"


def read_lists(paths: Sequence[str | Path]) -> pd.DataFrame:
    """The lists, CSV or JSON by their suffix, as one table `name,is_fake,set_name,file`."""
    tables = []
    for path in dict.fromkeys(map(Path, paths)):
        table = read_wsdan_list(path) if path.suffix.lower() == ".json" else read_list(path)
        tables.append(table[["name", "is_fake", "set_name"]].assign(file=str(path)))
    return pd.concat(tables, ignore_index=True)


def with_originals(lists: pd.DataFrame, labels: pd.DataFrame | None) -> pd.DataFrame:
    """The lists with the column original, from labels (None: not known of any video), missing = not known.

    With labels, a real video that they don't name is its own original.
    """
    if labels is None:
        return lists.assign(original=None)
    known = labels[labels["knows_original"]]
    original = lists["name"].map(dict(zip(known["name"], known["original"], strict=True)))
    return lists.assign(original=original.where(original.notna() | (lists["is_fake"] == 1), lists["name"]))


def parts_of(lists: pd.DataFrame) -> list[Part]:
    """The sets of each list, in the order in which they come."""
    return [
        Part(file, set_name, frozenset(rows["name"]), frozenset(rows["original"].dropna()))
        for (file, set_name), rows in lists.groupby(["file", "set_name"], sort=False)
    ]


def find_overlaps(parts: Sequence[Part]) -> list[Overlap]:
    """Pairs of parts that share a video or, in two uses, an original; leaks first."""
    found = []
    for first, second in combinations(parts, 2):
        overlap = Overlap(first, second, first.videos & second.videos, first.originals & second.originals)
        if overlap.videos or (overlap.is_leak and overlap.originals):
            found.append(overlap)
    return sorted(found, key=lambda overlap: not overlap.is_leak)


def wsdan_notes(parts: Sequence[Part]) -> Iterator[str]:
    """A line for each validation or test set that WS-DAN, as published, would be trained on.

    It trains on train + valid of its JSON: a `val` of the CSV that lies in them is no test for it.
    """
    for file in dict.fromkeys(part.file for part in parts if part.set_name == "valid"):
        trained = {
            part.set_name: part.videos
            for part in parts
            if part.file == file and part.set_name in WSDAN_TRAINS_ON
        }
        for part in parts:
            if part.file != file and part.use in ("val", "test"):
                counts = {name: len(part.videos & videos) for name, videos in trained.items()}
                seen = len(part.videos & frozenset().union(*trained.values()))
                if seen:
                    yield (
                        f"note: {seen:,} of {len(part.videos):,} videos of {part} lie in {file} "
                        f"{' + '.join(f'{name} ({count:,})' for name, count in counts.items())}: WS-DAN as "
                        "published trains on these, so it can't be judged on them"
                    )


def count_listed(lists: pd.DataFrame) -> Iterator[str]:
    """A line a list: real and fake videos of each set."""
    for file, rows in lists.groupby("file", sort=False):
        sets = [
            f"{name} {int((group == 0).sum()):,} real + {int(group.sum()):,} fake"
            for name, group in rows.groupby("set_name", sort=False)["is_fake"]
        ]
        yield f"{file}: {', '.join(sets)}"


def warnings(lists: pd.DataFrame, labels: pd.DataFrame | None) -> Iterator[str]:
    """A line for videos that are twice in one set, and one for those that are called both real and fake."""
    twice = lists.loc[lists.duplicated(["file", "set_name", "name"]), "name"]
    if len(twice):
        yield f"warning: {len(twice):,} rows repeat a video of the same set, such as {twice.iloc[0]}"
    called = lists[["name", "is_fake"]]
    if labels is not None:
        known = labels.loc[labels["name"].isin(set(lists["name"])), ["name", "is_fake"]]
        called = pd.concat([called, known])
    called = called.drop_duplicates()
    both = called.loc[called["name"].duplicated(), "name"]
    if len(both):
        yield f"warning: {len(both):,} videos are called real here and fake there, such as {both.iloc[0]}"
