"""Find the largest face of each frame of a video by looking near where it was last seen.

    tracker = FaceTracker(detector)
    track = Track()                                              # one for each video
    faces = tracker.detect(frames, [track] * len(frames))        # one Face or None per frame, in order

Where a face is, a reduced frame tells; its landmarks come from a window around it at the frame's own scale.
That window lies on the detector's coarsest grid, so it holds the same anchors as the whole frame and gives
the same landmarks wherever it is wide enough. Half the size would not do: with other anchors, the landmarks
of the largest box, often one that hardly exceeds the threshold, move by some 5 pixels of the aligned face.

A video is cut into runs of `LOOK_EVERY` frames, and a cut in the picture begins a new one. The first frame
of a run is looked at as a whole, which notices a larger face that came in, and if that finds none, unreduced
(a face of 50 pixels is lost in a 1080p frame reduced to 640). The others are searched near the last place.
Where that fails, the frame is looked at as a whole, too: reduced, and where that fails unreduced, but not
each of a row of frames without a face (`RETRIES`). What is found there is the place where the next frames
are searched. So what is found in a frame depends on its video alone, not on how frames were put together in
calls.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from utils.faces.detector import Face, FaceDetector, check_frame
from utils.faces.windows import WindowDetector, is_same_face

LOOK_EVERY = 8  # frames
# A frame in which a reduced look finds no face is searched unreduced, too, if so many before it, in a row,
# had none; more often, a video without faces would take as long as with every frame searched as it is.
RETRIES = (0, 1, 3)
# A cut: the mean change of grey level from the frame before, over a coarse raster of pixels.
RASTER = 32  # pixels on the longer side
CUT = 35.0


@dataclass
class Orientation:
    """Which way up one video's pictures are; `utils.faces.upright` finds it out.

    turn: quarters, counter-clockwise, that set them upright; None = not known, after `tries` frames, of which
    the last one that told anything told `guess`.
    """

    turn: int | None = None
    guess: int | None = None
    tries: int = 0


@dataclass
class Track:
    """What is known of one video's face: its box when last looked for, x1, y1, x2, y2, and since when."""

    box: np.ndarray | None = None
    looked_before: int = LOOK_EVERY  # frames
    missed: int = 0  # frames in a row, up to the last one, without a face
    raster: np.ndarray | None = None  # of the frame before
    boxes: list[np.ndarray] = field(default_factory=list)  # of all faces of the last frame that had any
    orientation: Orientation = field(default_factory=Orientation)

    def anew(self) -> Track:
        """That of a frame which the one before says little of: only which way up the video is, for both."""
        return Track(orientation=self.orientation)


@dataclass
class _Search:
    """One frame and what has been found in it so far."""

    frame: np.ndarray
    track: Track
    is_due: bool
    near: np.ndarray | None = None  # the box to search around
    is_tried: bool = False  # that has been done
    face: Face | None = None
    people: int | None = None  # in the whole frame, if that was searched

    def around(self, box: np.ndarray | None) -> None:
        """The box to search around; what was found around another is forgotten."""
        if box is not self.near:
            self.near, self.is_tried, self.face = box, False, None


