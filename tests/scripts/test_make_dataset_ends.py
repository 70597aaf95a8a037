"""make_dataset.py where it is cut short: a full disk, Ctrl-C."""

import errno
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from PIL import Image
from processes import start_stoppable

import make_dataset
from utils.data import crops
from utils.data.crops import read_faces_csv
from utils.data.failures import FACELESS

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "make_dataset.py"


class TestInterruptions:
    @pytest.mark.parametrize("at", ["crop", "table"])
    def test_full_disk(self, clip, tmp_path, capsys, monkeypatch, at):
        """What was written stays, the line is clear, and the run can be taken up again."""
        for name in ("a.mp4", "b.mp4"):
            shutil.copy(clip, tmp_path / name)
        Image.new("RGB", (64, 64)).save(tmp_path / "0.png")
        arguments = [str(tmp_path), str(tmp_path / "out"), "--every", "18", "--writers", "1"]
        full = OSError(errno.ENOSPC, "No space left on device")
        name = {"crop": "write_crop_file", "table": "finish_folder"}[at]
        original = getattr(crops, name)

        def fail_in_b(where, *more):
            if "b" in getattr(where, "folder", where).name:
                raise full
            return original(where, *more)

        with monkeypatch.context() as patch:
            patch.setattr(f"utils.data.extraction.{name}", fail_in_b)
            assert make_dataset.main(arguments) == 1
        error = capsys.readouterr().err
        assert FACELESS in (tmp_path / "out" / "failures.csv").read_text()
        assert "No space left on device" in error and "the same command goes on" in error
        assert not (tmp_path / "out" / "b" / "faces.csv").exists()
        assert make_dataset.main(arguments) == 0
        assert FACELESS in (tmp_path / "out" / "failures.csv").read_text()
        assert all(len(read_faces_csv(tmp_path / "out" / stem / "faces.csv")) == 4 for stem in "ab")

    @pytest.mark.parametrize("is_all_done", [False, True])
    def test_kill_9_after_a_file_without_a_face(self, no_face_clip, tmp_path, is_all_done):
        """A run that was killed wrote no failures.csv, and what it finished is not done again."""
        shutil.copy(no_face_clip, tmp_path / "0.mp4")
        shutil.copy(no_face_clip, tmp_path / "1.mp4")
        arguments = [str(tmp_path), str(tmp_path / "out"), "--every", "30"]
        assert make_dataset.main(arguments) == 0
        table = tmp_path / "out" / "failures.csv"
        whole = table.read_bytes()
        assert whole.count(FACELESS.encode()) == 2
        table.write_text("file,reason\n0.mp4,an old one\n")
        if not is_all_done:
            (tmp_path / "out" / "1" / "faces.csv").unlink()
        assert make_dataset.main(arguments) == 0
        assert table.read_bytes() == whole

    def test_ctrl_c(self, clip, tmp_path):
        for number in range(40):
            shutil.copy(clip, tmp_path / f"{number:02d}.mp4")
        command = [sys.executable, str(SCRIPT), str(tmp_path), str(tmp_path / "out"), "--every", "9"]
        process = start_stoppable(command)
        first = tmp_path / "out" / "00" / "faces.csv"
        deadline = time.monotonic() + 1800  # as long as a busy machine may take
        while not first.exists():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=600)
        assert process.returncode == 130, error
        assert "of 40 are complete; the same command goes on from there" in error and "Traceback" not in error
        assert len(read_faces_csv(first)) == 8  # what was written stays
        assert not list((tmp_path / "out").rglob("*.part"))
        assert len(list((tmp_path / "out").glob("*/faces.csv"))) < 40
