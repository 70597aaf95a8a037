"""Where the crops of videos lie: `<root>/<name>/<frame>.png` in one folder, or in several that make up a set.

A root that isn't there and has `*`, `?` or `[` in it is a pattern of folders: `crops/part*`.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from utils.core.errors import DataError
from utils.faces.video import CROP_NAME

READERS = 16  # folders listed at a time: a network disk answers slowly, but many at once

Roots = str | Path | Sequence[str | Path]


def crop_numbers(folder: str | Path) -> np.ndarray:
    """The numbers of the crops in a folder (`009.png`), sorted; none if the folder isn't there."""
    try:
        with os.scandir(folder) as entries:
            numbers = [int(entry.name[:-4]) for entry in entries if CROP_NAME.fullmatch(entry.name)]
    except (FileNotFoundError, NotADirectoryError, ValueError):  # ValueError: no file is called so
        return np.empty(0, np.int32)
    return np.array(sorted(numbers), np.int32)


def roots_in(roots: Roots) -> list[str]:
    """The folders that are meant, each once. DataError for one that isn't there."""
    found: list[str] = []
    for root in [roots] if isinstance(roots, str | Path) else roots:
        is_pattern = not os.path.lexists(root) and glob.has_magic(str(root))
        there = [path for path in (sorted(glob.glob(str(root))) if is_pattern else [str(root)])
                 if os.path.isdir(path)]  # fmt: skip
        if not there:
            raise DataError(f"{root}: no such folder of face crops (data_root); make_dataset.py makes it")
        found += there
    known: dict[str, str] = {}
    for root in found:
        known.setdefault(os.path.realpath(root), root)
    return list(known.values())


def find_crops(names: Sequence[str], roots: Roots) -> tuple[list[str], list[np.ndarray]]:
    """The folder of each video's crops and their sorted numbers; without crops the folder in the first root.

    DataError for a root that isn't there, and for a video that has crops in two.
    """
    folders = roots_in(roots)

    def find(name: str) -> tuple[str, np.ndarray]:
        found = [(folder, crop_numbers(folder)) for folder in (os.path.join(root, name) for root in folders)]
        with_crops = [one for one in found if len(one[1])]
        if len(with_crops) > 1:
            raise DataError(
                f"the video {name!r} has crops in two folders, {with_crops[0][0]} and {with_crops[1][0]}; "
                "remove one of them"
            )
        return (with_crops or found)[0]

    with ThreadPoolExecutor(READERS) as pool:
        pairs = list(pool.map(find, names))
    return [folder for folder, _ in pairs], [numbers for _, numbers in pairs]


def described(roots: Roots) -> str:
    """The roots as one text."""
    return str(roots) if isinstance(roots, str | Path) else ", ".join(map(str, roots))
