"""The yardstick computes what we compute, and bench.py runs and writes what it says."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from crew_work import Squares
from scripts import load_script

from benchmarks import agreement, gpu_parts, inputs, report, speed, timing, workers
from benchmarks import reference as procedure
from benchmarks.inputs import EXACT, FAST, StandIn, build_ours, bundled, randomised
from benchmarks.load import repeat
from models import WSDAN, RetinaFace, xception
from models.retinaface import anchors
from utils.core.errors import DataError
from utils.faces.align import align_face
from utils.faces.video import FrameReader
from utils.scoring.scorer import score
from utils.training.wsdan import training_losses

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"name", "reference_s", "ours_s", "ratio"}


@pytest.fixture(scope="module")
def reference():
    return procedure.load_reference(bundled())


@pytest.fixture(scope="module")
def ours():
    return build_ours(bundled(*EXACT))


@pytest.fixture(scope="module")
def frames(clip):
    """Frames 23, 47 and 71 of 72."""
    return [frame for _, frame in FrameReader(clip, 24)]


def test_the_loops_give_the_anchors():
    for size in ((193, 251), (360, 640)):
        assert torch.allclose(procedure.loop_anchors(*size), anchors(*size), atol=1e-7)


def test_the_frames_are_those_of_our_reader(clip):
    plain, read = list(procedure.read_frames(clip)), list(FrameReader(clip, 10))
    assert [index for index, _ in plain] == [index for index, _ in read] == [9, 19, 29, 39, 49, 59, 69]
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(plain, read, strict=True))


def test_detection_at_the_exact_setting_is_the_reference_s(reference, ours, frames):
    for frame, face in zip(frames, ours[0].detect(frames), strict=True):
        found = procedure.find_face(reference.detector, frame)
        assert face.score == pytest.approx(found.score, abs=1e-4)
        # pixels of a face of some 100: float32 sums in another order
        assert np.abs(face.box - found.box).max() < 1e-2
        assert np.abs(face.landmarks - found.landmarks).max() < 1e-2
        # a grey level in ten of 300,000 values moves a probability by 3e-4
        assert np.array_equal(align_face(frame, face.landmarks)[:, :, ::-1], found.crop)


def test_probabilities_at_the_exact_setting_are_the_reference_s(reference, ours, frames):
    crops = [procedure.find_face(reference.detector, frame).crop for frame in frames]
    expected = procedure.classify(reference.members, crops, batch_size=2)
    assert np.abs(ours[1].predict(np.stack(crops)) - expected).max() < 1e-4
    assert np.ptp(expected) > 1e-4  # not a constant


def test_a_clip_s_score_at_the_exact_setting_is_the_reference_s(reference, clip):
    expected, faces = procedure.score_clip(clip, reference)
    row = score(clip, bundled(*EXACT), device="cpu").iloc[0]
    assert faces == row["faces"] == 7
    assert row["label"] == pytest.approx(expected, abs=1e-4)


def test_a_clip_without_a_face_is_undecided(reference, no_face_clip):
    assert procedure.score_clip(no_face_clip, reference) == (0.5, 0)


def test_extraction_writes_the_aligned_faces(reference, clip, tmp_path):
    assert procedure.extract_clip(clip, reference.detector, tmp_path, n_frames=2) == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["000.png", "001.png"]


def test_an_untrained_detector_finds_the_trained_one_s_faces(ours, frames):
    trusted = ours[0].net
    timed = randomised(RetinaFace("mobilenet0.25"))
    images = torch.from_numpy(frames[0][:64, :64].astype(np.float32)).permute(2, 0, 1)[None]
    with torch.inference_mode():
        for expected, given in zip(trusted(images), StandIn(timed, trusted)(images), strict=True):
            assert torch.equal(expected, given)


def test_the_plain_wsdan_step_is_ours():
    torch.manual_seed(0)
    net = WSDAN(2, 8, "xception").train()
    images, labels = torch.randn(3, 3, 96, 96), torch.tensor([0, 1, 1])
    centers = torch.randn(2, net.fc.in_features)
    fixed = {"picks": (3, 5), "head_dropout": 0.0}
    plain = procedure.wsdan_losses(net, images, labels, centers, 0.05, thetas=(0.5, 0.55), **fixed)
    ours = training_losses(
        net, images, labels, centers, 0.05, crop_theta=0.5, drop_theta=0.55, **fixed
    )
    for name in ("raw", "crop", "drop", "center", "total"):
        assert ours[name].item() == pytest.approx(plain[name].item(), rel=1e-4), name
    assert torch.allclose(ours["centers"], plain["centers"], atol=1e-5)
    assert not torch.equal(plain["centers"], centers)


def test_the_plain_xception_step_is_ours():
    torch.manual_seed(0)
    net, other = xception().train(), xception().train()
    other.load_state_dict(net.state_dict())
    images, labels = torch.randn(2, 3, 96, 96), torch.tensor([0, 1])
    before = net.last_linear.weight.detach().clone()
    plain = speed.plain_step("xception", net, images, labels)()
    ours = speed.our_step("xception", other, images, labels, "fp32")()
    assert ours == pytest.approx(plain, rel=1e-4)
    assert not torch.equal(net.last_linear.weight, before)
    assert torch.allclose(net.last_linear.weight, other.last_linear.weight, atol=1e-5)


def test_random_weights_are_the_same_wherever_they_are_made():
    first, second = (randomised(xception()).state_dict() for _ in range(2))
    kernels = [name for name in first if first[name].ndim > 1]
    assert kernels and all(torch.equal(first[name], second[name]) for name in kernels)


def test_settings_are_configs():
    assert bundled(*EXACT).precision == "fp32" and bundled(*EXACT).detect_size is None
    assert bundled(*FAST) != bundled(*EXACT)


@pytest.mark.parametrize("change, shape", [
    ("flip", (360, 640, 3)), ("hd", (1080, 1920, 3)), ("small", (180, 320, 3)), ("jpeg", (360, 640, 3))])
def test_a_made_clip_is_its_source_changed(change, shape, clip, frames, tmp_path):
    too_late = 10_000  # the clip is too short to start there
    inputs.make_clip(clip, tmp_path / "made.mp4", (change,), start=too_late, length=3)
    made = [frame for _, frame in FrameReader(tmp_path / "made.mp4")]
    first = next(iter(FrameReader(clip)))[1]
    assert [frame.shape for frame in made] == [shape] * 3
    expected = inputs.changed(first, (change,))
    assert expected.shape == shape
    # the codec loses some; a picture that isn't this one would be some 50 levels away
    assert np.abs(made[0].astype(int) - expected).mean() < 6


def test_a_still_has_the_face_at_its_size(frames):
    face = frames[0][60:284, 200:424]
    frame = inputs.still_frame(face, (120, 100))
    assert frame.shape == (480, 1920, 3)
    x, y = (1920 - 120) // 3, (480 - 100) // 2
    small = cv2.resize(face, (120, 100), interpolation=cv2.INTER_AREA)
    assert np.array_equal(frame[y : y + 100, x : x + 120], small)


def test_what_moved_is_measured_in_pixels_of_the_crop():
    template = procedure.TEMPLATE
    one, other = Path("a"), Path("b")
    truth = {(one, 9): agreement.Judged(template, 0.2), (other, 9): agreement.Judged(template * 2, 0.9),
             (other, 19): agreement.Judged(template, 0.9)}  # fmt: skip
    ours = {(one, 9): agreement.Judged(template + [3, 4], 0.3),
            (other, 9): agreement.Judged(template * 2 + [6, 8], 0.9)}  # fmt: skip
    moved = agreement.compare(truth, ours, {one: 0, other: 1})
    # truncated to whole pixels, as a crop is, which changes its scale a little
    assert moved["landmarks_px_mean"] == pytest.approx(5, abs=0.05)
    assert moved["landmarks_px_max"] == pytest.approx(5, abs=0.1)
    assert moved["probability_shift_mean"] == pytest.approx(0.05)
    assert moved["probability_shift_max"] == pytest.approx(0.1)
    assert (moved["faces"], moved["only_reference"], moved["only_ours"]) == (2, 1, 0)
    assert moved["auc_before"] == moved["auc_after"] == 1.0


def test_another_face_is_told_from_one_that_moved():
    template = procedure.TEMPLATE
    path = Path("a")
    truth = {(path, frame): agreement.Judged(template, 0.5) for frame in (9, 19)}
    ours = {(path, 9): agreement.Judged(template + [0, 2], 0.6),
            (path, 19): agreement.Judged(template + [200, 0], 0.9)}  # fmt: skip
    moved = agreement.compare(truth, ours, {path: 0})
    assert moved["other_faces"] == 1 and moved["landmarks_px_mean"] > 99
    assert moved["same_face_px_mean"] == pytest.approx(2, abs=0.05)
    assert moved["same_face_shift_mean"] == pytest.approx(0.1)


def test_rounds_are_interleaved_and_the_first_does_not_count():
    order = []
    times = timing.interleaved({"one": lambda: order.append(1), "two": lambda: order.append(2)}, runs=2)
    assert order == [1, 2] * 3
    assert {name: len(values) for name, values in times.items()} == {"one": 2, "two": 2}
    assert timing.Row("x", 6.0, 2.0).ratio == 3 and timing.Row("x").ratio is None


def run_script(*arguments, cwd, name="bench.py"):
    script = ROOT / "benchmarks" / name
    return subprocess.run(
        [sys.executable, str(script), *arguments], cwd=cwd, capture_output=True, text=True, timeout=600
    )


def test_a_quick_run_writes_its_figures(tmp_path, capsys):
    output = str(tmp_path / "out")
    assert load_script("benchmarks/bench.py").main(["--quick", "--only", "a", "--output", output]) == 0
    said = capsys.readouterr().out
    rows = json.loads((tmp_path / "out.json").read_text())["rows"]
    assert all(set(row) >= KEYS for row in rows)
    by_name = {row["name"]: row for row in rows}
    timed = [row for row in rows if row["ratio"] is not None]
    settings = ("exact", "fast", "fast onnxruntime")
    assert set(by_name) == {f"extraction mobilenet0.25 {setting}" for setting in settings} | {"machine"}
    assert len(timed) == 3
    for row in timed:
        assert row["ratio"] == pytest.approx(row["reference_s"] / row["ours_s"])
        assert row["name"] in said and row["name"] in (tmp_path / "out.md").read_text()
    assert by_name["machine"]["quick"] and by_name["machine"]["cores"] >= 1
    assert "these figures mean nothing" in said


@pytest.mark.slow
def test_all_parts_run(tmp_path):
    done = run_script("--quick", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "bench.json").read_text())["rows"]
    for part in ("extraction", "10-s clip", "training", "memory", "agreement", "machine"):
        assert any(row["name"].startswith(part) for row in rows), part
    moved = next(row for row in rows if row["name"] == "agreement clips exact")
    assert moved["faces"] >= 2 and moved["probability_shift_max"] < 1e-3
    memory = next(row for row in rows if row["name"] == "memory scoring")
    assert 100 < memory["short_mib"] < 4096


@pytest.mark.parametrize("wrong", [("--only", "x"), ("--only", ""), ("more",)])
def test_wrong_arguments_are_usage_errors(wrong, tmp_path):
    done = run_script(*wrong, cwd=tmp_path)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_the_table_has_a_line_a_row():
    moved = {"faces": 3, "files": 2, "fakes": 1, "only_ours": 0, "only_reference": 1,
             "landmarks_px_mean": 0.1, "landmarks_px_p99": 0.2, "other_faces": 0,
             "probability_shift_mean": 0.0, "probability_shift_max": 0.1,
             "auc_before": None, "auc_after": None}  # fmt: skip
    facts = {**timing.machine(), "load_at_start": 3.0, "quick": False, "seconds": {"a": 60}}
    facts["shared_data"] = True
    rows = [timing.Row("training xception fp32", 1.0, 0.5, {"unit": "image"}),
            timing.Row("agreement clips fast", more=moved),
            timing.Row("machine", more=facts)]  # fmt: skip
    times, agreement, machine = report.tables(rows)
    assert times.rows == [["training xception fp32", "image", "1", "0.5", "2.0x"]]
    assert agreement.rows[0][0] == "clips fast" and agreement.rows[0][-1] == "-"
    assert dict(machine.rows)["load at the start"] == "3.0: busy, ratios may be off"


def test_the_ratios_of_an_earlier_commit_stand_beside_these(tmp_path):
    rows = [timing.Row("training xception fp32", 1.0, 0.5, {"unit": "image"}),
            timing.Row("10-s clip new", 1.0, 0.5, {"unit": "clip"})]  # fmt: skip
    old = tmp_path / "bench.json"
    known = [timing.Row("training xception fp32", 1.0, 0.8).plain(), timing.Row("machine").plain()]
    old.write_text(json.dumps({"rows": known}))
    table = report.times(rows, report.ratios_of(old))
    assert table.headings[-1] == "ratio before" and [row[-1] for row in table.rows] == ["1.2x", "-"]


@pytest.mark.parametrize("text", ["", "[]", '{"rows": [{"name": "a"}]}', '{"rows": 3}', "\xff"])
def test_ratios_that_are_none_are_refused_by_name(text, tmp_path):
    (tmp_path / "old.json").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match="old.json"):
        report.ratios_of(tmp_path / "old.json")


def test_the_gpu_benchmark_runs_on_a_cpu(tmp_path, capsys, monkeypatch):
    """The first of its forwards; what else it measures is slow."""
    output, gpu = tmp_path / "gpu.json", load_script("benchmarks/gpu.py")
    is_time = iter([True])
    monkeypatch.setattr(gpu.Clock, "until", lambda *_: lambda: next(is_time, False))
    monkeypatch.setattr(gpu_parts, "build_network", lambda name: RetinaFace("mobilenet0.25"))
    arguments = ["--device", "cpu", "--quick", "--only", "forward", "--output", str(output)]
    assert gpu.main(arguments) == 0
    said = capsys.readouterr().out
    figures = json.loads(output.read_text())
    rows = {row["name"]: row for row in figures["rows"]}
    assert figures["machine"]["quick"] and "torch" in figures["machine"]
    first = rows["retinaface-mobilenet0.25 NCHW fp32 2x3x96x160"]
    assert first["value"] > 0 and first["more"]["first_ms"] > 0
    assert rows["import torch"]["unit"] == "s"
    assert "retinaface-mobilenet0.25 NCHW fp32" in said and "no time" in said


@pytest.mark.slow
def test_all_parts_of_the_gpu_benchmark_run_on_a_cpu(tmp_path):
    done = run_script("--device", "cpu", "--quick", "--seconds", "20", cwd=tmp_path, name="gpu.py")
    assert done.returncode == 0, done.stderr
    rows, names = json.loads((tmp_path / "gpu.json").read_text())["rows"], {}
    for row in rows:
        names.setdefault(row["part"], []).append(row["name"])
        is_left_out = row["name"].endswith("no time")
        assert is_left_out or 0 < row["value"] < np.inf, row
    forwards = names.pop("forward")
    assert forwards[0].startswith("retinaface-mobilenet0.25 NCHW fp32")
    kinds = ("network alone", "with loader")
    assert names == {
        "start": ["import torch", "import scoring", "context", "first convolution"],
        "clips": ["bundled"],
        "training": [f"{name} {kind}" for name in ("xception", "wsdan-xception") for kind in kinds],
        "extraction": ["mobilenet0.25 fast on cpu"],
    }


def test_a_clip_made_long_shows_its_frames_over_and_over(clip, tmp_path):
    repeat(clip, tmp_path / "long.mp4", 3)
    once = [frame for _, frame in FrameReader(clip, 24)]
    reader = FrameReader(tmp_path / "long.mp4", 24)
    assert len(once) == 3
    for (_, frame), expected in zip(reader, once * 3, strict=True):
        assert np.array_equal(frame, expected)
    assert reader.warning is None


def test_here_and_a_worker_do_the_same_rounds(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "helpers"))  # for the worker
    done = []

    def once(place):
        done.append((type(place).__name__, sorted(place.run([("ok", 3), ("ok", 4)]))))

    row = workers.compared("score", Squares(tmp_path), once, rounds=2)
    squares = done[0][1]
    assert len(squares) == 2 and done == 3 * [("Here", squares), ("Crew", squares)]
    assert row["load_seconds"]["worker"] > 0
    assert {name: len(times) for name, times in row["all"].items()} == {"here": 2, "worker": 2}
    row["seconds"] = {"here": 10.0, "worker": 10.4}
    cells = workers.table([row], workers.parse_arguments([]), 0.0).rows[0]
    assert cells[:4] == ["score", "10.0", "10.4", "+4.0%"]


@pytest.mark.slow
def test_what_a_worker_costs_is_measured(tmp_path):
    name = tmp_path / "workers"
    assert workers.main(["--clips", "1", "--rounds", "1", "--output", str(name)]) == 0
    rows = json.loads(name.with_suffix(".json").read_text())["rows"]
    assert [row["work"] for row in rows] == ["score", "extract"]
    assert all(min(row["seconds"].values()) > 0.1 for row in rows)
