"""The videos that a run trains on and validates with, as its config names them."""

from __future__ import annotations

import pandas as pd

from utils.core import distributed
from utils.core.errors import DataError
from utils.data.lists import Videos, find_videos, limit_videos
from utils.data.shards import Roots
from utils.training.config import TrainingConfig


def videos_of_sets(table: pd.DataFrame, roots: Roots, config: TrainingConfig) -> tuple[Videos, Videos]:
    """Training and validation videos, as the config names and limits them.

    table: the list, `name,is_fake,n_frame,set_name`; roots: where the crops lie. Listed videos without crops
    are counted, and the first ones named. DataError if a set isn't in the list, a video is in both, or only
    real or only fake ones are left to train on.
    """
    check_sets(table, config)
    train_videos = chosen_videos(table, roots, config.train_sets, config.max_train_videos, config.seed)
    valid_videos = chosen_videos(table, roots, (config.valid_set,), config.max_valid_videos, config.seed)
    kinds = set(train_videos.labels.tolist())
    if len(kinds) < 2:
        there, missing = ("fake", "real") if 1 in kinds else ("real", "fake")
        raise DataError(
            f"train_sets {config.train_sets} of {config.data_list} hold {there} videos alone; to tell both "
            f"apart, {missing} ones with crops are needed too"
        )
    return train_videos, valid_videos


def check_sets(table: pd.DataFrame, config: TrainingConfig) -> None:
    """DataError if a set that the config names isn't in the list, or a video is trained on and validated."""
    known = table["set_name"].dropna().unique()
    for key, names in (("train_sets", config.train_sets), ("valid_set", (config.valid_set,))):
        absent = [name for name in names if name not in known]
        if absent:
            raise DataError(
                f"{config.data_list} has no video of set {absent[0]!r} ({key}); its sets: "
                f"{', '.join(sorted(known)) or 'none'}"
            )
    both = set(table.loc[table["set_name"].isin(config.train_sets), "name"])
    both &= set(table.loc[table["set_name"] == config.valid_set, "name"])
    if both:
        raise DataError(
            f"{len(both)} videos, such as {min(both)!r}, are in train_sets {config.train_sets} and in "
            f"valid_set {config.valid_set!r}: what is trained on would be validated on"
        )


def chosen_videos(
    table: pd.DataFrame, roots: Roots, sets: tuple[str, ...], limit: int | None, seed: int
) -> Videos:
    """The videos of the sets that have crops, `limit` of them; those left out are said."""
    videos, missing = find_videos(table, roots, sets)
    repeats = int(table.loc[table["set_name"].isin(sets), "name"].duplicated().sum())
    if repeats and distributed.is_main():
        print(f"{'+'.join(sets)}: {repeats} rows name a video again, and are left out")
    if missing and distributed.is_main():
        some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        print(f"{'+'.join(sets)}: {len(missing)} listed videos are left out, without crops: {some}")
    return limit_videos(videos, limit, seed)
