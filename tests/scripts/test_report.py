"""best-submission.py --report --faces-csv --contact-sheet, as its users run it."""

import os
import shutil

import cv2
import numpy as np
import pytest
from submissions import rows

from utils.core.config import load_config
from utils.scoring.config import SubmissionConfig
from utils.scoring.details import Details, read_faces
from utils.scoring.record import Record, fingerprint

ALL = ("--report", "--faces-csv", "--contact-sheet")


def test_all_that_can_be_asked_for(main, tmp_path, folder, config, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = main(folder, "--config", config, "--output", tmp_path / "plain.csv")
    (tmp_path / "out").mkdir()
    code, out, err = main(folder, "--config", config, "--output", "out/submission.csv", *ALL, "out/s.png")
    assert code == plain[0] == 0, err
    assert (tmp_path / "out/submission.csv").read_bytes() == (tmp_path / "plain.csv").read_bytes()
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert made == {"submission.csv", "submission.errors.csv", "submission.faces.csv", "report.html", "s.png"}
    assert all(str(name) in out for name in ("out/submission.faces.csv", "out/report.html", "out/s.png"))
    columns, faces = read_faces(tmp_path / "out/submission.faces.csv")
    scores = dict(rows(tmp_path / "out/submission.csv")[1:])
    assert columns == ["xception"] and list(faces) == ["Face.MP4", "cut.mp4"]
    for name, each in faces.items():
        assert f"{np.mean([face.probability for face in each]):.6f}" == scores[name]
        assert [face.place[0] for face in each] == [29, 59]
        assert all(face.place[4] > face.place[2] and face.place[6] > 20 for face in each)
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert page.count("<article") == 4 and page.count("data:image/jpeg") == 4
    assert "class activation" in page and str(tmp_path) not in page and "small.safetensors" in page
    assert cv2.imread(str(tmp_path / "out/s.png")).shape[1] >= 640


def test_resume_has_the_faces_of_the_run_before_and_says_where_it_has_not(main, tmp_path, clip, config):
    """Two files were scored before, one by a run that kept faces."""
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        os.link(clip, tmp_path / name)
    output = tmp_path / "o.csv"
    common = [tmp_path, "--config", config, "--output", output]
    assert main(*common, "--faces-csv")[0] == 0
    known = read_faces(tmp_path / "o.faces.csv")[1]
    own, settings = load_config(config, SubmissionConfig), {"a.mp4": True, "b.mp4": False}
    record, details = (kind(output, fingerprint(own)) for kind in (Record, Details))
    shown = load_results(clip, own)
    for name, keeps in settings.items():
        result = shown(tmp_path / name)
        record.append(name, result)
        if keeps:
            details.append(name, result, 1.0)
    code, out, _ = main(*common, "--resume", "--report", "--faces-csv")
    assert code == 0 and "--resume: 2 of 3" in out and "no faces are known of 1 file(s)" in out
    again = read_faces(tmp_path / "o.faces.csv")[1]
    assert list(again) == ["a.mp4", "c.mp4"]
    for name, faces in again.items():
        assert [face.place for face in faces] == [face.place for face in known[name]]
    assert (tmp_path / "o.report.html").read_text(encoding="utf-8").count("Nothing is kept of its faces") == 1
    assert not details.path.exists() and not record.path.exists()


def load_results(clip, config):
    """What scores a file with kept faces."""
    from utils.scoring.scorer import build, score_media

    parts = build(config, "cpu")
    return lambda path: next(score_media([path], *parts, config, keep=0))


def test_onnx_runtime_has_maps_too(main, tmp_path, clip, config):
    output = tmp_path / "submission.csv"
    code, _, err = main(clip, "--config", config, "--output", output, "--report", "runtime=onnxruntime")
    assert code == 0, err
    assert "class activation" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["sheet.jpg", "a-folder.png", "face.png"])
def test_a_contact_sheet_that_cannot_be_written_is_found_out_first(main, tmp_path, clip, config, name):
    (tmp_path / "a-folder.png").mkdir()
    shutil.copy(clip, tmp_path / "face.png")  # one of the files to judge
    code, _, err = main(
        tmp_path, "--config", config, "--output", tmp_path / "o.csv", "--contact-sheet", tmp_path / name
    )
    assert code == 2 and name in err and err.count("\n") == 1
    assert not (tmp_path / "o.csv").exists()
