"""The videos that a config's sets name."""

import pytest
from training_runs import config, script

from utils.core.errors import DataError


def test_one_kind_of_video_is_nothing_to_train_on(data, tmp_path, tiny):
    rows = (data / "list.csv").read_text().splitlines()
    kept = [row for row in rows if not (row.split(",")[1] == "1" and row.endswith("train"))]
    (tmp_path / "list.csv").write_text("\n".join(kept) + "\n")
    with pytest.raises(DataError, match="train_sets .*list.csv.*fake"):
        script.train(config(data, tmp_path / "run", data_list=str(tmp_path / "list.csv")))


@pytest.mark.parametrize("key, value", [("train_sets", ("train", "more")), ("valid_set", "more")])
def test_a_set_that_is_not_in_the_list_is_named_with_its_key(data, tmp_path, tiny, key, value):
    with pytest.raises(DataError, match=f"list.csv .*'more' \\({key}\\).*train, val"):
        script.train(config(data, tmp_path, **{key: value}))
