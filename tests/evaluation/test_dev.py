"""The dev score: its rule worked by hand, faces and logits kept, candidates in one table."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scripts import load_script
from small_config import SMALL

from models import xception
from utils.core.errors import ConfigError, DataError, WeightsError
from utils.evaluation import dev_score, dev_set
from utils.evaluation.command_dev import named_list
from utils.evaluation.dev_score import Candidate, Member, combined, judged, read_candidate
from utils.evaluation.dev_set import Part, Sizes, Sources
from utils.evaluation.measures import half_of, labelled_faces
from utils.scoring.config import SubmissionConfig
from utils.scoring.verdict import Limits, limits_for
from utils.weights.checkpoint import read_metadata, save_weights, tensors_digest
from utils.weights.preprocess import PREPROCESS_KEY


def part(group: str, is_fake: bool, owners) -> Part:
    return Part(group, is_fake, None, tuple(owners))


PARTS = [part("plain", False, range(20)), part("plain", True, range(20)), part("swaps", True, range(20)),
         part("clips", False, [0] * 10 + [1] * 2)]  # fmt: skip


def logits() -> dict:
    """Reals: 2 of 20 above 0; of the first clip's faces one in ten, of the second's none."""
    real = np.linspace(-4, -1, 20)
    real[:2] = 0.5, 1.5
    clips = np.full(12, -2.0)
    clips[3] = 3.0
    return {("plain", False): real, ("plain", True): np.full(20, 2.0), ("swaps", True): np.full(20, 1.0),
            ("clips", False): clips}  # fmt: skip


def test_score_is_the_mean_auc_less_twice_what_the_worst_group_exceeds():
    row = judged(PARTS, logits())
    assert row["auc"] == {"plain": 1.0, "swaps": pytest.approx(1 - 1 / 20)}
    assert row["false_alarms"] == {"plain": pytest.approx(0.1), "clips": pytest.approx(0.05)}
    assert row["worst"] == "plain" and row["score"] == pytest.approx(0.975 - 2 * 0.02)
    # One of 20 may stay above: the limit is the logit of the other.
    assert row["bias"] == -0.5 and row["found"] == 1.0
    moved = {key: values + row["bias"] for key, values in logits().items()}
    assert judged(PARTS, moved)["false_alarms"]["plain"] == 0.05
    assert judged(PARTS, moved)["score"] == judged(PARTS, moved)["mean_auc"]


def test_means_are_of_logits_or_of_probabilities():
    key = ("plain", False)
    views = [[{key: np.array([2.0])}, {key: np.array([4.0])}], [{key: np.array([-1.0])}]]
    assert combined(views, [0.75, 0.25], "logits")[key] == pytest.approx(0.75 * 3 - 0.25)
    p = 1 / (1 + np.exp(-np.array([2.0, 4.0, -1.0])))
    mean = 0.75 * p[:2].mean() + 0.25 * p[2]
    assert combined(views, [0.75, 0.25], "probabilities")[key] == pytest.approx(np.log(mean / (1 - mean)))


def test_a_candidate_is_named_with_files_and_weights():
    assert read_candidate("a=x.safetensors", "logits", False).members[0].weight == 1
    both = read_candidate("b=x.st:.6,y.st:.4", "logits", True)
    assert [member.weight for member in both.members] == [0.6, 0.4] and both.flip
    for text in ("x.st", "=x.st", "a=", "a=x:.6,y:.6", "a=x:many"):
        with pytest.raises(ConfigError):
            read_candidate(text, "logits", False)


def test_halves_depend_on_the_name_alone():
    names = [f"v{k}" for k in range(400)]
    halves = [half_of(name) for name in names]
    assert set(halves) == {"A", "B"} and 150 < halves.count("A") < 250


@pytest.fixture(scope="module")
def made(face, tmp_path_factory):
    """Lists of eight videos with crops, and the parts that are made of them."""
    import cv2

    folder = tmp_path_factory.mktemp("dev")
    rows = []
    for k in range(16):
        name = f"v{k:02d}"
        (folder / "faces" / name).mkdir(parents=True)
        cv2.imwrite(str(folder / "faces" / name / "000.png"), np.roll(face, 3 * k, axis=1)[..., ::-1])
        rows.append(f"{name},{k % 2},1,val")
    for file, set_name in (("val.csv", "val"), ("other.csv", "dev")):
        text = "\n".join(rows).replace(",val", f",{set_name}")
        (folder / file).write_text(f"name,is_fake,n_frame,set_name\n{text}\n")
    (folder / "clips").mkdir()
    for name in ("a.mp4", "b.mp4"):
        (folder / "clips" / name).write_bytes(b"read by the test")
    return folder


def no_swaps(targets, donors, most):
    return iter([(0, dev_set.read_face(targets[0])[::-1])])


def build(folder, kept, monkeypatch, read_clips, failed=None):
    monkeypatch.setattr(dev_set, "swaps", no_swaps)  # swapping is tested in test_swaps
    sources = Sources(folder / "val.csv", folder / "other.csv", folder / "faces", folder / "clips")
    sizes = Sizes(val_reals=2, val_fakes=2, elsewhere=2, clip_faces=3)
    return dev_set.dev_set(sources, sizes, kept, read_clips, failed)


def test_parts_are_made_once_of_half_b(made, tmp_path, monkeypatch, face):
    read = []

    def read_clips(paths):
        read.extend(path.name for path in paths)
        return [[face] * (5 if path.name == "a.mp4" else 1) for path in paths]

    parts = build(made, tmp_path, monkeypatch, read_clips)
    groups = {(part.group, part.is_fake): part for part in parts}
    assert groups["clips", False].owners == (0, 0, 0, 1) and read == ["a.mp4", "b.mp4"]
    assert set(dev_set.DAMAGE) <= {group for group, _ in groups}
    plain, smooth = groups["plain", False].faces(), groups["bilateral", False].faces()
    assert plain.shape == smooth.shape == (2, 320, 320, 3) and not np.array_equal(plain, smooth)
    drawn = labelled_faces(made / "val.csv", made / "faces", "val", half="B").paths
    assert drawn and all(half_of(path.parent.name) == "B" for path in drawn)
    again = build(made, tmp_path, monkeypatch, read_clips)
    assert again == parts and len(read) == 2
    assert np.array_equal(again[0].faces(), parts[0].faces())


def test_parts_without_a_clip_that_failed_are_not_kept(made, tmp_path, monkeypatch, face):
    read, failed = [], {}

    def read_clips(paths):
        read.append(len(paths))
        failed.setdefault("a.mp4", "given up")
        return [[], [face]]

    for runs in (1, 2):
        failed.clear()
        parts = build(made, tmp_path, monkeypatch, read_clips, failed)
        assert next(part for part in parts if part.group == "clips").owners == (1,)
        assert len(read) == runs and failed


def test_what_was_said_of_other_parts_is_not_taken_for_these(tmp_path):
    def make(level):
        return lambda: iter([("plain", False, [(0, np.full((320, 320, 3), level, np.uint8))])])

    [first] = dev_set.kept_parts(tmp_path, "first", make(1))
    np.savez(tmp_path / "net.npz", **{dev_score.key_of(first): np.zeros(1)})
    assert dev_set.kept_parts(tmp_path, "first", make(2)) == [first] and first.faces().max() == 1
    assert (tmp_path / "net.npz").exists()
    [other] = dev_set.kept_parts(tmp_path, "second", make(2))
    assert other.faces().min() == 2 and not (tmp_path / "net.npz").exists()


def weights(path, seed: int, **metadata):
    import torch

    torch.manual_seed(seed)
    save_weights(xception(num_classes=2), path, {PREPROCESS_KEY: SMALL.to_metadata(), **metadata})
    return path


def test_each_network_scores_a_face_once(made, tmp_path, monkeypatch, face):
    parts = build(made, tmp_path, monkeypatch, lambda paths: [[face] for _ in paths])
    one, two = (weights(tmp_path / f"{k}.safetensors", k, network="xception") for k in (1, 2))
    both = Candidate("both", (Member(one, 0.5), Member(two, 0.5)))
    row = dev_score.row_of(both, parts, tmp_path, "cpu")
    monkeypatch.setattr(dev_score, "build_ensemble", lambda *_: pytest.fail("it was scored again"))
    assert dev_score.row_of(both, parts, tmp_path, "cpu") == row
    alone = dev_score.row_of(Candidate("one", (Member(one, 1.0),)), parts, tmp_path, "cpu")
    assert set(alone["auc"]) == {"plain", *dev_set.DAMAGE, "swaps", "swaps elsewhere"}
    assert "/" not in json.dumps(row["members"])
    table = dev_score.markdown([row, alone])
    assert "| both | 0.5 `1.safetensors` + 0.5 `2.safetensors` | logits | no |" in table
    with pytest.raises(WeightsError, match="unnamed"):
        unnamed = Member(weights(tmp_path / "unnamed.safetensors", 3), 1.0)
        dev_score.row_of(Candidate("x", (unnamed,)), parts, tmp_path, "cpu")


def test_a_files_content_is_its_tensors_not_its_notes(tmp_path):
    one = weights(tmp_path / "a.safetensors", 1, network="xception")
    noted = weights(tmp_path / "b.safetensors", 1, network="xception", note="more")
    other = weights(tmp_path / "c.safetensors", 2, network="xception")
    contents = [tensors_digest(path) for path in (one, noted, other)]
    assert contents[0] == contents[1] != contents[2]


def test_the_verdicts_limits_are_written_into_the_files(made, tmp_path, monkeypatch, face):
    parts = build(made, tmp_path, monkeypatch, lambda paths: [[face] for _ in paths])
    files = [weights(tmp_path / f"{k}.safetensors", k, network="xception", note="kept") for k in (1, 2)]
    before = [tensors_digest(path) for path in files]
    both = Candidate("both", tuple(Member(path, 0.5) for path in files))
    names = {"plain": "Ours", "elsewhere": "Theirs"}
    limits = dev_score.state_limits(both, parts, tmp_path, "cpu", names)
    ensemble = [("xception", str(path), 0.5) for path in files]
    config = SubmissionConfig(ensemble=ensemble, combine="logits")
    assert limits_for(config) == limits and limits_for(replace(config, flip=True)) is None
    assert [count for count, _ in limits.reals.sets] == [2, 2]  # faces and clips
    assert [count for count, _ in limits.fakes.sets] == [2, 1 + 1] and len(limits.fakes.scores) == 4
    assert "Theirs" in limits.reals.sets[0][1] and "Ours" in limits.fakes.sets[0][1]
    assert [tensors_digest(path) for path in files] == before
    assert read_metadata(files[0])["note"] == "kept"


def test_the_command_states_limits_by_the_names_of_the_lists(made, tmp_path, monkeypatch, face):
    parts = build(made, tmp_path, monkeypatch, lambda paths: [[face] for _ in paths])
    monkeypatch.setattr(dev_set, "dev_set", lambda sources, *_: parts * (sources.val == made / "val.csv"))
    path = weights(tmp_path / "one.safetensors", 1, network="xception")
    lists = ["--val", f"Ours={made / 'val.csv'}", "--elsewhere", str(made / "other.csv")]
    kept = tmp_path / "kept"
    kept.mkdir()
    folders = ["--faces", str(made / "faces"), "--clips", str(made / "clips"), "--kept", str(kept)]
    assert load_script("evaluate.py").main(["dev", f"one={path}", *lists, *folders, "--limits"]) == 0
    limits = Limits.from_metadata(read_metadata(path)["verdict"])
    assert limits.reals.name == "2 real faces of other and 2 real clips" and "Ours" in limits.fakes.name


def test_a_list_is_called_by_a_name_that_is_given_or_by_its_own(tmp_path):
    assert named_list("A=lists/utk.csv") == ("A", Path("lists/utk.csv"))
    assert named_list("lists/utk.csv") == ("utk", Path("lists/utk.csv"))
    odd = tmp_path / "a=b.csv"
    odd.touch()
    assert named_list(str(odd)) == ("a=b", odd)


def test_candidates_join_the_table_that_is_there(tmp_path):
    assert dev_score.rows_in(None) == dev_score.rows_in(tmp_path / "dev") == []
    (tmp_path / "dev.json").write_text(json.dumps({"candidates": [{"name": "a"}]}))
    assert dev_score.rows_in(tmp_path / "dev") == [{"name": "a"}]
    (tmp_path / "dev.json").write_text("[]")
    with pytest.raises(DataError, match="dev.json"):
        dev_score.rows_in(tmp_path / "dev")


def test_parts_are_made_anew_when_a_clip_has_changed(made, tmp_path, monkeypatch, face):
    read = []

    def read_clips(paths):
        read.append(len(paths))
        return [[face] for _ in paths]

    build(made, tmp_path, monkeypatch, read_clips)
    os.utime(made / "clips" / "a.mp4", (1, 1))
    build(made, tmp_path, monkeypatch, read_clips)
    build(made, tmp_path, monkeypatch, read_clips)
    assert len(read) == 2
