"""The one road from videos to faces: decode -> detect -> align, for scoring, extraction and measuring alike.

    with closing(face_stream([Clip(FrameReader("a.mp4"))], detector, limit=25)) as stream:
        for step in stream:
            for clip, found in step.faces: ...       # found.index, found.face, found.crop
            for clip in step.ended: ...              # clip.failure, clip.warning, clip.looked_at

Threads decode frames of one or several clips; the caller's thread alone owns the device and detects, and
aligns on the CPU. Frames of one (height, width) go to the detector together, whichever clips they are of.

With a limit of faces a clip is asked for as many frames as it may need, if each holds a face, and for more
only once some have turned out not to. So a decoder reads nothing that isn't needed, and goes on to the next
clip in the meantime. Memory depends on `Limits`, not on the length, the size or the number of the clips.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from utils.faces.align import align_face
from utils.faces.detector import Face, FaceDetector
from utils.faces.people import PeopleDetector
from utils.faces.prefetch import Clip, Limits, Prefetch, limits_for
from utils.faces.tracker import FaceTracker, Track
from utils.faces.upright import UprightDetector

Detector = FaceDetector | FaceTracker | UprightDetector | PeopleDetector


@dataclass(frozen=True, eq=False)
class FoundFace:
    """The largest face of a frame, or, of a `PeopleDetector`, one of its faces.

    index: the frame's number; crop: (320, 320, 3) uint8 BGR, aligned; seconds: when the frame is seen, None =
    unknown.
    """

    index: int
    face: Face
    crop: np.ndarray
    seconds: float | None = None


@dataclass
class Step:
    """What one batch of frames brought.

    begun: clips of which this step or one to come is the first, in their order. searched: the clip of each
    frame. faces: in the order of their frames for each clip, of one frame the largest first. ended: clips
    that no more is to come of. missed: clip and number of each frame without a face.
    """

    begun: list[Clip]
    searched: list[Clip]
    faces: list[tuple[Clip, FoundFace]]
    ended: list[Clip]
    missed: list[tuple[Clip, int]]


def face_stream(
    clips: Iterable[Clip], detector: Detector, limit: int | None = None, limits: Limits | None = None
) -> Iterator[Step]:
    """The faces of each clip, the first `limit` of them or all; clips side by side, each in its own order.

    What can't be read ends with a `failure`; a decoder that gives up later leaves a `warning`, and the faces
    so far. Close the iterator, or use it up, so that its threads end. Passes on whatever else is raised while
    decoding and detecting.
    """
    with Prefetch(clips, limit, limits or limits_for(detector.device)) as prefetch:
        while (batch := prefetch.take()) is not None:
            faces, searched = _find(batch, detector), [(clip, index) for clip, index, _ in batch]
            del batch  # its frames needn't be kept while the caller works
            begun, ended = prefetch.settle()
            seen = {(clip, found.index) for clip, found in faces}
            missed = [place for place in searched if place not in seen]
            yield Step(begun, [clip for clip, _ in searched], faces, ended, missed)


def _find(batch: list[tuple[Clip, int, np.ndarray]], detector: Detector) -> list[tuple[Clip, FoundFace]]:
    """Search frames and align the faces found; a face whose landmarks are degenerate counts as none."""
    if not batch:
        return []
    tracks = [_track(clip, index) for clip, index, _ in batch]
    faces = detector.detect([frame for _, _, frame in batch], tracks)
    found = []
    for (clip, index, frame), some in zip(batch, faces, strict=True):
        clip.looked_at += 1
        before = len(found)
        for face in some if isinstance(some, list) else [some]:
            crop = None if face is None else align_face(frame, face.landmarks)
            if crop is not None:
                found.append((clip, FoundFace(index, face, crop, seconds_of(clip, index))))
        clip.found += len(found) > before
    return found


def seconds_of(clip: Clip, index: int) -> float | None:
    """When the frame of a clip is seen; None = unknown."""
    known = getattr(clip.frames, "seconds_of", None)
    return None if known is None else known(index)


def _track(clip: Clip, index: int) -> Track:
    """The clip's track, which begins anew at a frame that the one before says little of."""
    if index in getattr(clip.frames, "far", ()):
        clip.track = clip.track.anew()
    return clip.track
