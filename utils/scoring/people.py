"""Several people in a clip: which of their faces are judged, and whose score counts (`faces="all"`).

A clip is one of several people where its frames show them beside each other. Who is never seen beside another
isn't told apart: a cut within a clip of one person would else make two of her, and the highest of two scores
is higher. Then the largest face of each frame is judged, as published.

All of a clip's people share its face limit, so that the networks judge no more faces than of one person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from utils.faces.detector import Face
from utils.faces.linking import link
from utils.faces.stream import FoundFace
from utils.scoring.aggregate import is_seen_enough, people_in
from utils.scoring.verdict import FEW_FACES, LEAST_EYES


@dataclass(frozen=True)
class Chosen:
    """A face to judge, and whose it is: the number of the person in the clip, from 1 on."""

    found: FoundFace
    person: int


def faces_to_judge(found: Sequence[FoundFace], limit: int) -> list[Chosen]:
    """At most `limit` of a clip's faces, in the order of time, of the people who count in it.

    found: all faces of the clip, of each frame the largest first. Person 1 is the one with the largest face.
    """
    frames = by_frame(found)
    persons = people_who_count(frames) or [[faces[0] for faces in frames]]
    persons = persons[: most_people(limit)]
    persons.sort(key=lambda faces: -median_eyes(faces))
    shares = shares_of([len(faces) for faces in persons], limit)
    chosen = [
        Chosen(face, number)
        for number, (faces, share) in enumerate(zip(persons, shares, strict=True), 1)
        for face in evenly(faces, share)
    ]
    return sorted(chosen, key=lambda one: (when(one.found), one.person))


def by_frame(found: Sequence[FoundFace]) -> list[list[FoundFace]]:
    """A clip's faces by frame, in the order of time."""
    return [list(faces) for _, faces in groupby(sorted(found, key=when), key=lambda face: face.index)]


def people_who_count(frames: Sequence[Sequence[FoundFace]]) -> list[list[FoundFace]]:
    """The faces of each person seen in enough frames, who are seen in most of them first.

    Empty where too few frames show more than one. A person whose face is too small for a verdict counts only
    beside others of whom that is true: what is said of such a face is chance.
    """
    if people_in([len(faces) for faces in frames]) < 2:
        return []
    persons = [faces for faces in link(frames) if is_seen_enough(len(faces), len(frames))]
    large = [faces for faces in persons if median_eyes(faces) >= LEAST_EYES]
    return sorted(large or persons, key=len, reverse=True)


def most_people(limit: int) -> int:
    """How many people are judged at most by so many faces."""
    return min(limit, max(2, limit // FEW_FACES))


def shares_of(counts: Sequence[int], limit: int) -> list[int]:
    """How many faces of each person are judged, of `counts`: alike, and what one lacks goes to the others."""
    shares = [0] * len(counts)
    while sum(shares) < min(limit, sum(counts)):
        wanting = [place for place, count in enumerate(counts) if shares[place] < count]
        shares[min(wanting, key=shares.__getitem__)] += 1
    return shares


def evenly(faces: Sequence[FoundFace], count: int) -> list[FoundFace]:
    """So many of the faces, spread over all of them."""
    places = (np.arange(count) + 0.5) * len(faces) / max(count, 1)
    return [faces[place] for place in places.astype(int)]


def when(face: FoundFace) -> tuple[float, int]:
    """What sorts the faces of a clip by time; frames without a known time by their numbers."""
    return (0.0 if face.seconds is None else face.seconds), face.index


def eye_distance(face: Face) -> float:
    """Pixels between the eyes, in the frame."""
    return float(np.linalg.norm(face.landmarks[0] - face.landmarks[1]))


def median_eyes(faces: Sequence[FoundFace]) -> float:
    """Pixels between a person's eyes."""
    return float(np.median([eye_distance(face.face) for face in faces]))
