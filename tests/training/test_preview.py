"""The picture of what a new run's network is shown."""

import cv2
import training_runs
from training_runs import TinyNet

from utils.training.preview import FIRST_BATCH


def test_faces_that_stand_alone_lie_four_in_a_row_and_only_a_new_run_draws_them(data, tmp_path, monkeypatch):
    monkeypatch.setattr(training_runs.script, "build_network", lambda name: TinyNet())
    assert training_runs.script.train(training_runs.config(data, tmp_path, n_epoches=1)) == 0
    shown = cv2.imread(str(tmp_path / FIRST_BATCH))
    assert shown.shape == (2 * 71, 4 * 71, 3)
    tiles = [shown[:71, k * 71 : (k + 1) * 71] for k in range(4)]
    assert all(tile.std() > 10 for tile in tiles) and (tiles[0] != tiles[1]).any()
    (tmp_path / FIRST_BATCH).unlink()
    assert training_runs.script.train(training_runs.config(data, tmp_path, n_epoches=2)) == 0
    assert not (tmp_path / FIRST_BATCH).exists()
