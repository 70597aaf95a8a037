"""Two runs on one output: the second one refuses, and nothing of the first one's is touched."""

import pytest
import training_runs
import wsdan_runs
from processes import another_run

import make_dataset
from utils.core.errors import UserError


@pytest.mark.parametrize("command", ["extraction", "scoring"])
def test_videos(main, clip, config, tmp_path, monkeypatch, capsys, command):
    monkeypatch.setattr("utils.scoring.scorer.build", lambda *_: pytest.fail("networks were built"))
    monkeypatch.setattr("utils.faces.upright.detector_of", lambda *_: pytest.fail("networks were built"))
    output = tmp_path / ("out" if command == "extraction" else "o.csv")
    if command == "extraction":
        output.mkdir()
    with another_run(output) as first:
        if command == "extraction":
            code = make_dataset.main([str(clip), str(output)])
            said = capsys.readouterr().err
        else:
            code, _, said = main(clip, "--config", config, "--output", output)
    assert code == 1 and f"process {first.pid} on " in said and said.count("\n") == 1
    assert str(output) in said and not list(tmp_path.rglob("*.png"))


@pytest.mark.parametrize("runs", [training_runs, wsdan_runs])
def test_training(clip, tmp_path, runs):
    data = runs.write_faces(tmp_path, clip)
    run = tmp_path / "run"
    run.mkdir()
    (run / "last.pth").write_bytes(b"of the other run")
    with another_run(run) as first, pytest.raises(UserError, match=f"process {first.pid} on "):
        runs.script.train(runs.config(data, run))
    assert {path.name for path in run.iterdir()} == {".lock", "last.pth"}


def test_a_training_that_does_not_begin_leaves_no_folder(data, tmp_path):
    with pytest.raises(UserError):
        training_runs.script.train(training_runs.config(data, tmp_path / "run", device="tpu"))
    assert not (tmp_path / "run").exists()
