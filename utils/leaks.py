"""Leaks: what lies in two sets of a list, or of several lists, that must not know of each other.

The rule: every set has a use. `val` and `valid` are one use, and so are `test` and `test_all`, which holds
`test` by construction; any other set name, such as `train`, is a use of its own. Sets of one use may share
videos. A video, or an original, in sets of two uses is a leak, be it in one list or across lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pandas as pd

from utils.lists import read_list, read_wsdan_list

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
    original = lists["name"].map(dict(zip(labels["name"], labels["original"], strict=True)))
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
