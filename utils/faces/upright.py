"""Pictures that lie on their side or on their head: which way up the faces of a clip are.

    detector = UprightDetector(detector)          # stands in for a FaceDetector or a FaceTracker

A detector that was trained on upright faces takes a chin or a hand for a face where the picture is upside
down, with landmarks that often look right. So the first face of a clip that is certainly one is looked for in
its pictures as they come and turned, and the turn is kept in which it is upright with the highest score; one
that isn't as the pictures come must be confirmed by a second frame.
Faces are given in pixels of the frame as it came; aligned by their landmarks, they are upright.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from utils.core.device import is_gpu
from utils.faces.config import FaceConfig
from utils.faces.detector import Face, FaceDetector, build_detector
from utils.faces.tracker import FaceTracker, Orientation, Track

# Degrees between a face's axes and the picture's: 48 and more were found in pictures on their side, 12 and
# less in upright ones.
MOST_TILT = 40.0
ON_ITS_HEAD = 100.0  # such a face isn't judged
# All of 36 frames of 20 clips showed an upright face of this score as they stood; on their side none did, on
# their head two, with a lower score.
CERTAIN = 0.97
MOST_TRIES = 3  # frames of a clip in which no way up shows a face


class UprightDetector:
    """A detector that turns the pictures of a clip first, in quarters, if their faces aren't upright."""

    def __init__(self, detector: FaceDetector | FaceTracker):
        self.detector = detector
        whole = detector.whole if isinstance(detector, FaceTracker) else detector
        self.certain = FaceDetector(
            whole.net, whole.device, whole.precision, CERTAIN, whole.detect_size, whole.batch
        )
        self.device, self.precision = detector.device, detector.precision

    def detect(
        self, frames: Sequence[np.ndarray], tracks: Sequence[Track] | None = None
    ) -> list[Face | None]:
        """The largest face of each frame, or None, as `FaceDetector.detect`; those on their head don't count.

        tracks: one for each video, its frames in order; None = each frame is a picture of its own.
        """
        tracks = [Track() for _ in frames] if tracks is None else tracks
        turns, turned = self.turned(frames, tracks)
        found = []
        for face, frame, turn in zip(self.detector.detect(turned, tracks), frames, turns, strict=True):
            is_upright = face is not None and tilt(face.landmarks) < ON_ITS_HEAD
            found.append(turned_back(face, turn, *frame.shape[:2]) if is_upright else None)
        return found

    def turned(
        self, frames: Sequence[np.ndarray], tracks: Sequence[Track]
    ) -> tuple[list[int], list[np.ndarray]]:
        """By how many quarters each frame is to be turned, and the frames turned so."""
        turns = [
            self._turn_of(frame, track.orientation) for frame, track in zip(frames, tracks, strict=True)
        ]
        return turns, [_turned(frame, turn) for frame, turn in zip(frames, turns, strict=True)]

    def _turn_of(self, frame: np.ndarray, video: Orientation) -> int:
        """How a frame is to be turned: as its video, where that is known, else as its own face tells.

        An upright face settles it for the video, two in a row that are turned alike do, and a few frames.
        """
        if video.turn is not None:
            return video.turn
        video.tries += 1
        seen = self._seen_turn(frame)
        if seen == 0 or (seen is not None and seen == video.guess):
            video.turn = seen
        video.guess = video.guess if seen is None else seen
        if video.turn is None and video.tries >= MOST_TRIES:
            video.turn = video.guess or 0
        return seen or video.turn or 0

    def _seen_turn(self, frame: np.ndarray) -> int | None:
        """The turn in which a face is upright with the highest score; None where no face tells."""
        for turns in ((0, 2), (1, 3)):
            scores = {turn: self._upright_score(_turned(frame, turn)) for turn in turns}
            best = max(scores, key=scores.get)  # the first, if equal
            if scores[best]:
                return best
        return None

    def _upright_score(self, frame: np.ndarray) -> float:
        """That of the largest face that is certainly one, if it is upright; else 0."""
        face = self.certain.detect([frame])[0]
        return face.score if face is not None and tilt(face.landmarks) <= MOST_TILT else 0.0


def tilt(landmarks: np.ndarray) -> float:
    """Degrees in [0, 180] by which a face is turned from upright, by its eyes or by its mouth, the larger.

    landmarks: (5, 2), as of `Face`. An upright face has its right eye to the right of the left one, and its
    mouth below them.
    """
    left_eye, right_eye, _, *mouth = np.asarray(landmarks, np.float64).reshape(5, 2)
    across, down = right_eye - left_eye, np.mean(mouth, axis=0) - (left_eye + right_eye) / 2
    angles = np.arctan2(across[1], across[0]), np.arctan2(down[0], down[1])
    return float(np.degrees(np.abs(angles).max()))


def turned_back(face: Face, turn: int, height: int, width: int) -> Face:
    """A face found in a frame of height x width after so many quarter turns, in pixels of the frame itself.

    Its landmarks keep their names: the left eye is the one that is left when the face is upright.
    """

    def back(points: np.ndarray) -> np.ndarray:
        x, y = points[:, 0], points[:, 1]
        way = {0: (x, y), 1: (width - 1 - y, x), 2: (width - 1 - x, height - 1 - y), 3: (y, height - 1 - x)}
        return np.stack(way[turn], axis=1).astype(points.dtype)

    corners = back(face.box.reshape(2, 2))
    box = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    return replace(face, box=box, landmarks=back(face.landmarks))


def _turned(frame: np.ndarray, turn: int) -> np.ndarray:
    """Turned counter-clockwise by so many quarters."""
    return np.ascontiguousarray(np.rot90(frame, turn)) if turn else frame


def detector_of(
    config: FaceConfig, device: str | torch.device = "cpu", largest_alone: bool = False
) -> FaceDetector | FaceTracker | UprightDetector:
    """The detector that a config asks for, which may track and turn. Raises ConfigError or WeightsError.

    largest_alone: nobody asks how many `people` a frame shows, which saves time with MobileNet.
    """
    # A GPU takes no longer for a whole frame than for what tracking does, in a shape for each window.
    is_whole = config.track and config.detector == "mobilenet0.25" and is_gpu(device)
    detector = build_detector(
        config.detector, config.detector_weights, device, config.detector_precision,
        config.score_threshold, None if is_whole else config.detect_size, config.runtime,
        config.frames_at_once, largest_alone,
    )  # fmt: skip
    if config.track and not is_whole:
        detector = FaceTracker(detector)
    return UprightDetector(detector) if config.turn else detector
