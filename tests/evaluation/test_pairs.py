"""Both rules for several people, measured: pairs of clips, and the tables of them."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from clips import write_clip
from scripts import load_script
from small_config import write_config, write_weights

from utils.evaluation.clips import LabelledClip
from utils.evaluation.pairs import HEIGHT, LENGTH, make_pair, pairs_of
from utils.evaluation.people_tables import reckoned_table
from utils.faces.video import FrameReader
from utils.scoring.verdict import limits_from


def level(image):
    return image.mean()


def test_pairs_are_laid_side_by_side_in_both_orders_at_one_pace(tmp_path):
    """Half as many frames a second are shown twice; two fakes make no pair."""
    clips = []
    for name, grey, height, label in (("a", 60, 60, 0), ("b", 120, 120, 1), ("c", 200, 60, 1)):
        path = write_clip(tmp_path / f"{name}.mp4", [np.full((height, 80, 3), grey, np.uint8)] * 30)
        clips.append(LabelledClip(path, label, path.name))
    pairs = pairs_of(clips)
    assert [(pair.name, pair.label) for pair in pairs] == [
        ("a.mp4 + b.mp4", 1), ("a.mp4 + c.mp4", 1), ("b.mp4 + a.mp4", 1), ("c.mp4 + a.mp4", 1)
    ]  # fmt: skip
    path = make_pair(pairs[0], tmp_path / "pair.mp4")
    frames = [frame for _, frame in FrameReader(path)]
    assert len(frames) == 30 <= LENGTH * 25 and frames[0].shape == (HEIGHT, 640 + 320, 3)
    assert [level(frames[9][:, :600]), level(frames[9][:, 680:])] == pytest.approx([60, 120], abs=8)


def test_what_comes_of_two_people_is_reckoned_from_single_ones():
    limits = limits_from({"reals": np.linspace(0, 0.6, 400)}, {"fakes": np.linspace(0.4, 1, 900)})
    rows = reckoned_table(limits).rows
    rows = {name: [float(cell.rstrip("%")) / 100 for cell in cells] for name, *cells in rows}
    alone, fake = limits.shares(limits.reals), limits.shares(limits.fakes)
    assert rows["two real people: largest"] == pytest.approx(alone, abs=0.002)
    assert rows["two real people: all"][0] == pytest.approx(alone[0] ** 2, abs=0.002)
    assert rows["two real people: all"][2] == pytest.approx(1 - (1 - alone[2]) ** 2, abs=0.002)
    both = rows["a fake beside a real one: largest"][2], rows["a fake beside a real one: all"][2]
    assert both[0] == pytest.approx((alone[2] + fake[2]) / 2, abs=0.002) and both[1] >= fake[2]


def test_the_command_measures_both_rules(tmp_path, clip, capsys):
    """A labelled clip of one real person and a mirrored one, called fake."""
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(clip, folder / "a.mp4")
    frames = [cv2.resize(frame, None, fx=0.5, fy=0.5)[:, ::-1] for _, frame in FrameReader(clip)]
    write_clip(folder / "b.mp4", frames)
    (folder / "broken.mp4").write_bytes(b"no video")
    (folder / "labels.csv").write_text("filename,label\nbroken.mp4,1\na.mp4,0\nb.mp4,1\n")
    config = write_config(tmp_path / "c.py", write_weights(tmp_path / "w.safetensors"), face_limit=4)
    code = load_script("evaluate.py").main(["people", "--videos", str(folder), "--config", str(config),
                                            "--output", str(tmp_path / "p"), "--device", "cpu"])  # fmt: skip
    assert code == 0
    lines = Path(tmp_path / "p.md").read_text().splitlines()
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in lines if line.startswith("| ")}
    assert rows["a.mp4"][2] == rows["a.mp4"][3] and len(rows["a.mp4"][4].strip("| ").split(", ")) == 1
    for pair in ("a.mp4 + b.mp4", "b.mp4 + a.mp4"):
        persons = sorted(float(score) for score in rows[pair][4].strip("| ").split(", "))
        assert len(persons) == 2 and float(rows[pair][3].strip("*")) == persons[1]
    assert rows["two people, fake: all"][1] == "2"
    failed = json.loads((tmp_path / "p.json").read_text())["failed"]
    assert list(failed) == ["broken.mp4"] and failed["broken.mp4"] in rows["broken.mp4"][1]
