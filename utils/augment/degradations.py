"""What cameras, light, framing and codecs do to a face, as transforms for training (augmentation "robust").

All take and give uint8 RGB (H, W, 3) and draw from albumentations' generators.
"""

from __future__ import annotations

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else each import asks the network for a newer one

import albumentations as A  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402

from utils.augment.codecs import BLOCK, h264_like, jpeg  # noqa: E402
from utils.augment.effects import GAMMA, add_noise, shrink, stretch  # noqa: E402
from utils.faces.align import continued  # noqa: E402

Range = tuple[float, float]


class ContinuePicture(A.ImageOnlyTransform):
    """Fill the black beyond the picture's edge by mirroring the picture or drawing its edge out."""

    def get_params(self) -> dict:
        """The border mode."""
        return {"border": self.py_random.choice((cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE))}

    def apply(self, img: np.ndarray, border: int, **params) -> np.ndarray:
        return continued(img, border)


class CutEdge(A.ImageOnlyTransform):
    """Replace what lies beyond a straight line at a random angle by black, grey or the edge drawn out.

    depth: how far the line reaches into the picture, as a share of its side, from the corner or edge that
    lies in the line's direction. It is what the end of a frame does to an aligned face.
    """

    def __init__(self, depth: Range = (0.03, 0.2), p: float = 0.5):
        super().__init__(p=p)
        self.depth = depth

    def get_params(self) -> dict:
        """Direction in radians, depth, and what to fill with."""
        draw = self.py_random
        return {
            "angle": draw.uniform(-np.pi, np.pi),
            "depth": draw.uniform(*self.depth),
            "fill": draw.choice(("black", "black", "colour", "mirror")),
            "colour": [draw.randrange(256) for _ in range(3)],
        }

    def apply(self, img: np.ndarray, angle: float, depth: float, fill: str, colour, **params) -> np.ndarray:
        height, width = img.shape[:2]
        toward = np.array([np.cos(angle), np.sin(angle)])  # x, y
        corner = np.array([width, height]) / 2 * np.abs(toward)  # how far the picture reaches that way
        limit = corner.sum() - depth * max(height, width)
        x, y = np.arange(width) - (width - 1) / 2, np.arange(height) - (height - 1) / 2
        beyond = (toward[0] * x[None, :] + toward[1] * y[:, None]) > limit  # (H, W)
        if fill == "mirror":
            other = _mirrored(img, toward, limit)
        else:
            other = np.zeros(3, np.uint8) if fill == "black" else np.array(colour, np.uint8)
        return np.where(beyond[..., None], other, img)


def _mirrored(img: np.ndarray, toward: np.ndarray, limit: float) -> np.ndarray:
    """The image mirrored at the line {p : toward . (p - centre) = limit}."""
    centre = (np.array(img.shape[1::-1]) - 1) / 2
    matrix = np.eye(2) - 2 * np.outer(toward, toward)
    offset = 2 * (limit + toward @ centre) * toward
    return cv2.warpAffine(
        img, np.column_stack([matrix, offset]), img.shape[1::-1], borderMode=cv2.BORDER_REFLECT_101
    )


