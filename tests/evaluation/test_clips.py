"""The clips tool: what is done to frames, how a clip's scores are summed up, and the tool itself."""

import json
import shutil
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest
from scripts import load_script
from small_config import write_config, write_weights

from utils.core.errors import DataError, WeightsError
from utils.evaluation import clip_tables, clips
from utils.faces.detector import Face
from utils.scoring.config import SubmissionConfig

ROOT = Path(__file__).resolve().parents[2]
SMALL = SubmissionConfig(frame_stride=30, face_limit=2)


def pictures(path, variant):
    """The frames of a variant of a clip, at the stride of SMALL."""
    indices, frames = zip(*clips.VariantFrames(path, variant, SMALL), strict=True)
    assert indices[0] == SMALL.frame_stride - 1
    return frames


@pytest.mark.parametrize("variant", clips.VARIANTS)
def test_variants_change_each_frame_and_nothing_but_it(clip, variant):
    frames = pictures(clip, variant)
    plain = pictures(clip, "plain")
    if variant not in clips.CHANGES:  # no more of the clip than is needed
        plain = plain[: SMALL.face_limit]
    assert len(frames) == len(plain) >= 2
    changed, frame = frames[0], plain[0]
    shapes = {"half size": 0.5, "quarter size": 0.25}
    if variant in shapes:
        assert changed.shape[0] == pytest.approx(frame.shape[0] * shapes[variant], abs=1)
        frame = cv2.resize(frame, changed.shape[1::-1], interpolation=cv2.INTER_AREA)
    difference = np.abs(changed.astype(int) - frame).mean()
    if variant in ("plain", *shapes):
        assert difference == 0
    elif "light" in variant:
        assert changed.mean() < 0.6 * frame.mean()
    else:
        assert 0.2 < difference < 12 and abs(changed.mean() - frame.mean()) < 4
        red_minus_blue = [(image[..., 2].astype(int) - image[..., 0]).mean() for image in (changed, frame)]
        assert red_minus_blue[0] == pytest.approx(red_minus_blue[1], abs=4)


@pytest.mark.parametrize("variant", ["half size", "h264 32"])
def test_variants_are_of_the_frames_that_the_config_has_judged(clip, variant):
    """Spread over the clip's 80 frames, where by stride the first 60 would do."""
    config = SubmissionConfig(frame_stride=10, face_limit=2, frames="spread")
    frames = clips.VariantFrames(clip, variant, config)
    numbers = [index for index, _ in islice(frames, 2)]
    assert numbers == [0, 1] and frames.far == {0}
    assert frames._frames.seconds_of(1) > 1.5


def test_the_greater_rate_factor_loses_more(clip):
    plain = pictures(clip, "plain")[: SMALL.face_limit]
    loss = {}
    for variant in clips.H264:
        frames = pictures(clip, variant)
        loss[variant] = np.abs(np.stack(frames).astype(int) - plain).mean()
    assert loss["h264 38"] > 1.1 * loss["h264 32"]


class EveryOther:
    """A detector that finds a face in every second frame."""

    device = "cpu"

    def __init__(self):
        self.seen = 0

    def detect(self, frames, tracks=None):
        landmarks = np.array([(30, 40), (60, 40), (45, 55), (35, 70), (55, 70)], float)
        found = []
        for _ in frames:
            self.seen += 1
            found.append(Face(0.9, np.array([20, 20, 80, 80]), landmarks) if self.seen % 2 == 0 else None)
        return found


class Brightness:
    def predict(self, faces):
        return faces.max(axis=(1, 2, 3)) / 255


def test_scores_are_of_faces_up_to_the_limit():
    frames = ((level, np.full((100, 100, 3), level, np.uint8)) for level in range(0, 250, 10))
    scores = clips.face_scores(frames, EveryOther(), Brightness(), 5)
    np.testing.assert_allclose(scores, np.array([10, 30, 50, 70, 90]) / 255)
    assert len(clips.face_scores(iter([]), EveryOther(), Brightness(), 5)) == 0


def test_scores_that_are_no_numbers_are_told():
    class Overflown:
        def predict(self, faces):
            return np.full(len(faces), np.nan)

    frames = [(level, np.full((100, 100, 3), level, np.uint8)) for level in (10, 20)]
    with pytest.raises(WeightsError, match="no finite number"):
        clips.face_scores(frames, EveryOther(), Overflown(), 5)


def test_figures_and_tables():
    figures = clip_tables.clip_figures(np.array([0.1, 0.2, 0.6]), 0)
    assert figures["mean"] == pytest.approx(0.3) and figures["margin"] == pytest.approx(0.2)
    assert (figures["min"], figures["max"], figures["faces"]) == (0.1, 0.6, 3)
    assert figures["std"] == pytest.approx(np.std([0.1, 0.2, 0.6]))
    missed = clip_tables.clip_figures(np.array([0.1, 0.3]), 1)
    assert missed["margin"] == pytest.approx(-0.3)
    none = clip_tables.clip_figures(np.array([]), 1)
    alarm = clip_tables.clip_figures(np.array([0.8]), 0)
    rows = {"a": {"plain": figures, "dark": alarm}, "b": {"plain": missed, "dark": none}}
    labels = {"a": 0, "b": 1}
    table = clip_tables.means_table(rows, labels, ["plain", "dark"]).markdown().splitlines()
    assert table[2:] == [
        "| a | real | 0.300 | **0.800** |",
        "| b | fake | **0.200** | no face |",
        "| real clips above 0.5, of 1 | | 0 | 1 |",
    ]
    spread = clip_tables.spread_table(rows, labels, "plain").markdown().splitlines()
    assert spread[2] == "| a | real | 3 | 0.300 | 0.216 | 0.100 | 0.600 | 0.200 |"
    plain, dark = clip_tables.judged_clips(rows, labels)  # without the clip that has no face
    assert plain.labels.tolist() == [0, 1] and plain.scores.tolist() == pytest.approx([0.3, 0.2])
    assert (dark.name, dark.labels.tolist(), dark.scores.tolist()) == ("dark", [0], [0.8])


