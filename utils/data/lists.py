"""Lists of training videos, and the crops that are there of them.

Two published formats: Xception reads `dfdc-data.csv`, `name,is_fake,n_frame,set_name`; WS-DAN reads
`dfdc.json`, `{"train": [[video, label], ...], "valid": ..., "test": ...}`, label 1 = fake. What the CSV calls
`val` is `valid` in the JSON.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.core.errors import DataError
from utils.core.files import csv_lines, write_whole
from utils.core.names import name_in
from utils.core.shortage import is_short
from utils.data.crops import crop_name
from utils.data.shards import Roots, described, find_crops

COLUMNS = ("name", "is_fake", "n_frame", "set_name")
JSON_SETS = ("train", "valid", "test", "test_all")  # those of the published file, in its order


@dataclass(frozen=True)
class Videos:
    """V videos that have crops: labels (V,) 1 = fake, n_frames (V,), frames = sorted crop numbers of each.

    folders: in which they lie.
    """

    folders: list[str]
    names: list[str]
    labels: np.ndarray
    n_frames: np.ndarray
    frames: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.names)

    def crop(self, video: int, frame: int) -> Path:
        """The file of a crop."""
        return Path(self.folders[video], crop_name(frame))

    def content(self) -> bytes:
        """Names, labels and frames: what a digest of the videos is made of."""
        frames = [numbers.tolist() for numbers in self.frames]
        stated = [self.names, self.labels.tolist(), self.n_frames.tolist(), frames]
        return json.dumps(stated).encode()

    def subset(self, picks: np.ndarray) -> Videos:
        """The videos at the given places, in that order."""
        return Videos(
            [self.folders[i] for i in picks],
            [self.names[i] for i in picks],
            self.labels[picks],
            self.n_frames[picks],
            [self.frames[i] for i in picks],
        )


def read_list(path: str | Path) -> pd.DataFrame:
    """The table `name,is_fake,n_frame,set_name`; DataError if it is missing or isn't one."""
    try:
        # a video may be called NA or null; only a set can be left empty
        table = pd.read_csv(
            path, dtype={"name": str, "set_name": str}, keep_default_na=False, na_values={"set_name": [""]}
        )
    except FileNotFoundError:
        raise DataError(f"{path} is missing (data_list); make_split.py writes it") from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as CSV: {' '.join(str(error).split())}") from None
    missing = [column for column in COLUMNS if column not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; needed are {','.join(COLUMNS)}")
    if table.empty:
        raise DataError(f"{path} names no video")
    if not table["is_fake"].isin((0, 1)).all() or not pd.api.types.is_integer_dtype(table["n_frame"]):
        raise DataError(f"{path}: is_fake must be 0 or 1 and n_frame a whole number in every row")
    if (table["name"] == "").any():
        raise DataError(f"{path}: a video has no name")
    names = {column: table[column].map(name_in, na_action="ignore") for column in ("name", "set_name")}
    return table.assign(**names)


def read_wsdan_list(path: str | Path) -> pd.DataFrame:
    """The JSON list as a table `name,is_fake,set_name`, set names as in the file; DataError if it isn't one.

    A video has a row in each set that it is in: the published `test_all` holds `test`.
    """
    sets = read_json(path)
    if not isinstance(sets, dict) or not sets:
        raise DataError(f'{path} is no list of videos, {{"train": [["<video>", 0 or 1], ...], "valid": ...}}')
    rows = []
    for set_name, pairs in sets.items():
        if not isinstance(pairs, list):
            raise DataError(f"{path}: {set_name!r} must be a list of [video, label] pairs")
        for place, pair in enumerate(pairs, 1):
            match pair:
                case [str(name), int(label)] if name and label in (0, 1):
                    rows.append((name, int(label), set_name))
                case _:
                    pair = repr(pair)[:80]
                    raise DataError(f"{path}: {set_name!r} entry {place} must be [video, 0 or 1], not {pair}")
    return pd.DataFrame(rows, columns=["name", "is_fake", "set_name"])


def write_list(table: pd.DataFrame, path: Path) -> None:
    """Write the videos that have crops as `name,is_fake,n_frame,set_name`."""
    rows = table.loc[table["n_frame"] > 0, list(COLUMNS)]
    write_whole(path, csv_lines([COLUMNS, *rows.itertuples(index=False)]))


def write_wsdan_list(table: pd.DataFrame, path: Path) -> None:
    """Write the videos that have crops as `{"train": [[video, label], ...], "valid": ...}`, a key a set."""
    rows = table[table["n_frame"] > 0]
    sets = {
        name: [list(pair) for pair in zip(group["name"], group["is_fake"].tolist(), strict=True)]
        for name, group in rows.groupby(rows["set_name"].replace("val", "valid"), sort=False)
    }
    order = [name for name in JSON_SETS if name in sets] + [name for name in sets if name not in JSON_SETS]
    write_whole(path, json.dumps({name: sets[name] for name in order}) + "\n")


def read_json(path: str | Path) -> object:
    """What a JSON file holds; DataError if it can't be read, or has a key twice in one object."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise DataError(f"{path}: {twice!r} is there more than once")
        return found

    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"), object_pairs_hook=unique)
    except OSError as error:
        if is_short(error):
            raise
        raise DataError(f"{path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} can't be read as JSON: {error}") from None


def read_json_list(path: str | Path) -> pd.DataFrame:
    """`read_wsdan_list` with the columns of `read_list`; n_frame, which the file doesn't say, is 0."""
    return read_wsdan_list(path).assign(n_frame=0)[list(COLUMNS)]


def find_videos(table: pd.DataFrame, roots: Roots, sets: tuple[str, ...]) -> tuple[Videos, list[str]]:
    """The videos of the sets that have crops, `<root>/<name>/`, and the names of those that have none.

    A video that is listed again counts once. DataError if it has another label then, if a set isn't in the
    table, if no video of them has a crop, and as of `find_crops`.
    """
    known = sorted(table["set_name"].dropna().unique())
    for name in sets:
        if name not in known:
            raise DataError(f"the list has no video of set {name!r}; its sets: {', '.join(known) or 'none'}")
    rows = table[table["set_name"].isin(sets)].drop_duplicates(["name", "is_fake"])
    torn = rows.loc[rows["name"].duplicated(), "name"]
    if len(torn):
        raise DataError(f"the list calls {torn.iloc[0]!r} both real and fake ({len(torn)} such videos)")
    rows = rows.reset_index(drop=True)
    folders, frames = find_crops(rows["name"].tolist(), roots)
    found = np.array([len(numbers) > 0 for numbers in frames])
    if not found.any():
        where = f"{described(roots)} (data_root)"
        raise DataError(f"{where} holds no <name>/<frame>.png of the {len(rows)} listed videos")
    videos = Videos(
        folders,
        rows["name"].tolist(),
        rows["is_fake"].to_numpy(np.int64),
        rows["n_frame"].to_numpy(np.int64),
        frames,
    )
    return videos.subset(np.flatnonzero(found)), rows["name"][~found].tolist()


def limit_videos(videos: Videos, limit: int | None, seed: int) -> Videos:
    """`limit` videos, or all if there are fewer: the classes' shares kept, and one of each at least."""
    if limit is None or limit >= len(videos):
        return videos
    rng = np.random.default_rng(seed)
    reals, fakes = (np.flatnonzero(videos.labels == label) for label in (0, 1))
    count = min(round(limit * len(reals) / len(videos)), limit - min(len(fakes), 1))
    count = max(count, min(len(reals), 1))
    rest = max(limit - count, min(len(fakes), 1))
    picks = [rng.permutation(reals)[:count], rng.permutation(fakes)[:rest]]
    return videos.subset(np.sort(np.concatenate(picks)))
