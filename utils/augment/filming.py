"""A still face as one frame of a compressed video, for training: a clip is made of it and encoded.

Between key frames an encoder sends what moved, coarsely, and repeats what didn't: a face that moves comes
out blurred before a background that stays sharp, which otherwise looks like a face put in.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else each import asks the network for a newer one

import albumentations as A  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402

from utils.augment.codecs import DECODERS, video_coded  # noqa: E402
from utils.augment.effects import add_noise, shrink, stretch  # noqa: E402

Range = tuple[float, float]
GRID = 16  # the side of a macroblock


class Filmed(A.ImageOnlyTransform):
    """The picture as the last frame of a short clip, at a smaller size, through a video encoder.

    In the frames before, what lies in an ellipse over the face was moved, turned and scaled a little (in a
    quarter of the clips the whole picture was), and each frame has noise of its own.
    crf, quantiser: of H.264 and of MPEG-4; scale: size at which it is coded; frames: most in the clip;
    motion: greatest way of the face between two frames, as a share of the picture's side. The grid of
    blocks starts anywhere.
    """

    def __init__(
        self, crf: Range, quantiser: Range, scale: Range, frames: int = 6, motion=0.03, p: float = 0.5
    ):
        super().__init__(p=p)
        self.crf, self.quantiser, self.scale, self.frames, self.motion = crf, quantiser, scale, frames, motion

    def get_params_dependent_on_data(self, params: dict, data: dict) -> dict:
        """The encoder, its quality, the scale, where blocks start, the clip's motion, ellipse and noise."""
        draw = self.py_random
        encoder = draw.choice(tuple(DECODERS))
        # a quantiser twice as coarse is one step of quality more, as 6 of H.264's rate factor are
        log_quantiser = draw.uniform(*np.log2(self.quantiser))
        return {
            "encoder": encoder,
            "quality": round(draw.uniform(*self.crf) if encoder == "libx264" else 2**log_quantiser),
            "by": draw.uniform(*self.scale),
            "shift": (draw.randrange(GRID), draw.randrange(GRID)),
            "before": draw.randrange(self.frames),
            "step": [draw.uniform(-self.motion, self.motion) for _ in range(4)],  # x, y, turn, scale
            "ellipse": [draw.uniform(0.45, 0.55), draw.uniform(0.4, 0.6), draw.uniform(0.3, 0.55)],
            "is_still": draw.random() < 0.75,  # the background; else the whole picture moves
            "noise": draw.uniform(0, 5),
            "seed": draw.randrange(2**32),
        }

    def apply(
        self, img: np.ndarray, encoder: str, quality: int, by: float, shift, before: int, step, ellipse,
        is_still: bool, noise: float, seed: int, **params,
    ) -> np.ndarray:  # fmt: skip
        small = shrink(img, by, least=GRID)
        rows, columns = small.shape[:2]
        top, left = shift
        bottom, right = -(rows + top) % GRID, -(columns + left) % GRID
        small = cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_REPLICATE)
        share = face_share(small.shape[:2], ellipse) if is_still else None
        draw = np.random.default_rng(seed)
        clip = []
        for ago in range(before, -1, -1):
            frame = moved(small, share, [ago * by_axis for by_axis in step])
            grains = draw.standard_normal(frame.shape, dtype=np.float32) * np.float32(noise)
            clip.append(add_noise(frame, grains))
        *_, last = video_coded(clip, encoder, quality)
        return stretch(last[top : top + rows, left : left + columns], img.shape[:2])


def face_share(size: tuple[int, int], ellipse: Sequence[float]) -> np.ndarray:
    """How much of the face's motion each pixel takes part in, float32 (H, W) in 0..1, soft at the edge.

    ellipse: centre x, centre y and half width, as shares of W and H; it is a third higher than wide.
    """
    height, width = size
    x, y, half = ellipse
    columns = (np.arange(width, dtype=np.float32) / width - x) / half
    rows = (np.arange(height, dtype=np.float32) / height - y) / (half * 4 / 3)
    distance = np.sqrt(columns[None, :] ** 2 + rows[:, None] ** 2)
    return np.clip((1.15 - distance) / 0.3, 0, 1).astype(np.float32)


def moved(image: np.ndarray, share: np.ndarray | None, motion: Sequence[float]) -> np.ndarray:
    """The image (H, W, 3) with its face moved: x and y as shares of the side, turn in radians, growth.

    share: as `face_share` gives it; None moves the whole image.
    """
    height, width = image.shape[:2]
    dx, dy, turn, growth = motion
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), float(np.degrees(turn)), 1 + growth)
    matrix[:, 2] += dx * width, dy * height
    if share is None:
        return cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    back = cv2.invertAffineTransform(matrix).astype(np.float32)
    shift_x = back[0, 0] * x + back[0, 1] * y + back[0, 2] - x
    shift_y = back[1, 0] * x + back[1, 1] * y + back[1, 2] - y
    return cv2.remap(
        image, x + share * shift_x, y + share * shift_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
