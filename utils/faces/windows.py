"""Windows around faces: where they lie, what is found in them, and whether that is the face looked for.

A window lies on the detector's coarsest grid, so it holds the same anchors as the whole frame and gives the
same landmarks wherever it is wide enough.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.retinaface import STRIDES
from utils.core.device import is_gpu
from utils.faces.boxes import longer_side
from utils.faces.detector import Face, FaceDetector
from utils.faces.levels import LARGE

# Around the box that was found, in shares of its longer side and at least in pixels: room for it to move in,
# and what MobileNet-0.25 sees around an anchor, whatever the size of the face. With 128 pixels a window takes
# less time, and its landmarks move further away from those of the whole frame.
MARGIN, LEAST_MARGIN = 0.6, 192
# Sides of the windows on a GPU, which plans anew for each shape; what is larger is the whole frame.
SIDES = (512, 704, 960)
# A face found in a window counts if its size is like the one looked for, and it doesn't touch the window.
MOST_GROWTH = 1.5
LEAST_ROOM = 0.1  # of the face's longer side, to an edge that isn't the frame's

Window = tuple[int, int, int, int]  # x1, y1, x2, y2, end exclusive


class WindowDetector:
    """Searches windows around boxes, by the network and with the settings of a detector."""

    def __init__(self, detector: FaceDetector) -> None:
        self.any_size, self.large = detector, type(detector).like(detector, None, largest_alone=True)

    def detect(
        self, frames: Sequence[np.ndarray], boxes: Sequence[np.ndarray]
    ) -> list[tuple[Window, Face | list[Face] | None]]:
        """For each frame, uint8 BGR (H, W, 3), and a box in it: the window, and what `detect` finds there.

        What is found is in pixels of the window.
        """
        windows = [
            self._around(box, *frame.shape[:2]) for frame, box in zip(frames, boxes, strict=True)
        ]
        patches = [
            frame[y1:y2, x1:x2] for frame, (x1, y1, x2, y2) in zip(frames, windows, strict=True)
        ]
        found: list = [None] * len(patches)
        # Only a face like the one looked for counts, and the level of small faces gives none that is like a
        # large one. (A GPU takes no longer for it, but for two batches where one does.)
        least = np.inf if self.any_size.is_fixed else LARGE * MOST_GROWTH
        is_large = [longer_side(box) >= least for box in boxes]
        for detector, kind in ((self.any_size, False), (self.large, True)):
            places = [place for place, large in enumerate(is_large) if large == kind]
            faces = detector.detect([patches[place] for place in places])
            for place, face in zip(places, faces, strict=True):
                found[place] = face
        return list(zip(windows, found, strict=True))

    def _around(self, box: np.ndarray, height: int, width: int) -> Window:
        """What is searched of a frame; on a GPU of one of few sizes."""
        window = window_around(box, height, width)
        return grown(window, height, width) if is_gpu(self.any_size.device) else window


def window_around(box: np.ndarray, height: int, width: int) -> tuple[int, int, int, int]:
    """The window x1, y1, x2, y2 around a box in a frame of height x width, end exclusive, never empty.

    Its left and upper edges are multiples of the coarsest stride, so that its anchors are the frame's; the
    others are, too, or the frame's own.
    """
    margin = max(LEAST_MARGIN, MARGIN * longer_side(box))
    grid, window = STRIDES[-1], []
    for low, high, end in ((box[0], box[2], width), (box[1], box[3], height)):
        last = (end - 1) // grid * grid  # where a box far outside the frame ends up
        first = int(np.clip((low - margin) // grid * grid, 0, last))
        window.append((first, int(np.clip(-(-(high + margin) // grid) * grid, first + grid, max(end, 1)))))
    (x1, x2), (y1, y2) = window
    return x1, y1, x2, y2


def grown(window: tuple[int, int, int, int], height: int, width: int) -> tuple[int, int, int, int]:
    """The smallest square of `SIDES` around a window of a frame, on its grid; if none fits, the frame."""
    x1, y1, x2, y2 = window
    for side in SIDES:
        left, top = _start(x1, x2, side, width), _start(y1, y2, side, height)
        if left is not None and top is not None:
            return left, top, left + side, top + side
    return 0, 0, width, height


def _start(low: int, high: int, side: int, end: int) -> int | None:
    """Where a stretch of `side` within [0, end) begins that holds [low, high), or None."""
    grid = STRIDES[-1]
    first, last = max(-(-(high - side) // grid) * grid, 0), min(low, (end - side) // grid * grid)
    if first > last:
        return None
    middle = round((low + high - side) / 2 / grid) * grid
    return int(np.clip(middle, first, last))


def is_same_face(
    box: np.ndarray, near: np.ndarray, window: tuple[int, int, int, int], height: int, width: int
) -> bool:
    """Whether a box found in a window around the box `near` can be taken for that of the same face."""
    size = longer_side(box)
    if not 1 / MOST_GROWTH <= size / max(longer_side(near), 1e-6) <= MOST_GROWTH:
        return False
    x1, y1, x2, y2 = window
    room = LEAST_ROOM * size
    return bool(
        (x1 == 0 or box[0] >= x1 + room)
        and (y1 == 0 or box[1] >= y1 + room)
        and (x2 == width or box[2] <= x2 - room)
        and (y2 == height or box[3] <= y2 - room)
    )