class FaceTracker:
    """A `FaceDetector` that searches near the last face; `detect` is that of the detector, a track besides.

    detector: its detect_size is what whole frames are reduced to; windows are searched as they are.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self.whole = detector
        self.device, self.precision = detector.device, detector.precision
        self.near = FaceDetector.like(detector, None)
        self.windows = WindowDetector(self.near)

    def detect(
        self, frames: Sequence[np.ndarray], tracks: Sequence[Track] | None = None
    ) -> list[Face | None]:
        """The largest face of each frame, or None, in the order of the frames.

        frames: uint8 BGR images (H, W, 3); those of one video in its order. tracks: for each frame the
        `Track` of its video, which is brought up to date; None: frames that have nothing to do with each
        other. Raises ValueError for an array that is no such image.
        """
        for frame in frames:
            check_frame(frame)
        tracks = [Track() for _ in frames] if tracks is None else tracks
        searches = [
            _Search(frame, track, is_due(track, frame)) for frame, track in zip(frames, tracks, strict=True)
        ]
        due = [search for search in searches if search.is_due]
        self._look(due)
        self._search_near(due)
        self._search_unreduced(due)
        left = searches
        while left:
            left = self._follow(left)
        return [
            None if search.face is None else replace(search.face, people=search.people)
            for search in searches
        ]

    def _follow(self, searches: list[_Search]) -> list[_Search]:
        """Search frames near the last place, up to the first of each track where the face isn't; that, too.

        Those behind it are given back: they are searched near where it is then.
        """
        boxes: dict[int, np.ndarray | None] = {}
        for search in searches:
            track = id(search.track)
            if search.is_due:
                boxes[track] = search.near
            else:
                search.around(boxes.setdefault(track, search.track.box))
        self._search_near([search for search in searches if not search.is_due])
        lost: dict[int, _Search] = {}  # by track
        left = []
        for search in searches:
            if id(search.track) in lost:
                left.append(search)
            elif search.face is None and not search.is_due:
                lost[id(search.track)] = search
            else:
                _note(search)
        self._look(list(lost.values()))
        self._search_near(list(lost.values()))
        self._search_unreduced([search for search in lost.values() if search.track.missed in RETRIES])
        for search in lost.values():
            _note(search)
        return left

    def _look(self, searches: list[_Search]) -> None:
        """Search whole frames; sets where the face is, and the face itself where the frame wasn't reduced."""
        faces = self.whole.detect([search.frame for search in searches])
        for search, face in zip(searches, faces, strict=True):
            search.around(None if face is None else face.box)
            search.people = None if face is None else face.people
            if not self.whole.reduces(*search.frame.shape[:2]):
                search.face = face

    def _search_unreduced(self, searches: list[_Search]) -> None:
        """Search frames as they are, where no face is known yet: it may be too small in a reduced one."""
        searches = [
            search for search in searches
            if search.face is None and self.whole.reduces(*search.frame.shape[:2])
        ]  # fmt: skip
        faces = self.near.detect([search.frame for search in searches])
        for search, face in zip(searches, faces, strict=True):
            if face is not None:
                search.face, search.near, search.people = face, face.box, face.people

    def _search_near(self, searches: list[_Search]) -> None:
        """Search windows around the boxes looked for, where no face is known; sets the faces that count."""
        searches = [
            search for search in searches
            if search.near is not None and search.face is None and not search.is_tried
        ]  # fmt: skip
        frames, boxes = [search.frame for search in searches], [search.near for search in searches]
        found = self.windows.detect(frames, boxes)
        for search, (window, face) in zip(searches, found, strict=True):
            search.is_tried = True
            if face is not None:
                corner = np.array(window[:2], np.float32)
                face = Face(face.score, face.box + np.tile(corner, 2), face.landmarks + corner)
                if is_same_face(face.box, search.near, window, *search.frame.shape[:2]):
                    search.face = face


def _note(search: _Search) -> None:
    """Bring a frame's track up to date."""
    track = search.track
    if search.is_due or search.face is not None:
        track.box = search.near
    track.missed = 0 if search.face is not None else track.missed + 1


def is_due(track: Track, frame: np.ndarray) -> bool:
    """Whether this next frame of the track's video, (H, W, 3) uint8, is to be looked at as a whole."""
    step = math.ceil(max(frame.shape[:2]) / RASTER)
    raster = frame[::step, ::step].mean(axis=2)  # grey
    before, track.raster = track.raster, raster
    cut = before is None or before.shape != raster.shape or np.abs(raster - before).mean() > CUT
    due = cut or track.looked_before >= LOOK_EVERY
    track.looked_before = 1 if due else track.looked_before + 1
    return due
