"""What the Kaggle notebook does when something is missing, crashes, or takes too long.

Scoring's process is played by a small script in the place of best-submission.py; the notebook's own test runs
the real one.
"""

import os
import sys
import time

import pytest

from utils.core.errors import UserError
from utils.scoring import kaggle
from utils.scoring.kaggle import Attached
from utils.scoring.record import EVIDENCE_COLUMNS, EXTENT_COLUMNS, RECORD_COLUMNS, record_path

NAMES = ["c.mp4", "a.mp4", "b.mp4"]
HEADER = ",".join(RECORD_COLUMNS + EVIDENCE_COLUMNS + EXTENT_COLUMNS)
# Adds one file to the record each time it runs, then does what the test asks for.
SCRIPT = f"""
import os, pathlib, signal, sys, time
output = pathlib.Path(sys.argv[sys.argv.index("--output") + 1])
record = output.with_name("." + output.stem + ".scored.csv")
known = record.read_text().splitlines()[1:] if record.exists() else []
names = {sorted(NAMES)!r}[: len(known) + 1]
lines = [name + ",0.25,3" + {"," * (len(HEADER.split(",")) - 3)!r} for name in names]
"""


def write_rows(path, label):
    path.write_text("filename,label\n" + "".join(f"{name},{label}\n" for name in NAMES))


def keep(more):
    return SCRIPT + f'record.write_text("\\n".join([{HEADER!r}, *lines, ""]))\n{more}\n'


@pytest.fixture
def attached(tmp_path):
    """One that can be found, with a config that needs no weights."""
    competition = tmp_path / "input" / "competition"
    (competition / "test_videos").mkdir(parents=True)
    write_rows(competition / "sample_submission.csv", 0.5)
    code = tmp_path / "input" / "code"
    (code / "submission-conf").mkdir(parents=True)
    (code / "submission-conf" / "none.py").touch()
    return kaggle.find_attached(tmp_path / "input", code)


def score(attached, tmp_path, script, seconds=60.0):
    (attached.code / "best-submission.py").write_text(script)
    output = tmp_path / "submission.csv"
    kaggle.score_attached(attached, output, time.monotonic() + seconds, "none.py", "cpu")
    return kaggle.check_submission(attached, output), output


def labels(output):
    return {row["filename"]: float(row["label"]) for row in kaggle.rows_of(output)}


def reasons(output):
    rows = kaggle.rows_of(output.with_name("submission.errors.csv"))
    return {row["filename"]: row["reason"] for row in rows}


def test_after_a_crash_it_goes_on_in_a_worker(tmp_path, attached):
    """One file a run, and a crash; that a worker outlives its file is best-submission.py's own matter."""
    how = 'assert ["--workers" in sys.argv, "time_budget_s" in sys.argv[-1]] == [bool(known), not known]'
    said, output = score(attached, tmp_path, keep(f"{how}\nos.kill(os.getpid(), signal.SIGSEGV)"))
    assert labels(output) == dict.fromkeys(NAMES, 0.25) and list(labels(output)) == NAMES
    assert reasons(output) == {} and "0 of them" in said


def test_a_crash_that_brings_nothing_new_is_not_tried_for_ever(tmp_path, attached):
    script = "import os, pathlib, signal\npathlib.Path('runs').open('a').write('x')\nos.kill(os.getpid(), 9)"
    said, output = score(attached, tmp_path, script.replace("'runs'", repr(str(tmp_path / "runs"))))
    assert (tmp_path / "runs").read_text() == "xx" and "3 of them" in said


def test_what_scoring_does_not_come_to_has_one_half_and_is_tried_again_by_a_second_call(tmp_path, attached):
    said, output = score(attached, tmp_path, "raise SystemExit(1)")
    assert labels(output) == dict.fromkeys(NAMES, 0.5) and set(reasons(output)) == set(NAMES)
    assert "3 of them not judged" in said
    said, output = score(attached, tmp_path, keep(""))
    assert labels(output) == dict.fromkeys(NAMES, 0.25) and "0 of them" in said


