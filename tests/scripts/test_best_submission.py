"""best-submission.py as its users run it: files judged, tables written, what is said."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scripts import load_script
from small_config import write_config
from submissions import SCRIPT, rows, run

from models import xception
from utils.scoring import verdict
from utils.scoring.verdict import limits_from
from utils.weights.checkpoint import load_weights, save_weights


def test_verdicts_lie_beside_and_stay_with_resume(main, tmp_path, weights, clip, no_face_clip):
    net = xception(num_classes=2)
    metadata = load_weights(net, weights)
    limits = limits_from({"real faces": np.linspace(0, 1, 99)}, {"fakes": np.linspace(0, 1, 99)})
    save_weights(net, tmp_path / "stated.safetensors", metadata)
    of = verdict.ensemble_of([(tmp_path / "stated.safetensors", 1.0)], "probabilities", False)
    limits = replace(limits, of=of)
    stated = metadata | {verdict.VERDICT_KEY: limits.to_metadata()}
    save_weights(net, tmp_path / "stated.safetensors", stated)
    keys = {"frame_stride": 14, "face_limit": 5}
    config = write_config(tmp_path / "stated.py", tmp_path / "stated.safetensors", **keys)
    (tmp_path / "in").mkdir()
    for name, path in (("face.mp4", clip), ("nobody.mp4", no_face_clip)):
        shutil.copy(path, tmp_path / "in" / name)
    common = [tmp_path / "in", "--config", config, "--output", tmp_path / "out" / "submission.csv"]
    code, said, _ = main(*common)
    header, face, nobody = rows(tmp_path / "out" / "verdicts.csv")
    assert code == 0 and header == ("filename", "probability", "verdict", "faces", "spread", "why")
    assert face[0] == "face.mp4" and face[3] == "5" and 0 < float(face[4]) < 0.5
    assert face[2] in (verdict.REAL, verdict.OPEN, verdict.FAKE) and face[5] and f"{face[2]}: " in said
    assert nobody[2] == verdict.OPEN and "no face" in nobody[5] and nobody[4] == ""
    assert rows(tmp_path / "out" / "submission.csv")[0] == ("filename", "label")
    (tmp_path / "out" / "verdicts.csv").unlink()
    assert main(*common, "--resume")[0] == 0
    assert rows(tmp_path / "out" / "verdicts.csv") == [header, face, nobody]
    plain = write_config(tmp_path / "plain.py", weights, face_limit=2)
    code, said, _ = main(clip, "--config", plain, "--output", tmp_path / "plain" / "submission.csv")
    assert code == 0 and not (tmp_path / "plain" / "verdicts.csv").exists() and "likely" not in said


def test_a_folder_as_a_user_runs_it(tmp_path, folder, config):
    """From another folder, a key after an option; every kind of file, and what becomes of it is said."""
    code, out, err = run(folder, "--config", config, "face_limit=1", cwd=tmp_path)
    assert code == 0, err
    header, *scores = rows(tmp_path / "submission.csv")
    assert header == ("filename", "label")
    assert [name for name, _ in scores] == ["Face.MP4", "cut.mp4", "nobody.mp4", "text.mp4"]
    labels = dict(scores)
    assert labels["nobody.mp4"] == labels["text.mp4"] == "0.500000"
    for judged in ("Face.MP4", "cut.mp4"):
        assert len(labels[judged].split(".")[1]) == 6 and labels[judged] != "0.500000"
    header, *errors = rows(tmp_path / "submission.errors.csv")
    assert header == ("filename", "reason")
    assert [name for name, _ in errors] == ["nobody.mp4", "text.mp4"] and all(reason for _, reason in errors)
    assert "nobody.mp4: not judged: no face" in err and "text.mp4: not judged" in err
    before, table = out.split("\n\n")
    assert "1 other file(s)" in before and "up to 1 faces" in before and "small.safetensors" in before
    assert len(before.splitlines()) == 5 and "frame_stride" not in before  # a line is of where the files are
    judged, *_ = [line.split() for line in table.splitlines()[1:]]
    assert judged[:4] == ["Face.MP4", labels["Face.MP4"], "1", "face"]
    there = {path.name for path in tmp_path.glob("*submission*")}
    assert there == {"submission.csv", "submission.errors.csv"}


def test_a_truncated_video_keeps_its_score_and_is_said_to_be_truncated(main, folder, config, tmp_path):
    output = tmp_path / "o.csv"
    code, _, err = main(folder / "cut.mp4", "--config", config, "--output", output, "face_limit=25")
    assert code == 0
    assert rows(tmp_path / "o.errors.csv") == [("filename", "reason")]
    assert "cut.mp4: warning: truncated" in err and "472 frames" in err


def test_all_of_the_config_is_shown_where_it_is_asked_for(main, clip, config, tmp_path):
    _, out, _ = main(clip, "--config", config, "--output", tmp_path / "o.csv", "--verbose")
    assert "frame_stride = 30" in out and "face_limit = 2" in out


def test_the_answer_for_one_file_comes_last_with_what_was_judged(main, clip, config, tmp_path):
    _, out, _ = main(clip, "--config", config, "--output", tmp_path / "o.csv")
    answer = out.splitlines()[-1]
    [(_, label)] = rows(tmp_path / "o.csv")[1:]
    assert answer.startswith(f"{clip.name}: ") and f"{float(label):.3f}" in answer
    assert "2 faces from 0:01 to 0:02" in answer


def test_several_inputs_files_called_like_options_and_keys_are_told_apart(
    main, clip, config, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    for name in ("-dash.mp4", "more/b.mp4", "face_limit=9"):
        os.link(clip, tmp_path / name)
    os.rename("face_limit=9", "face_limit=9.mp4")
    code, _, _ = main("more", "face_limit=9.mp4", "face_limit=1", "--config", config, "--output", "o.csv")
    assert code == 0 and [name for name, _ in rows("o.csv")[1:]] == ["b.mp4", "face_limit=9.mp4"]
    arguments = ["--config", str(config), "--output", "dash.csv", "--device", "cpu", "--", "-dash.mp4"]
    assert load_script(SCRIPT).main(arguments) == 0
    assert [name for name, _ in rows("dash.csv")[1:]] == ["./-dash.mp4"]


def test_what_is_missing_is_named(capsys, tmp_path, clip):
    with pytest.raises(SystemExit) as stop:
        load_script(SCRIPT).main(["face_limit=3"])
    assert stop.value.code == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "INPUT" in said and "key=value" not in said
    ensemble = [("xception", str(tmp_path / name), 0.5) for name in ("one.pth", "two.pth")]
    arguments = [str(clip), "--output", str(tmp_path / "o.csv"), f"ensemble={ensemble}"]
    assert load_script(SCRIPT).main([*arguments, "--device", "cpu"]) == 2
    said = capsys.readouterr().err
    assert "one.pth" in said and "two.pth" in said and said.count("\n") == 1


def test_rows_of_other_files_are_not_overwritten_unasked(main, clip, no_face_clip, config, tmp_path):
    output = tmp_path / "o.csv"
    common = ["--config", config, "--output", output]
    assert main(clip, *common)[0] == 0
    before = output.read_bytes()
    code, _, err = main(no_face_clip, *common)
    assert code == 2 and clip.name in err and "--force" in err and "--output" in err
    assert output.read_bytes() == before
    assert main(clip, *common)[0] == 0  # the same file again
    assert main(clip, no_face_clip, *common)[0] == 0  # and with another
    assert main(no_face_clip, *common, "--force")[0] == 1
    assert [name for name, _ in rows(output)[1:]] == [no_face_clip.name]
    output.write_text("a table,of mine\n1,2\n")
    assert main(clip, *common)[0] == 2 and "of mine" in output.read_text()


def test_without_config_the_bundled_one_is_used_and_said_so(main, monkeypatch, folder, config, tmp_path):
    monkeypatch.setattr("utils.scoring.scorer.BUNDLED", config)
    code, out, _ = main(folder / "deep", "--output", tmp_path / "o.csv")
    assert code == 0 and f"by {config.name}" in out


def test_help_is_quick_and_has_examples():
    code, out, _ = run("--help")
    assert code == 0 and "python best-submission.py videos/" in out and "--resume" in out
    heavy = "import sys, runpy; sys.argv = ['x', '--help']\n"
    heavy += f"try: runpy.run_path({str(SCRIPT)!r}, run_name='__main__')\n"
    heavy += "except SystemExit: assert not {'torch', 'cv2', 'numpy'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", heavy], capture_output=True).returncode == 0


def test_sample_gives_order_and_choice(main, folder, config, tmp_path):
    sample = tmp_path / "sample.csv"
    sample.write_text("filename,label\ntext.mp4,0.5\ngone.mp4,0.5\nFace.MP4,0.5\n")
    output = tmp_path / "out" / "new" / "o.csv"
    code, out, err = main(folder, "--config", config, "--output", output, "--sample-submission", sample)
    assert code == 0
    assert [name for name, _ in rows(output)[1:]] == ["text.mp4", "gone.mp4", "Face.MP4"]
    assert [label == "0.500000" for _, label in rows(output)[1:]] == [True, True, False]
    assert [name for name, _ in rows(output.with_name("o.errors.csv"))[1:]] == ["text.mp4", "gone.mp4"]
    assert "2 of 4 file(s) left out" in out and "gone.mp4: not judged" in err
    assert "nobody.mp4" not in out + err  # neither scored nor listed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\x1b[2J\r\nb,c\n", "it is 'a\\x1b[2J'"),
        ("name,score\na.mp4,1\n", "filename,label"),
        ("filename,label\na.mp4,1\nb.mp4,0\na.mp4,0\n", "'a.mp4' twice"),
        ("filename,label\n", "no file"),
        ("", "filename,label"),
        (None, "No such file"),
    ],
)
def test_bad_samples_are_usage_errors(main, folder, config, tmp_path, text, message):
    sample = tmp_path / "sample.csv"
    if text is not None:
        sample.write_text(text)
    output = tmp_path / "o.csv"
    code, _, err = main(folder, "--config", config, "--output", output, "--sample-submission", sample)
    assert code == 2 and message in err and str(sample) in err and err.count("\n") == 1
    assert not output.exists()


def test_nothing_judged_is_exit_1_with_the_rows_written(main, folder, config, tmp_path):
    output = tmp_path / "o.csv"
    code, _, err = main(folder / "text.mp4", "--config", config, "--output", output)
    assert code == 1 and "text.mp4: not judged" in err
    assert rows(output)[1:] == [("text.mp4", "0.500000")]


def test_nothing_to_judge_is_one_line(main, config, tmp_path):
    (tmp_path / "empty").mkdir()
    for path, message in ((tmp_path / "empty", "no video or image"), (tmp_path / "gone", "no such file")):
        code, _, err = main(path, "--config", config, "--output", tmp_path / "o.csv")
        assert code == 1 and message in err and str(path) in err and err.count("\n") == 1
    assert not (tmp_path / "o.csv").exists()
