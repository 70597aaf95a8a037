"""Where groups of faces come from: real faces of a place, and the fakes that were made of some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from utils.core.errors import DataError
from utils.data.crops import crop_landmarks
from utils.data.labels import read_labels
from utils.data.lists import Videos, find_videos, read_json_list, read_list
from utils.data.shards import Roots
from utils.faces.align import TEMPLATE


@dataclass(frozen=True)
class Source:
    """Videos of one place, and pairs (P, 2) of them: a real one and a fake made from it."""

    name: str
    videos: Videos
    pairs: np.ndarray

    @property
    def reals(self) -> np.ndarray:
        """Places of the real videos (R,)."""
        return np.flatnonzero(self.videos.labels == 0)

    def path(self, video: int, frame: int) -> Path:
        """The crop of a video that is nearest to a frame."""
        frames = self.videos.frames[video]
        number = frames[np.abs(frames - frame).argmin()]
        return self.videos.crop(video, number)

    def landmarks(self) -> np.ndarray:
        """Of the first crop of each real video, in its pixels: (R, 5, 2)."""
        found = [crop_landmarks(self.path(video, 0)) for video in self.reals]
        return np.array(found).reshape(-1, *TEMPLATE.shape)


def read_any_list(path: str | Path) -> pd.DataFrame:
    """A list of videos of either trainer."""
    return (read_json_list if str(path).lower().endswith(".json") else read_list)(path)


def read_source(list_path: str | Path, roots: Roots, sets: Sequence[str], labels: str | None) -> Source:
    """The videos of a list's sets that have crops in `roots`; labels: a table that tells originals.

    DataError for a list, labels or crops that can't be used, and where none of the videos is real.
    """
    videos, _ = find_videos(read_any_list(list_path), roots, tuple(sets))
    if not (videos.labels == 0).any():
        raise DataError(f"{list_path}: no real video of the sets {', '.join(sets)} has crops")
    pairs = np.empty((0, 2), np.int64) if labels is None else find_pairs(videos, read_labels([labels]))
    return Source(Path(list_path).stem, videos, pairs)


def find_pairs(videos: Videos, labels: pd.DataFrame) -> np.ndarray:
    """Places (P, 2) of each fake's original, if it is a real one of the videos, and of the fake."""
    places = {name: place for place, name in enumerate(videos.names) if videos.labels[place] == 0}
    original = dict(zip(labels["name"], labels["original"], strict=True))
    fakes = np.flatnonzero(videos.labels == 1)
    pairs = [(places.get(original.get(videos.names[fake])), fake) for fake in fakes]
    return np.array([pair for pair in pairs if pair[0] is not None], np.int64).reshape(-1, 2)


def refuse_overlap(sources: Sequence[Source], kept_out: set[str]) -> None:
    """DataError if a video of the sources is among those that are kept out, to validate on."""
    for source in sources:
        both = set(source.videos.names) & kept_out
        if both:
            raise DataError(
                f"{len(both)} videos of the source {source.name!r}, such as {min(both)!r}, are in the "
                "validation set: what is trained on would be validated on"
            )
