"""Several people in a clip: who counts, which of their faces are judged, and what comes of it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from clips import write_clip
from readers import MeanRed
from small_config import write_weights

from utils.core.errors import ConfigError
from utils.faces.detector import Face
from utils.faces.people import PeopleDetector
from utils.faces.stream import FoundFace
from utils.scoring.config import SubmissionConfig
from utils.scoring.people import faces_to_judge, most_people, shares_of
from utils.scoring.scorer import build, score_media

EYES = np.array([(-20, -15), (20, -15), (0, 5), (-15, 25), (15, 25)], np.float32)
COLOURS = (60, 110, 160, 210)


def found(person, index, x=None, size=1.0):
    x = 100 + 300 * person if x is None else x
    box = np.array([x - 40 * size, 100 - 50 * size, x + 40 * size, 100 + 50 * size], np.float32)
    crop = np.full((320, 320, 3), COLOURS[person], np.uint8)
    return FoundFace(index, Face(0.9, box, EYES * size + [x, 100]), crop, float(index))


def chosen_of(faces, limit):
    """{person: frames of the faces to judge}."""
    people = {}
    for one in faces_to_judge(faces, limit):
        people.setdefault(one.person, []).append(one.found.index)
    return people


def test_one_person_is_judged_by_all_faces_whatever_else_a_frame_shows():
    faces = [found(0, index) for index in range(8)]
    assert chosen_of(faces, 25) == {1: list(range(8))}
    assert chosen_of([*faces[:4], found(1, 3), *faces[4:]], 25) == {1: list(range(8))}  # a false alarm


def test_who_is_never_seen_beside_another_is_not_told_apart():
    """Shot and reverse shot: as published, the largest face of each frame."""
    assert chosen_of([found(index % 2, index) for index in range(8)], 25) == {1: list(range(8))}


def test_two_people_share_the_limit_evenly_over_the_clip():
    faces = [found(person, index) for index in range(10) for person in (0, 1)]
    people = chosen_of(faces, 8)
    assert sorted(people) == [1, 2] and [len(frames) for frames in people.values()] == [4, 4]
    assert people[1] == [1, 3, 6, 8]
    few = [*faces, found(2, 3)]
    assert {len(frames) for frames in chosen_of(few, 25).values()} == {10}  # a passer-by doesn't count


def test_a_face_too_small_for_a_verdict_counts_beside_small_ones_alone():
    small = [found(1, index, size=0.5) for index in range(6)]
    large, others = [found(0, index) for index in range(6)], [found(2, index, size=0.4) for index in range(6)]
    assert chosen_of([*large, *small], 25) == {1: list(range(6))}
    assert len(chosen_of([*small, *others], 25)) == 2


def test_the_limit_bounds_people_and_faces():
    assert shares_of([20, 20], 25) == [13, 12] and shares_of([3, 20, 1], 25) == [3, 20, 1]
    assert shares_of([3, 30], 25) == [3, 22] and shares_of([], 25) == []
    assert [most_people(limit) for limit in (1, 2, 10, 25)] == [1, 2, 2, 5]
    crowd = [found(person, index) for index in range(9) for person in range(4)]
    assert sum(map(len, chosen_of(crowd, 10).values())) == 10 and len(chosen_of(crowd, 10)) == 2


class TwoPeople:
    """A detector that sees a face in the left half of a frame, and one in the right if it isn't black."""

    device = torch.device("cpu")

    def detect(self, frames, tracks=None):
        landmarks = np.array([(22, 41), (97, 41), (60, 78), (37, 125), (82, 125)], np.float32)
        faces = []
        for frame in frames:
            half = frame.shape[1] // 2
            both = [landmarks, landmarks + [half, 0]] if frame[80, -60].max() > 60 else [landmarks]
            faces.append([
                Face(0.9, np.array([*(points.min(0) - 20), *(points.max(0) + 20)]), points, len(both))
                for points in both
            ])  # fmt: skip
        return faces


def coloured(path, left, right=None, count=55):
    """A clip whose left half has one red (0..255), and whose right half another, black for None."""
    frame = np.zeros((160, 320, 3), np.uint8)
    frame[:, :160] = (90, 90, left)
    if right is not None:
        frame[:, 160:] = (200, 30, right)
    return write_clip(path, [frame] * count, "mpeg4")


def test_one_person_scores_as_by_the_published_rule_and_of_two_the_higher_counts(tmp_path):
    alone = coloured(tmp_path / "alone.mp4", 60)
    both = coloured(tmp_path / "both.mp4", 60, 220)
    config = SubmissionConfig(faces="all", batch_size=4, face_limit=4)
    one, two = score_media([alone, both], TwoPeople(), MeanRed(), config, keep=1)
    assert (one.faces, len(one.persons), one.people, one.remark) == (4, 1, 1, "")
    assert one.probability == pytest.approx(60 / 255, abs=0.03) and one.persons[0].evidence == one.evidence
    assert [person.faces for person in two.persons] == [2, 2] and two.faces == 2
    scores = sorted(person.probability for person in two.persons)
    assert scores == pytest.approx([60 / 255, 220 / 255], abs=0.05)
    assert two.probability == scores[1] and two.remark == "2 people judged, the higher counts"
    assert sorted(face.person for face in two.detail.faces) == [1, 1, 2, 2]
    assert len(two.detail.probabilities) == len(two.by_network) == 4 and two.people == 2


def test_the_key_is_checked_and_the_default_is_as_published(tmp_path):
    weights = write_weights(tmp_path / "w.safetensors")
    config = SubmissionConfig(ensemble=[("xception", str(weights), 1.0)])
    assert config.faces == "largest" and not isinstance(build(config, "cpu")[0], PeopleDetector)
    with pytest.raises(ConfigError, match="faces"):
        SubmissionConfig(faces="two")


def test_a_real_clip_of_one_person_has_the_score_of_the_published_rule(tmp_path, clip):
    weights = str(write_weights(tmp_path / "w.safetensors"))
    both = []
    for rule in ("largest", "all"):
        config = SubmissionConfig(
            faces=rule, ensemble=[("xception", weights, 1.0)], face_limit=3, frame_stride=20, turn=True
        )
        [result] = score_media([Path(clip)], *build(config, "cpu"), config)
        both.append(result)
    assert both[0].probability == both[1].probability and both[0].evidence == both[1].evidence
    assert both[0].faces == both[1].faces == 3
