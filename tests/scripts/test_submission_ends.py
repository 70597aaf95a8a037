"""best-submission.py where it can't go on: outputs, usage, disks, interruption and --resume."""

import errno
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from processes import start_stoppable
from scripts import load_script
from submissions import SCRIPT, rows

from utils.core.config import load_config
from utils.core.errors import UserError
from utils.scoring.aggregate import Result
from utils.scoring.config import SubmissionConfig
from utils.scoring.record import Record, fingerprint
from utils.scoring.submission import write_submission


@pytest.mark.parametrize(
    ("output", "code", "message"),
    [
        ("file/below.csv", 1, "can't be written"),
        ("/proc/here/o.csv", 1, "can't be written"),
        ("folder.csv", 2, "that is a folder"),
        ("o.txt", 2, "must end in .csv"),
    ],
)
def test_outputs_that_cannot_be_written_end_it_before_the_work(
    main, monkeypatch, folder, config, tmp_path, output, code, message
):
    (tmp_path / "file").touch()
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.setattr("utils.scoring.scorer.build", lambda *_: pytest.fail("networks were built first"))
    got, _, err = main(folder, "--config", config, "--output", tmp_path / output)
    assert got == code and message in err and output in err and err.count("\n") == 1


@pytest.mark.parametrize("where", ["scorer.build", "scorer.PeopleDetector.detect"])
def test_where_a_gpu_s_memory_runs_out_it_is_said_which_keys_help(
    main, monkeypatch, clip, config, tmp_path, where
):
    """While networks are loaded, and while clips are scored."""

    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(f"utils.scoring.{where}", full)
    code, _, err = main(clip, "--config", config, "--output", tmp_path / "o.csv", "faces=all")
    assert code == 1 and "detect_batch=1" in err and "batch_size" in err
    assert ("--resume" in err) == where.endswith("detect")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "gone.py"], "gone.py"),
        (["face_limt=3"], "face_limit"),
        (["face_limit=many"], "face_limit"),
        (["ensemble=[('xception','gone.pth',1.0)]"], "gone.pth"),
        (["--device", "tpu"], "tpu"),
    ],
)
def test_what_is_asked_for_and_absent_is_a_usage_error(folder, config, tmp_path, capsys, arguments, message):
    output = tmp_path / "o.csv"
    main = load_script(SCRIPT).main
    code = main([str(folder), "--config", str(config), "--output", str(output), *arguments])
    err = capsys.readouterr().err
    assert code == 2 and message in err and err.startswith("error: ") and err.count("\n") == 1
    assert not output.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_a_full_disk_is_one_line_and_exit_1(main, folder, config, tmp_path, monkeypatch):
    (tmp_path / ".o.scored.csv").symlink_to("/dev/full")
    code, _, err = main(folder, "--config", config, "--output", tmp_path / "o.csv", "--force")
    assert code == 1
    assert err.splitlines()[-1].startswith("error: ") and "No space left" in err and "--resume" in err
    assert not (tmp_path / "o.csv").exists()

    def no_space(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("utils.core.files.os.replace", no_space)
    (tmp_path / "final.csv").write_text("old")
    with pytest.raises(UserError, match="No space left"):
        write_submission(tmp_path / "final.csv", [("a.mp4", Result(Path("a.mp4"), 0.5, 1))])
    assert (tmp_path / "final.csv").read_text() == "old"


def test_ctrl_c_writes_what_was_scored_and_resume_does_the_rest(tmp_path, clip, config, main):
    videos = tmp_path / "videos"
    videos.mkdir()
    for k in range(40):
        shutil.copy(clip, videos / f"{k:02}.mp4")
    output, record = tmp_path / "o.csv", tmp_path / ".o.scored.csv"
    arguments = [videos, "--config", config, "--output", output, "--device", "cpu", "batch_size=1"]
    process = start_stoppable([sys.executable, SCRIPT, *arguments])
    deadline = time.monotonic() + 1800
    while not record.exists() or record.read_bytes().count(b"\n") < 3:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=600)
    assert process.returncode == 130 and "Traceback" not in err, err
    scored = rows(output)[1:]
    assert 2 <= len(scored) < 40 and len(rows(record)) == len(scored) + 1
    assert f"stopped: {len(scored)} of 40 scored; the same command with --resume goes on" in out
    code, _, said = main(*arguments)
    assert code == 2 and record.name in said and "--resume" in said and "--force" in said

    for k in range(len(scored) + 3, 40):  # enough to see that it goes on
        (videos / f"{k:02}.mp4").unlink()
    code, out, _ = main(*arguments[:5], "--resume")
    assert code == 0 and f"--resume: {len(scored)} of {len(scored) + 3} file(s)" in out
    whole = rows(output)[1:]
    assert whole[: len(scored)] == scored and len(whole) == len(scored) + 3
    assert max(float(label) for _, label in whole) - min(float(label) for _, label in whole) < 1e-5
    assert not record.exists()  # all is there


def test_a_new_start_that_fails_leaves_the_record_for_resume(main, clip, config, tmp_path):
    record = Record(tmp_path / "o.csv", "0123456789abcdef")
    record.append(clip.name, Result(clip, 0.25, 1))
    before = record.path.read_bytes()
    (tmp_path / "torn.safetensors").write_bytes(b"torn")
    torn = f"ensemble=[('xception', {str(tmp_path / 'torn.safetensors')!r}, 1.0)]"
    code, _, err = main(clip, "--config", config, "--output", tmp_path / "o.csv", torn, "--force")
    assert code == 2 and "torn.safetensors" in err
    assert record.path.read_bytes() == before


@pytest.mark.parametrize("hidden", [True, False])
def test_resume_goes_on_from_a_record_of_the_same_weights_only(main, clip, config, tmp_path, hidden):
    """Also from one that isn't hidden, as runs of earlier versions left it."""
    output = tmp_path / "o.csv"
    common = [clip, "--config", config, "--output", output]
    Record(output, "0123456789abcdef").append(clip.name, Result(clip, 0.25, 1))
    path = tmp_path / ".o.scored.csv"
    if not hidden:
        path = path.rename(tmp_path / "o.scored.csv")
    before = path.read_bytes()
    code, _, err = main(*common, "--resume")
    assert code == 2 and "another config or other weights" in err and path.read_bytes() == before
    own = fingerprint(load_config(config, SubmissionConfig))
    path.write_bytes(before.replace(b"0123456789abcdef", own.encode()))
    code, out, _ = main(*common, "--resume")
    assert code == 0 and "--resume: 1 of 1" in out and rows(output)[1][1] == "0.250000"
    assert not path.exists()


def test_the_sample_is_never_overwritten(main, tmp_path, clip):
    """Nor under the name of a file that is written beside the output."""
    for name, output in (("sample.csv", "sample.csv"), ("out.errors.csv", "out.csv")):
        sample = tmp_path / name
        sample.write_text("filename,label\nsingle_face.mp4,0.5\n")
        code, _, said = main(clip, "--output", tmp_path / output, "--sample-submission", sample)
        assert code == 2 and "is the sample, which would be overwritten" in said
        assert sample.read_text() == "filename,label\nsingle_face.mp4,0.5\n"
