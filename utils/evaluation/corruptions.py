"""What may have happened to a face before it is judged: eleven kinds at three strengths, to measure with.

All take an aligned face, uint8 RGB (320, 320, 3), to the same, and draw from a generator of the caller's, the
same for every strength: a stronger one is the same damage, more of it. The eyes are 75 pixels apart. They are
what the robustness table of the model card is made with; the effects are those of utils/augment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from utils.augment import effects
from utils.augment.codecs import BLOCK, h264, jpeg

EYE_DISTANCE = 75  # pixels, in an aligned face
FACE_BOX = (90, 100, 230, 268)  # x1, y1, x2, y2: where the face is

Change = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Corruption:
    """strengths: from weak to strong; label: what a strength is called, "{}" stands for it."""

    label: str
    strengths: tuple[float, float, float]
    change: Change

    def __call__(self, face: np.ndarray, level: int, seed: tuple[int, ...]) -> np.ndarray:
        """The face damaged at level 0, 1 or 2; the input is left alone."""
        return self.change(face, self.strengths[level], np.random.default_rng(seed))

    def name(self, level: int) -> str:
        """Such as "JPEG quality 50"."""
        return self.label.format(f"{self.strengths[level]:g}")


def anywhere(rng: np.random.Generator) -> tuple[int, int]:
    """Where a grid of blocks starts, in y and x."""
    y, x = (int(n) for n in rng.integers(0, BLOCK, 2))
    return y, x


def small_face(face: np.ndarray, eyes: float, rng: np.random.Generator) -> np.ndarray:
    """As cut from a frame in which the eyes are so many pixels apart, and compressed there (JPEG 75)."""
    small = jpeg(effects.shrink(face, eyes / EYE_DISTANCE, least=BLOCK), 75)
    return effects.stretch(small, face.shape[:2])


def flatten(face: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Less contrast about the face's mean, as through haze; black beyond the picture changes with it."""
    return effects.flatten(face, factor, face[100:268, 76:244].mean())


def occlude(face: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """A rectangle of one colour over so much of the face."""
    x1, y1, x2, y2 = FACE_BOX
    aspect = rng.uniform(0.6, 1.6)
    area = share * (x2 - x1) * (y2 - y1)
    width, height = (area * aspect) ** 0.5, (area / aspect) ** 0.5
    x, y = rng.uniform(x1 + 35, x2 - 35), rng.uniform(y1 + 35, y2 - 35)
    colour = [int(n) for n in rng.integers(0, 256, 3)]
    corners = [(round(x + sign * width / 2), round(y + sign * height / 2)) for sign in (-1, 1)]
    return cv2.rectangle(face.copy(), *corners, colour, -1)


def cut_off(face: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Black beyond a side of the face, drawn, as where a frame ends; share: of the face's side."""
    face = face.copy()
    x1, y1, x2, y2 = FACE_BOX
    side, depth = rng.integers(4), (round(share * (x2 - x1)), round(share * (y2 - y1)))
    beyond = (
        np.s_[:, : x1 + depth[0]], np.s_[:, x2 - depth[0] :], np.s_[: y1 + depth[1]], np.s_[y2 - depth[1] :],
    )  # fmt: skip
    face[beyond[side]] = 0
    return face


CORRUPTIONS = {
    "jpeg": Corruption(
        "JPEG quality {}", (75, 50, 25), lambda face, quality, rng: jpeg(face, round(quality), anywhere(rng))
    ),
    "h264": Corruption(
        "H.264, rate factor {}", (26, 32, 38), lambda face, crf, rng: h264(face, round(crf), anywhere(rng))
    ),
    "rescale": Corruption(
        "{} of the size and up again", (0.5, 0.35, 0.25), lambda face, by, rng: effects.down_up(face, by)
    ),
    "small": Corruption("small face, eyes {} pixels apart", (40, 25, 15), small_face),
    "blur": Corruption(
        "blur, sigma {} pixels", (1, 2, 4), lambda face, sigma, rng: effects.gaussian(face, sigma)
    ),
    "motion": Corruption(
        "motion blur, {} pixels", (5, 9, 15),
        lambda face, length, rng: effects.motion_blur(face, length, rng.uniform(0, np.pi)),
    ),
    "noise": Corruption("noise, {} grey levels", (5, 10, 20), effects.normal_noise),
    "dark": Corruption(
        "{} of the light", (0.5, 0.25, 0.1), lambda face, factor, rng: effects.darken(face, factor)
    ),
    "contrast": Corruption("{} of the contrast", (0.7, 0.45, 0.25), flatten),
    "occlusion": Corruption("{} of the face covered", (0.05, 0.12, 0.25), occlude),
    "cut": Corruption("{} of the face cut off", (0.05, 0.12, 0.2), cut_off),
}  # fmt: skip