def test_clips_may_be_labelled_in_any_form(tmp_path):
    for name in ("a.mp4", "b.mov"):
        (tmp_path / name).touch()
    (tmp_path / "metadata.json").write_text('{"a.mp4": {"label": "FAKE", "original": "b"}}')
    (tmp_path / "own.csv").write_text("name;is_fake;original\na;1;b\nb;0;NaN\n")

    def found(*labels: Path) -> list[tuple]:
        named = clips.labelled_clips(tmp_path, labels)
        return [(clip.path.name, clip.label, clip.name) for clip in named]

    assert found() == [("a.mp4", 1, "a.mp4")]
    assert found(tmp_path / "own.csv") == [("a.mp4", 1, "a"), ("b.mov", 0, "b")]


def test_label_tables_of_no_use_are_named(tmp_path):
    with pytest.raises(DataError, match="labels.csv"):
        clips.labelled_clips(tmp_path)
    (tmp_path / "b.mp4").touch()
    texts = ("filename\na.mp4\n", "filename,label\na.mp4,1\n", "filename,label\n,x\n")
    wrong = [f"filename,label\nb.mp4,{label}\n" for label in ("0.7", "inf", "2", "maybe")]
    for text in (*texts, *wrong):
        (tmp_path / "labels.csv").write_text(text)
        with pytest.raises(DataError, match="labels.csv"):
            clips.labelled_clips(tmp_path)


def test_shared_clips_lie_in_the_folder_that_the_environment_names(tmp_path, monkeypatch):
    monkeypatch.setenv("DFDC_SHARED", str(tmp_path / "none"))
    assert clips.shared_folder() is None and clips.shared_clips() is None
    monkeypatch.setenv("DFDC_SHARED", str(tmp_path))
    assert clips.shared_folder() == tmp_path and clips.shared_clips() is None
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "labels.csv").touch()
    assert clips.shared_clips() == tmp_path / "videos"


def test_clips_of_packages_are_those_with_a_face():
    names = [clip.name for clip in clips.package_clips()]
    assert "single_face.mp4" in names and "face_noface.mov" in names and "no_face.mp4" not in names
    with pytest.raises(DataError, match="run: make setup"):
        clips.package_clips([("feat", "no_such_clip.mp4")])


def test_the_tool(clip, tmp_path, monkeypatch, capsys):
    """One real clip of the packages, one that is called fake; the plain form and one more."""
    shutil.copy(clip, tmp_path / "copy.mp4")
    (tmp_path / "labels.csv").write_text("filename,label\ncopy.mp4,1\n")
    monkeypatch.setattr(clips, "package_clips", lambda: [clips.LabelledClip(clip, 0, clip.name)])
    config = write_config(tmp_path / "conf.py", write_weights(tmp_path / "w.safetensors"))
    tool = load_script("evaluate.py")
    common = ["--config", str(config), "--videos", str(tmp_path)]
    chosen = ["--variants", "plain", "half size", "detect_size=320"]
    assert tool.main(["clips", *common, *chosen, "--output", str(tmp_path / "o")]) == 0
    said = capsys.readouterr().out
    assert "| clip | truth | plain | half size |" in said and "| copy.mp4 | fake | 2 |" in said
    assert said.strip() in (tmp_path / "o.md").read_text()
    data = json.loads((tmp_path / "o.json").read_text())
    assert "<svg" in (tmp_path / "o.html").read_text() and data["figures"]["plain"]["files"] == 2
    assert data["config"]["detect_size"] == 320 and data["labels"] == {clip.name: 0, "copy.mp4": 1}
    plain = data["clips"]["copy.mp4"]["plain"]
    assert plain["mean"] == pytest.approx(data["clips"][clip.name]["plain"]["mean"])
    assert plain["margin"] == pytest.approx(-data["clips"][clip.name]["plain"]["margin"])
    for folder, content in (("a", clip.read_bytes()), ("b", b"no video")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / clip.name).write_bytes(content)
        (tmp_path / folder / "labels.csv").write_text(f"filename,label\n{clip.name},1\n")
    unbuilt = str(write_config(tmp_path / "unbuilt.py", tmp_path / "none.safetensors"))  # told before that
    for code, part, arguments in (
        (1, f"two clips are called {clip.name}", [*common[:3], str(tmp_path / "a"), *chosen]),
        (1, "two clips are called", ["--config", unbuilt, *common[2:3], str(tmp_path / "a"), *chosen]),
        (2, "--variants 'rain'", [*common, "--variants", "rain"]),
        (1, "labels.csv", ["--config", str(config), "--videos", str(tmp_path / "none")]),
    ):
        assert tool.main(["clips", *arguments]) == code
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1 and part in error
