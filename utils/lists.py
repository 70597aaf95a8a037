"""Lists of training videos (`dfdc-data.csv`, `dfdc.json`), and the crops that are there of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.errors import DataError

COLUMNS = ("name", "is_fake", "n_frame", "set_name")


@dataclass(frozen=True)
class Videos:
    """V videos that have crops: labels (V,) 1 = fake, n_frames (V,), frames = sorted crop numbers of each."""

    root: Path
    names: list[str]
    labels: np.ndarray
    n_frames: np.ndarray
    frames: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, picks: np.ndarray) -> Videos:
        """The videos at the given places, in that order."""
        return Videos(
            self.root,
            [self.names[i] for i in picks],
            self.labels[picks],
            self.n_frames[picks],
            [self.frames[i] for i in picks],
        )


def crop_numbers(folder: str | Path) -> np.ndarray:
    """The numbers of the crops in a folder (`009.png`), sorted; none if the folder isn't there."""
    try:
        with os.scandir(folder) as entries:
            stems = [entry.name[:-4] for entry in entries if entry.name.endswith(".png")]
    except (FileNotFoundError, NotADirectoryError):
        return np.empty(0, np.int32)
    return np.array(sorted(int(stem) for stem in stems if stem.isdecimal() and len(stem) > 2), np.int32)


def read_list(path: str | Path) -> pd.DataFrame:
    """The table `name,is_fake,n_frame,set_name`; DataError if it is missing or isn't one."""
    try:
        table = pd.read_csv(path, dtype={"name": str, "set_name": str})
    except FileNotFoundError:
        raise DataError(f"{path} is missing (data_list); make_split.py writes it") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as CSV: {' '.join(str(error).split())}") from None
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; needed are {','.join(COLUMNS)}")
    if not table["is_fake"].isin((0, 1)).all() or not pd.api.types.is_integer_dtype(table["n_frame"]):
        raise DataError(f"{path}: is_fake must be 0 or 1 and n_frame a whole number in every row")
    return table


def read_json_list(path: str | Path) -> pd.DataFrame:
    """The JSON list `{set name: [[video, label], ...]}`, label 1 = fake, as a table like `read_list`'s.

    A video may be in several sets; n_frame, which the file doesn't say, is 0. DataError as of `read_list`.
    """
    try:
        sets = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing (data_list); make_split.py writes it") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as JSON: {' '.join(str(error).split())}") from None
    rows = []
    if not isinstance(sets, dict) or not all(isinstance(videos, list) for videos in sets.values()):
        raise DataError(f'{path} is no list of videos: {{"set name": [[video, label], ...], ...}} is needed')
    for name, videos in sets.items():
        for place, entry in enumerate(videos):
            video, label = entry if isinstance(entry, list) and len(entry) == 2 else (None, None)
            if not isinstance(video, str) or not video or label not in (0, 1):
                raise DataError(
                    f"{path}: {name}[{place}] is {str(entry)[:80]}; needed is [video, label], "
                    "label 0 (real) or 1 (fake)"
                )
            rows.append((video, int(label), 0, name))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def find_videos(table: pd.DataFrame, root: str | Path, sets: tuple[str, ...]) -> tuple[Videos, list[str]]:
    """The videos of the sets that have crops under `root/<name>/`, and the names of those that have none.

    DataError if a set isn't in the table, or no video of them has a crop.
    """
    known = sorted(table["set_name"].dropna().unique())
    for name in sets:
        if name not in known:
            raise DataError(f"the list has no video of set {name!r}; its sets: {', '.join(known) or 'none'}")
    rows = table[table["set_name"].isin(sets)].reset_index(drop=True)
    frames = [crop_numbers(os.path.join(root, name)) for name in rows["name"]]
    found = np.array([len(numbers) > 0 for numbers in frames])
    if not found.any():
        raise DataError(f"{root} (data_root) holds no <name>/<frame>.png of the {len(rows)} listed videos")
    videos = Videos(
        Path(root),
        rows["name"].tolist(),
        rows["is_fake"].to_numpy(np.int64),
        rows["n_frame"].to_numpy(np.int64),
        frames,
    )
    return videos.subset(np.flatnonzero(found)), rows["name"][~found].tolist()


def limit_videos(videos: Videos, limit: int | None, seed: int) -> Videos:
    """At most `limit` videos, drawn with the classes' shares kept and at least one of each."""
    if limit is None or limit >= len(videos):
        return videos
    rng = np.random.default_rng(seed)
    picks = []
    for label in (0, 1):
        places = np.flatnonzero(videos.labels == label)
        count = max(round(limit * len(places) / len(videos)), min(len(places), 1))
        picks.append(rng.permutation(places)[:count])
    return videos.subset(np.sort(np.concatenate(picks)))