class Occlusion(A.ImageOnlyTransform):
    """One to `most` ellipses or rectangles of one colour, or of the picture's blurred self; cutout.

    size: their sides as shares of the picture's. DeVries and Taylor, arXiv:1708.04552.
    """

    def __init__(self, size: Range = (0.08, 0.3), most: int = 2, p: float = 0.5):
        super().__init__(p=p)
        self.size, self.most = size, most

    def get_params(self) -> dict:
        """Centres, half sides (shares), tilts, kinds and colours."""
        draw = self.py_random
        shapes = [
            (
                (draw.random(), draw.random()),
                (draw.uniform(*self.size) / 2, draw.uniform(*self.size) / 2),
                draw.uniform(0, 180),
                draw.random() < 0.5,
                None if draw.random() < 0.3 else tuple(draw.randrange(256) for _ in range(3)),
            )
            for _ in range(draw.randint(1, self.most))
        ]
        return {"shapes": shapes}

    def apply(self, img: np.ndarray, shapes: list, **params) -> np.ndarray:
        height, width = img.shape[:2]
        img = img.copy()
        for (x, y), (half_w, half_h), tilt, is_round, colour in shapes:
            mask = np.zeros((height, width), np.uint8)
            box = (x * width, y * height), (2 * half_w * width, 2 * half_h * height), tilt
            if is_round:
                cv2.ellipse(mask, box, 255, -1)
            else:
                cv2.fillConvexPoly(mask, cv2.boxPoints(box).astype(np.int32), 255)
            fill = cv2.blur(img, (max(width // 6, 1),) * 2) if colour is None else np.array(colour, np.uint8)
            img = np.where(mask[..., None] > 0, fill, img)
        return img


class Exposure(A.ImageOnlyTransform):
    """Less or more light: a factor on linear light, in powers of two, with the sensor's noise.

    stops: range of the exponent, negative is darker; shot: electrons at full white, in powers of ten: dark
    pictures have the grain of few electrons, half of the time coarser, as a camera's filter leaves it.
    """

    def __init__(self, stops: Range = (-2.5, 0.6), shot: Range = (2.5, 4.0), p: float = 0.5):
        super().__init__(p=p)
        self.stops, self.shot = stops, shot

    def get_params_dependent_on_data(self, params: dict, data: dict) -> dict:
        """Factor on linear light, electrons of full white, normal noise float32 (H, W, 3)."""
        factor = 2 ** self.py_random.uniform(*self.stops)
        noise = self.random_generator.standard_normal(data["image"].shape, dtype=np.float32)
        if self.py_random.random() < 0.5:
            noise = cv2.GaussianBlur(noise, (3, 3), 0) * np.float32(2.2)  # of deviation 1 again, about
        return {"factor": factor, "electrons": 10 ** self.py_random.uniform(*self.shot), "noise": noise}

    def apply(self, img: np.ndarray, factor: float, electrons: float, noise: np.ndarray, **params):
        light = ((np.arange(256) / 255) ** GAMMA * factor).clip(1e-4, 1)
        level = 255 * light ** (1 / GAMMA)
        # A Poisson count has the deviation sqrt(n); seen through the gamma curve: times its slope.
        spread = np.sqrt(light / electrons) * level / (GAMMA * light)
        bright = cv2.LUT(img, level.astype(np.float32))
        return add_noise(bright, noise * cv2.LUT(img, spread.astype(np.float32)))


class ColourCast(A.ImageOnlyTransform):
    """A factor on each channel, as of a wrong white balance or coloured light, the mean of the three 1."""

    def __init__(self, strength: float = 0.3, p: float = 0.5):
        super().__init__(p=p)
        self.strength = strength

    def get_params(self) -> dict:
        """The factors (3,)."""
        gains = np.array([1 + self.py_random.uniform(-self.strength, self.strength) for _ in range(3)])
        return {"gains": gains / gains.mean()}

    def apply(self, img: np.ndarray, gains: np.ndarray, **params) -> np.ndarray:
        table = (np.arange(256)[:, None] * gains).round().clip(0, 255).astype(np.uint8)  # (256, 3)
        return cv2.merge([cv2.LUT(img[..., k], table[:, k]) for k in range(3)])


class ChromaNoise(A.ImageOnlyTransform):
    """Blotches of colour as small sensors make them: normal noise in Cb and Cr, some pixels wide."""

    def __init__(self, spread: Range = (2.0, 10.0), width: Range = (0.6, 3.0), p: float = 0.5):
        super().__init__(p=p)
        self.spread, self.width = spread, width

    def get_params_dependent_on_data(self, params: dict, data: dict) -> dict:
        """The noise, float32 (H, W, 2), in grey levels."""
        noise = self.random_generator.standard_normal((*data["image"].shape[:2], 2), dtype=np.float32)
        noise = cv2.GaussianBlur(noise, (0, 0), self.py_random.uniform(*self.width))
        return {"noise": noise * np.float32(self.py_random.uniform(*self.spread) / noise.std())}

    def apply(self, img: np.ndarray, noise: np.ndarray, **params) -> np.ndarray:
        ycc = cv2.cvtColor(img, cv2.COLOR_RGB2YCrCb)
        ycc[..., 1:] = (ycc[..., 1:] + noise).round().clip(0, 255)
        return cv2.cvtColor(ycc, cv2.COLOR_YCrCb2RGB)


class Recompression(A.ImageOnlyTransform):
    """Through a codec, maybe at a smaller size: JPEG, or the model of an H.264 intra frame.

    quality: of JPEG; qp: H.264's quantiser; scale: the size at which it is coded, with p_scale. The block
    grid starts anywhere, as that of an aligned video frame does.
    """

    def __init__(self, quality: Range, qp: Range, scale: Range = (0.4, 1.0), p_scale=0.4, p: float = 0.5):
        super().__init__(p=p)
        self.quality, self.qp, self.scale, self.p_scale = quality, qp, scale, p_scale

    def get_params(self) -> dict:
        """The codec, its quality, the scale and where blocks start."""
        draw = self.py_random
        return {
            "is_jpeg": draw.random() < 0.5,
            "quality": round(draw.uniform(*self.quality)),
            "qp": round(draw.uniform(*self.qp)),
            "by": draw.uniform(*self.scale) if draw.random() < self.p_scale else 1.0,
            "shift": (draw.randrange(BLOCK), draw.randrange(BLOCK)),
        }

    def apply(self, img: np.ndarray, is_jpeg: bool, quality: int, qp: int, by: float, shift, **params):
        small = shrink(img, by) if by < 1 else img
        coded = jpeg(small, quality, shift) if is_jpeg else h264_like(small, qp, shift)
        return stretch(coded, img.shape[:2]) if by < 1 else coded
