"""best-submission.py with calibration=: what was judged is calibrated, the rest stays as it is."""

import pytest
from small_config import write_config
from submissions import rows

from utils.scoring.calibrated import ScoreCalibration

HALF = ScoreCalibration(0.5, 1.0)


def test_a_submission_is_calibrated(main, tmp_path, weights, clip, no_face_clip):
    (tmp_path / "in").mkdir()
    for name, path in (("face.mp4", clip), ("nobody.mp4", no_face_clip)):
        (tmp_path / "in" / name).symlink_to(path)
    (tmp_path / "c.json").write_text(HALF.to_json())
    config = write_config(tmp_path / "plain.py", weights, face_limit=2)
    common = tmp_path / "in", "--config", config
    assert main(*common, "--output", tmp_path / "a.csv")[0] == 0
    code, said, _ = main(*common, "--output", tmp_path / "b.csv", f"calibration={tmp_path / 'c.json'}")
    assert code == 0 and "c.json" in said
    plain, after = (dict(rows(tmp_path / name)[1:]) for name in ("a.csv", "b.csv"))
    assert float(after["face.mp4"]) == pytest.approx(float(HALF.of(float(plain["face.mp4"]))), abs=1e-5)
    assert after["nobody.mp4"] == plain["nobody.mp4"] == "0.500000"
    assert main(*common, "--output", tmp_path / "b.csv", "calibration=none.json")[0] == 2
