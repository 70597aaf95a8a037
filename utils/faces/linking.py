"""Which faces of a clip are of one person: each frame's faces are given to the persons known so far.

    persons = link(frames)         # frames: the faces of each, in the order of time -> a list of faces each

The frames that are judged lie 0.1 to 7 s apart. Over that, position alone says too little: it fails where two
people cross, after a cut, and where one comes back. A tracker for each frame of a video (SORT, ByteTrack)
predicts a motion that is over by the next frame. So a face costs what it is off in place, by its landmarks,
and in looks, by the colours of the whole aligned face, with its hair and what is beside it; of all ways to
give a frame's faces to persons, the cheapest is taken (Hungarian method).

Measured on 19 clips of one person each, of five places: a face was at most 11.8 LOOKS units from those of its
clip before it, those of clips of other places at least 10.7, 1% of them less than 11.5; place and looks
together cost at most 1.51 within a clip, and between clips, elsewhere in the picture, at least 1.89.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from utils.faces.stream import FoundFace

CELLS = 12  # a face's looks: so many cells each way, mean L, a, b of each
LOOKS = 12.0  # mean difference of these (0..255) that costs 1
REACH = 2.0  # eye distances that a face moves for a cost of 1; more costs no more
RECENT = 3  # frames after which a person can be anywhere
MOST_COST = 1.7  # above, it is someone else


@dataclass(eq=False)
class Linked:
    """One person: the faces so far, in their order, and how each of them looks (CELLS * CELLS * 3,)."""

    faces: list[FoundFace] = field(default_factory=list)
    looks: list[np.ndarray] = field(default_factory=list)
    last: int = 0  # number of the frame that the last face is of


def link(frames: Sequence[Sequence[FoundFace]]) -> list[list[FoundFace]]:
    """The faces of each person, in the order of the frames; persons in the order in which they come.

    frames: the faces of each frame, which are of different people.
    """
    from scipy.optimize import linear_sum_assignment  # here: clips of one person need none of scipy

    persons: list[Linked] = []
    for number, faces in enumerate(frames):
        looks = [looks_of(face.crop) for face in faces]
        costs = np.array([
            [cost(face, look, person, number) for person in persons]
            for face, look in zip(faces, looks, strict=True)
        ]).reshape(len(faces), len(persons))  # fmt: skip
        # what is too far counts alike, so that it never decides who gets which of the others
        rows, columns = linear_sum_assignment(costs.clip(max=MOST_COST))
        given = {
            row: persons[column]
            for row, column in zip(rows, columns, strict=True)
            if costs[row, column] < MOST_COST
        }
        for row, (face, look) in enumerate(zip(faces, looks, strict=True)):
            person = given.get(row)
            if person is None:
                persons.append(person := Linked())
            person.faces.append(face)
            person.looks.append(look)
            person.last = number
    return [person.faces for person in persons]


def cost(face: FoundFace, looks: np.ndarray, person: Linked, number: int) -> float:
    """What it costs to take a face of frame `number` for a person's; 0 = the same picture, not moved."""
    off = min(float(np.abs(looks - known).mean()) for known in person.looks) / LOOKS
    if number - person.last > RECENT:
        return off + 1
    return off + min(moved(person.faces[-1], face) / REACH, 1)


def moved(before: FoundFace, face: FoundFace) -> float:
    """How far a face is from another, by the middles of their landmarks, in distances between its eyes."""
    points, others = face.face.landmarks, before.face.landmarks
    eyes = max(float(np.linalg.norm(points[1] - points[0])), 1.0)
    return float(np.linalg.norm(points.mean(axis=0) - others.mean(axis=0))) / eyes


def looks_of(crop: np.ndarray) -> np.ndarray:
    """An aligned face (H, W, 3) uint8 BGR -> (CELLS * CELLS * 3,) float32: its colours, coarsely, in Lab."""
    cells = cv2.resize(crop, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    return cv2.cvtColor(cells, cv2.COLOR_BGR2LAB).astype(np.float32).ravel()
