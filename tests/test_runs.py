"""The folder of a training run: its log survives a kill and is never told twice."""

import json

from utils.runs import RunFolder


def rows(path) -> list[int]:
    return [json.loads(line)["epoch"] for line in (path / "log.jsonl").read_text().splitlines()]


def test_a_row_torn_by_a_kill_is_dropped_and_later_epochs_are_logged_anew(tmp_path):
    whole = "".join(json.dumps({"epoch": epoch, "loss": 1.0}) + "\n" for epoch in (1, 2, 3))
    (tmp_path / "log.jsonl").write_text(whole + '{"epoch": 4, "lo')
    RunFolder(tmp_path, {"tensorboard": False}, 2)
    assert rows(tmp_path) == [1, 2]


def test_a_number_that_is_none_is_null_in_the_log(tmp_path):
    folder = RunFolder(tmp_path, {"tensorboard": False}, 0)
    folder.log({"epoch": 1, "auc": float("nan")})
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {"epoch": 1, "auc": None}
