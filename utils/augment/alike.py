"""The augmentation "alike": place and damage are drawn once and given to all members of a group.

A `Transform` is what was drawn. Real and fake go through the same one, so that neither framing nor quality
tells them apart. Damage is done to the aligned face, as a camera or a player would have done it, not to what
the network gets. Smooth pictures come often: bilateral and edge-preserving filters keep edges and take
texture. Non-local means, and H.264 at a rate factor above 26, are left out, to measure with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from utils.augment.codecs import h264, jpeg
from utils.augment.effects import add_noise, bilateral, down_up, edge_preserving, gaussian, unsharp
from utils.weights.preprocess import FACE_SIZE, Preprocess

P_PLACE, P_DAMAGE, MOST_EFFECTS = 0.7, 0.75, 3
SCALE, ASPECT, TURN, SHIFT = (0.95, 1.12), 1.08, 6.0, 0.03  # of the window; degrees; share of its side
SMOOTHERS = {"bilateral": 2.0, "edge-preserving": 2.0, "median": 1.5}  # how much likelier than another effect
MARGIN = 24  # pixels around the window that a transform may reach
DOWN = (cv2.INTER_NEAREST, cv2.INTER_AREA, cv2.INTER_LINEAR, cv2.INTER_CUBIC)
UP = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)

Draw = Callable[[np.random.Generator], tuple]


@dataclass(frozen=True)
class Transform:
    """From the aligned face to what the network sees, before it is normalised.

    matrix: (2, 3), from pixels of the aligned face to those of the network's input; effects: names in
    `EFFECTS` and what was drawn for them, in order.
    """

    matrix: np.ndarray
    size: int
    effects: tuple[tuple[str, tuple], ...]

    def __call__(self, face: np.ndarray, origin: tuple[int, int] = (0, 0)) -> np.ndarray:
        """An aligned face, uint8 RGB, or a part of it that begins at x, y -> uint8 RGB (size, size, 3)."""
        for name, values in self.effects:
            face = EFFECTS[name][1](face, *values)
        matrix = self.matrix.copy()
        matrix[:, 2] += matrix[:, :2] @ origin
        return cv2.warpAffine(face, matrix, (self.size, self.size), flags=cv2.INTER_LINEAR)


class Alike:
    """Draws transforms; also an `Augmentation`, for faces that are in no group."""

    def draw(self, preprocess: Preprocess, rng: np.random.Generator) -> Transform:
        """One transform, for as many faces as are to be alike."""
        matrix = place(preprocess, rng)
        effects = ()
        if rng.random() < P_DAMAGE:
            weights = np.array([SMOOTHERS.get(name, 1.0) for name in EFFECTS])
            count = rng.integers(1, MOST_EFFECTS + 1)
            names = rng.choice(list(EFFECTS), count, replace=False, p=weights / weights.sum())
            effects = tuple((str(name), EFFECTS[name][0](rng)) for name in names)
        return Transform(matrix, preprocess.size, effects)

    def __call__(self, face: np.ndarray, preprocess: Preprocess, rng: np.random.Generator) -> np.ndarray:
        """Aligned face, uint8 RGB (320, 320, 3) -> augmented, uint8 RGB (size, size, 3)."""
        return self.draw(preprocess, rng)(face)


def place(preprocess: Preprocess, rng: np.random.Generator) -> np.ndarray:
    """The (2, 3) matrix that lays the window on the input, maybe mirrored, scaled, turned and moved."""
    x1, y1, x2, y2 = preprocess.window or (0, 0, FACE_SIZE, FACE_SIZE)
    width, height, size = x2 - x1, y2 - y1, preprocess.size
    # Pixels have their centres at whole numbers, edges half a pixel before.
    matrix = np.array([[1, 0, 0.5 - (x1 + x2) / 2], [0, 1, 0.5 - (y1 + y2) / 2]])
    if rng.random() < P_PLACE:
        scale, aspect = rng.uniform(*SCALE), ASPECT ** rng.uniform(-1, 1)
        turn = np.radians(rng.uniform(-TURN, TURN))
        rotate = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        matrix = rotate @ np.diag([scale * aspect**0.5, scale / aspect**0.5]) @ matrix
        matrix[:, 2] += rng.uniform(-SHIFT, SHIFT, 2) * (width, height)
    if rng.random() < 0.5:
        matrix[0] = -matrix[0]
    matrix = np.diag([size / width, size / height]) @ matrix
    matrix[:, 2] += (size - 1) / 2
    return matrix


def reach(preprocess: Preprocess) -> tuple[int, int, int, int]:
    """The part of the aligned face that a transform may read: x1, y1, x2, y2, end exclusive."""
    x1, y1, x2, y2 = preprocess.window or (0, 0, FACE_SIZE, FACE_SIZE)
    return (
        max(x1 - MARGIN, 0), max(y1 - MARGIN, 0),
        min(x2 + MARGIN, FACE_SIZE), min(y2 + MARGIN, FACE_SIZE),
    )  # fmt: skip


def noise(image: np.ndarray, deviation: float, is_grey: bool, seed: int) -> np.ndarray:
    """Normal noise, of each channel its own or the same."""
    shape = (*image.shape[:2], 1) if is_grey else image.shape
    drawn = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    return add_noise(image, drawn * np.float32(deviation))


def light(image: np.ndarray, gains: tuple[float, float, float], gamma: float) -> np.ndarray:
    """Exposure and colour cast: each channel times a gain, then a gamma."""
    levels = np.arange(256, dtype=np.float64)[:, None] / 255 * np.array(gains)  # (256, 3)
    table = (levels.clip(0, 1) ** gamma * 255).round().astype(np.uint8)
    return cv2.LUT(image, table[:, None])


def _bilateral(rng: np.random.Generator) -> tuple:
    size, sigma, reach = int(rng.integers(5, 10)), rng.uniform(10, 60), rng.uniform(2, 6)
    return sigma, size, reach


def _light(rng: np.random.Generator) -> tuple:
    gains = 2 ** rng.uniform(-0.9, 0.5) * rng.uniform(0.88, 1.12, 3)
    return tuple(gains.tolist()), float(rng.uniform(0.75, 1.35))


# name -> what is drawn for it, what it does
EFFECTS: dict[str, tuple[Draw, Callable[..., Any]]] = {
    "bilateral": (_bilateral, bilateral),
    "edge-preserving": (lambda rng: (rng.uniform(0.05, 0.25), rng.uniform(3, 20)), edge_preserving),
    "median": (lambda rng: (int(rng.choice((3, 5))),), cv2.medianBlur),
    "gaussian": (lambda rng: (rng.uniform(0.5, 2.5),), gaussian),
    "down-up": (lambda rng: (rng.uniform(0.25, 0.9), int(rng.choice(DOWN)), int(rng.choice(UP))), down_up),
    "unsharp": (lambda rng: (rng.uniform(0.3, 1.5), rng.uniform(0.8, 2.5)), unsharp),
    "noise": (
        lambda rng: (rng.uniform(1, 10), bool(rng.random() < 0.3), int(rng.integers(2**62))), noise
    ),
    "jpeg": (lambda rng: (int(rng.integers(30, 96)),), jpeg),
    "h264": (lambda rng: (int(rng.integers(16, 27)),), h264),
    "light": (_light, light),
}  # fmt: skip
