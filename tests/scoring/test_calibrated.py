"""A calibration of clips' scores: of what was judged, the limits moved along, off by default."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from utils.core.config import ROOT, load_config
from utils.core.errors import ConfigError
from utils.scoring.aggregate import Result
from utils.scoring.calibrated import ScoreCalibration, calibration_of
from utils.scoring.config import SubmissionConfig
from utils.scoring.record import fingerprint
from utils.scoring.verdict import limits_from, verdict_on

HALF = ScoreCalibration(0.5, 1.0, 40, "a.csv")


def test_the_logit_is_scaled_and_moved():
    given = np.array([0.0, 0.2, 0.5, 0.9, 1.0])
    logit = np.log(0.2 / 0.8)
    assert HALF.of(given)[1] == pytest.approx(1 / (1 + np.exp(-(0.5 * logit + 1))))
    assert ScoreCalibration(1, 0).of(given) == pytest.approx(given, abs=1e-12)
    assert (np.diff(HALF.of(given)) > 0).all()


def test_what_was_not_judged_stays_undecided():
    judged, nobody = Result(Path("a.mp4"), 0.2, 5), Result(Path("b.mp4"), 0.5, 0, "no face")
    assert HALF.result(judged).probability == pytest.approx(float(HALF.of(np.array(0.2))))
    assert HALF.result(judged) == replace(judged, probability=HALF.result(judged).probability)
    assert HALF.result(nobody) is nobody


def test_a_clip_keeps_its_verdict():
    limits = limits_from({"reals": np.linspace(0, 0.8, 401)}, {"fakes": np.linspace(0.2, 1, 401)})
    for probability in (0.05, 0.2, 0.3, 0.6, 0.79, 0.9):
        clip = Result(Path("a.mp4"), probability, 20)
        before, after = verdict_on(clip, limits), verdict_on(HALF.result(clip), limits.calibrated(HALF))
        assert before.word == after.word


def test_files_that_are_none_are_named(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(HALF.to_json())
    assert ScoreCalibration.read(str(path)) == HALF
    for wrong in ("", "[]", "{}", '{"scale": -1, "offset": 0}', '{"scale": 1, "offset": NaN}'):
        path.write_text(wrong)
        with pytest.raises(ConfigError, match="c.json"):
            ScoreCalibration.read(str(path))
    with pytest.raises(ConfigError, match="none.json"):
        ScoreCalibration.read(str(tmp_path / "none.json"))


def test_it_is_off_unless_asked_for_and_counts_in_the_fingerprint(tmp_path):
    for name in ("wm", "bundled"):
        assert calibration_of(load_config(ROOT / f"submission-conf/{name}.py", SubmissionConfig)) is None
    plain = fingerprint(SubmissionConfig())
    seen = {plain}
    for scale in (0.5, 0.6):
        (tmp_path / "c.json").write_text(ScoreCalibration(scale, 0).to_json())
        seen.add(fingerprint(SubmissionConfig(calibration=str(tmp_path / "c.json"))))
    assert len(seen) == 3
