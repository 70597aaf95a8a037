"""Every face of a frame, not the largest alone: for clips of several people.

    detector = PeopleDetector(detector)         # a FaceDetector, a FaceTracker or an UprightDetector
    faces = detector.detect(frames, tracks)     # a list of faces for each frame, the largest first

Of the candidates above the threshold each face keeps the one with the largest box; as in the published rule,
that is the one whose landmarks count. Non-maximum suppression as RetinaFace's authors have it would keep the
one with the highest score, and the first face of a frame would not be the published one.

Others than the one seen last can be anywhere, so every frame is searched as a whole. Where frames are reduced
for that, as a `FaceTracker` does, each face's landmarks come from a window around it at the frame's own
scale: a person more costs a window more. A face too small for the reduced frame is found only where no other
is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from utils.faces.boxes import distinct
from utils.faces.detector import Face, FaceDetector
from utils.faces.tracker import RETRIES, FaceTracker, Track, is_due
from utils.faces.upright import ON_ITS_HEAD, UprightDetector, tilt, turned_back
from utils.faces.windows import WindowDetector, is_same_face

MOST_FACES = 6  # of a frame, the largest; each costs a window, and memory for an aligned face


class EveryFace(FaceDetector):
    """A `FaceDetector` whose `detect` gives a list for each frame: all its faces, the largest first."""

    @torch.inference_mode()
    def _detect_batch(self, frames: list[np.ndarray]) -> list[list[Face]]:
        return [every_face(*found) for found in self._candidates(frames)]


def every_face(scores: np.ndarray, boxes: np.ndarray, landmarks: np.ndarray) -> list[Face]:
    """The faces that candidates are of, at most MOST_FACES, the largest first.

    scores (N,), boxes (N, 4) x1, y1, x2, y2 and landmarks (N, 5, 2), in pixels. `people` of each is how many
    there are in all.
    """
    places = distinct(boxes)
    return [
        Face(float(scores[place]), boxes[place].copy(), landmarks[place].copy(), len(places))
        for place in places[:MOST_FACES]
    ]


class PeopleDetector:
    """Finds every face, where the detector it stands in for finds the largest; reduces and turns as it does.

    It searches each frame as a whole, also where that one would look near the last face alone.
    """

    def __init__(self, detector: FaceDetector | FaceTracker | UprightDetector):
        self.upright = detector if isinstance(detector, UprightDetector) else None
        inner = detector.detector if isinstance(detector, UprightDetector) else detector
        self.has_windows = isinstance(inner, FaceTracker)
        plain = inner.whole if isinstance(inner, FaceTracker) else inner
        self.whole, self.near = EveryFace.like(plain, plain.detect_size), EveryFace.like(plain, None)
        self.windows = WindowDetector(self.near)
        self.device, self.precision = plain.device, plain.precision

    def detect(
        self, frames: Sequence[np.ndarray], tracks: Sequence[Track] | None = None
    ) -> list[list[Face]]:
        """All faces of each frame, the largest first; those on their head don't count if frames are turned.

        frames: uint8 BGR (H, W, 3); those of one video in its order. tracks: one for each video; None = each
        frame is a picture of its own. Raises ValueError for an array that is no such image.
        """
        tracks = [Track() for _ in frames] if tracks is None else tracks
        if self.upright is None:
            return self._search(frames, tracks)
        turns, turned = self.upright.turned(frames, tracks)
        return [
            [
                turned_back(face, turn, *frame.shape[:2])
                for face in faces
                if tilt(face.landmarks) < ON_ITS_HEAD
            ]
            for faces, turn, frame in zip(self._search(turned, tracks), turns, frames, strict=True)
        ]

    def _search(self, frames: Sequence[np.ndarray], tracks: Sequence[Track]) -> list[list[Face]]:
        faces = self.whole.detect(frames)
        if not self.has_windows:
            return faces
        reduced = [number for number, frame in enumerate(frames) if self.whole.reduces(*frame.shape[:2])]
        places = {number: [face.box for face in faces[number]] for number in reduced}
        precise = self._search_near(frames, places)
        for number in reduced:
            track, frame = tracks[number], frames[number]
            due = is_due(track, frame)
            found = precise[number] or self._search_lost(frame, track, due)
            people = max(len(places[number]), len(found))
            faces[number] = [replace(face, people=people) for face in found]
            if due or found:
                track.boxes = [face.box for face in found]
            track.missed = 0 if found else track.missed + 1
        return faces

    def _search_lost(self, frame: np.ndarray, track: Track, due: bool) -> list[Face]:
        """A frame in which its reduced picture shows no face: near the last ones, then as it is, as often as
        a `FaceTracker` does."""
        near = [] if due else self._search_near([frame], {0: track.boxes})[0]
        if near or not (due or track.missed in RETRIES):
            return near
        return self.near.detect([frame])[0]

    def _search_near(
        self, frames: Sequence[np.ndarray], places: Mapping[int, Sequence[np.ndarray]]
    ) -> dict[int, list[Face]]:
        """The faces in windows around some boxes of frames, by their numbers; each face of a frame once."""
        searched = [(number, box) for number in places for box in places[number]]
        windows = self.windows.detect(
            [frames[number] for number, _ in searched], [box for _, box in searched]
        )
        found: dict[int, list[Face]] = {number: [] for number in places}
        for (number, box), (window, faces) in zip(searched, windows, strict=True):
            face = same_face(faces, box, window, *frames[number].shape[:2])
            if face is not None:
                found[number].append(face)
        return {number: each_once(faces) for number, faces in found.items()}


def same_face(
    faces: Sequence[Face], near: np.ndarray, window: tuple[int, int, int, int], height: int, width: int
) -> Face | None:
    """That of a window's faces which the box `near` of a frame of height x width is of, in pixels of the
    frame; None if none is."""
    corner, best, least = np.array(window[:2], np.float32), None, np.inf
    for face in faces:
        moved = replace(face, box=face.box + np.tile(corner, 2), landmarks=face.landmarks + corner)
        centre = (moved.box[:2] + moved.box[2:]) / 2
        off = float(np.abs(centre - (near[:2] + near[2:]) / 2).max())
        is_inside = ((centre >= near[:2]) & (centre <= near[2:])).all()
        if is_inside and off < least and is_same_face(moved.box, near, window, height, width):
            best, least = moved, off
    return best


def each_once(faces: Sequence[Face]) -> list[Face]:
    """Faces without those that are of one of the others, the largest first."""
    if not faces:
        return []
    return [faces[place] for place in distinct(np.stack([face.box for face in faces]))]