def test_at_the_deadline_scoring_is_stopped_and_what_it_has_is_kept(tmp_path, attached):
    """The script stops as best-submission.py does by Ctrl-C."""
    script = keep("try:\n    time.sleep(600)\nexcept KeyboardInterrupt:\n    raise SystemExit(130)")
    said, output = score(attached, tmp_path, script, 2.0)
    assert labels(output) == {"c.mp4": 0.5, "a.mp4": 0.25, "b.mp4": 0.5}
    assert set(reasons(output)) == {"b.mp4", "c.mp4"} and "2 of them" in said


def test_settings_that_cannot_be_used_end_it(tmp_path, attached):
    with pytest.raises(UserError):
        score(attached, tmp_path, "raise SystemExit(2)")
    assert not (tmp_path / "submission.csv").exists()


def test_a_finished_submission_is_left_alone(tmp_path, attached):
    output = tmp_path / "submission.csv"
    write_rows(output, 0.125)
    assert score(attached, tmp_path, "raise SystemExit(2)")[1] == output
    assert set(labels(output).values()) == {0.125} and not record_path(output).exists()


@pytest.mark.parametrize("rows", ["c.mp4,0.5\na.mp4,0.5\n", "a.mp4,0.5\nb.mp4,0.5\nc.mp4,0.5\n",
                                  "c.mp4,0.5\na.mp4,1.5\nb.mp4,0.5\n"])  # fmt: skip
def test_a_submission_that_kaggle_would_not_take_is_found_out(tmp_path, attached, rows):
    output = tmp_path / "submission.csv"
    output.write_text(f"filename,label\n{rows}")
    with pytest.raises(UserError, match=r"submission\.csv"):
        kaggle.check_submission(attached, output)


def test_the_competition_must_be_attached_once(tmp_path, attached):
    other = tmp_path / "input" / "again"
    (other / "test_videos").mkdir(parents=True)
    (other / "sample_submission.csv").touch()
    with pytest.raises(UserError, match="again"):
        kaggle.find_attached(tmp_path / "input", attached.code)
    with pytest.raises(UserError, match="none"):
        kaggle.find_attached(tmp_path / "input" / "code", attached.code)


def test_weights_are_found_by_their_names(tmp_path, attached):
    config = attached.code / "submission-conf" / "two.py"
    config.write_text(
        'detector = "resnet50"\ndetector_weights = "external/detector.pth"\n'
        'ensemble = [("xception", "external/one.pth", 0.5), ("xception", "external/gone.pth", 0.5)]\n'
    )
    for name in ("detector.pth", "one.pth"):
        (attached.root / "weights" / "deep").mkdir(parents=True, exist_ok=True)
        (attached.root / "weights" / "deep" / name).touch()
    overrides = kaggle.find_weights(attached, config)
    assert str(attached.root / "weights" / "deep" / "one.pth") in overrides[0] and "gone.pth" in overrides[0]
    assert overrides[1] == f"detector_weights={attached.root / 'weights' / 'deep' / 'detector.pth'}"
    (attached.root / "code" / "one.pth").touch()
    with pytest.raises(UserError, match=r"one\.pth"):
        kaggle.find_weights(attached, config)
    assert kaggle.find_weights(attached, attached.code / "submission-conf" / "none.py") == []


def test_wheels_that_do_not_fit_end_it_with_pips_reason(attached):
    assert "no wheels" in kaggle.install_wheels(attached)
    (attached.code / "requirements.txt").write_text("no-such-package-anywhere==1.0\n")
    with_wheels = Attached(attached.root, attached.code, attached.videos, attached.sample, (attached.root,))
    with pytest.raises(UserError, match="no-such-package-anywhere"):
        kaggle.install_wheels(with_wheels)


def test_a_stopped_notebook_leaves_no_process_behind(tmp_path, monkeypatch):
    """Scoring hears nothing of Ctrl-C here, and says more than a pipe holds."""
    script = "import os, signal; signal.signal(2, lambda *_: None); print(os.getpid(), flush=True)\n"
    script += "while True: print('x' * 1000, flush=True)"
    pids = []

    def stopped(line, **_):
        pids.append(int(line))
        raise KeyboardInterrupt

    monkeypatch.setattr(kaggle, "PATIENCE", 1.0)
    monkeypatch.setattr(kaggle, "print", stopped, raising=False)
    with pytest.raises(KeyboardInterrupt):
        kaggle.run_until(time.monotonic() + 60, [sys.executable, "-c", script])
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)
