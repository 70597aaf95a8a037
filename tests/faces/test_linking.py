"""Faces given to people through time: crossing, leaving, entering, cuts, and looks that change."""

import numpy as np
import pytest

from utils.faces.detector import Face
from utils.faces.linking import link
from utils.faces.stream import FoundFace

POINTS = np.array([(-20, -15), (20, -15), (0, 5), (-15, 25), (15, 25)], np.float32)  # eyes 40 apart
LOOKS = {"a": (60, 90, 150), "b": (150, 120, 100), "c": (40, 40, 60)}  # BGR


def seen(who, x, index, lighter=0):
    """A face of someone at x, in frame `index`, with some noise; `who` is kept as its score's place."""
    noise = np.random.default_rng([index, ord(who)]).normal(lighter, 8, (320, 320, 3))
    crop = (np.array(LOOKS[who]) + noise).clip(0, 255).astype(np.uint8)
    box = np.array([x - 40, 60, x + 40, 160], np.float32)
    return FoundFace(index, Face(ord(who), box, POINTS + [x, 100]), crop, index / 2)


def people(*frames):
    """Who each linked person is, frame by frame, of frames as {who: x} or lists of faces."""
    faces = [
        [seen(who, x, index) for who, x in frame.items()] if isinstance(frame, dict) else frame
        for index, frame in enumerate(frames)
    ]
    return ["".join(chr(int(face.face.score)) for face in person) for person in link(faces)]


def test_two_people_who_stay_are_two_whatever_the_order_of_their_faces():
    assert people({"a": 100, "b": 400}, {"b": 405, "a": 110}, {"a": 90, "b": 395}) == ["aaa", "bbb"]


def test_two_people_who_cross_keep_their_faces():
    """From one frame to the next each is where the other was."""
    assert people({"a": 100, "b": 400}, {"a": 400, "b": 100}, {"a": 410, "b": 90}) == ["aaa", "bbb"]


def test_who_leaves_and_comes_back_elsewhere_is_the_same_and_who_enters_is_new():
    frames = [{"a": 100, "b": 400}, *[{"a": 100}] * 6, {"a": 100, "b": 250}, {"c": 400, "a": 100}]
    assert people(*frames) == ["a" * 9, "bb", "c"]


def test_who_takes_anothers_place_is_someone_else():
    assert people({"a": 100, "b": 400}, {"c": 100, "b": 400}) == ["a", "bb", "c"]


def test_a_face_whose_light_changes_in_its_place_stays_the_same():
    before, after = [seen("a", 100, 0), seen("b", 400, 0)], [seen("b", 402, 1, 15), seen("a", 103, 1, 15)]
    assert people(before, after) == ["aa", "bb"]


@pytest.mark.parametrize("frames", [[], [[]], [[], []]])
def test_no_faces_are_nobody(frames):
    assert link(frames) == []
