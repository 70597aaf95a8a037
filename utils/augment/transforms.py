"""Transforms of training pictures that albumentations lacks, or by whose names it means something else now.

All take and give uint8 RGB (H, W, 3) and draw from albumentations' generators.
"""

from __future__ import annotations

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else each import asks the network for a newer one

import albumentations as A  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402

from utils.augment.effects import add_noise  # noqa: E402


class AdditiveNoise(A.ImageOnlyTransform):
    """Normal noise in grey levels; sigma, or with `of_variance` its square, uniform in a range.

    per_channel False: one plane of noise for all channels, which leaves the colour alone.
    """

    def __init__(self, spread: tuple[float, float], of_variance=False, per_channel=True, p: float = 0.5):
        super().__init__(p=p)
        self.spread, self.of_variance, self.per_channel = spread, of_variance, per_channel

    def get_params_dependent_on_data(self, params: dict, data: dict) -> dict:
        """The noise: float32 (H, W, 3) or (H, W, 1)."""
        spread = self.py_random.uniform(*self.spread)
        sigma = np.float32(spread**0.5 if self.of_variance else spread)
        height, width, channels = data["image"].shape
        size = (height, width, channels if self.per_channel else 1)
        return {"noise": self.random_generator.standard_normal(size, dtype=np.float32) * sigma}

    def apply(self, img: np.ndarray, noise: np.ndarray, **params) -> np.ndarray:
        return add_noise(img, noise)


class GaussianBlur(A.ImageOnlyTransform):
    """Gaussian blur of an odd kernel in a range, sigma following from the kernel (OpenCV's rule)."""

    def __init__(self, kernel: tuple[int, int], p: float = 0.5):
        super().__init__(p=p)
        self.kernel = kernel

    def get_params(self) -> dict:
        """The kernel's size."""
        return {"size": self.py_random.randrange(self.kernel[0], self.kernel[1] + 1, 2)}

    def apply(self, img: np.ndarray, size: int, **params) -> np.ndarray:
        return cv2.GaussianBlur(img, (size, size), 0)


class MotionBlur(A.ImageOnlyTransform):
    """Mean over a straight line between two different cells of an odd square kernel, its size in a range."""

    def __init__(self, kernel: tuple[int, int], p: float = 0.5):
        super().__init__(p=p)
        self.kernel = kernel

    def get_params(self) -> dict:
        """The kernel, float32 (size, size), of sum 1."""
        size = self.py_random.randrange(self.kernel[0], self.kernel[1] + 1, 2)
        draw = self.py_random
        x1, x2 = draw.randrange(size), draw.randrange(size)
        y1, y2 = draw.sample(range(size), 2) if x1 == x2 else (draw.randrange(size), draw.randrange(size))
        line = np.zeros((size, size), np.uint8)
        cv2.line(line, (x1, y1), (x2, y2), 1)
        return {"kernel": line.astype(np.float32) / line.sum()}

    def apply(self, img: np.ndarray, kernel: np.ndarray, **params) -> np.ndarray:
        return cv2.filter2D(img, -1, kernel)


class Sharpen(A.ImageOnlyTransform):
    """(1 - alpha) * image + alpha * (the image through [-1 ... 8 + lightness ... -1])."""

    def __init__(self, alpha: tuple[float, float], lightness: tuple[float, float], p: float = 0.5):
        super().__init__(p=p)
        self.alpha, self.lightness = alpha, lightness

    def get_params(self) -> dict:
        """The kernel of the blend, float32 (3, 3)."""
        alpha, lightness = self.py_random.uniform(*self.alpha), self.py_random.uniform(*self.lightness)
        kernel = np.full((3, 3), -alpha, np.float32)
        kernel[1, 1] = (1 - alpha) + alpha * (8 + lightness)
        return {"kernel": kernel}

    def apply(self, img: np.ndarray, kernel: np.ndarray, **params) -> np.ndarray:
        return cv2.filter2D(img, -1, kernel)


class Emboss(A.ImageOnlyTransform):
    """(1 - alpha) * image + alpha * (the image through [[-1-s, -s, 0], [-s, 1, s], [0, s, 1+s]])."""

    def __init__(self, alpha: tuple[float, float], strength: tuple[float, float], p: float = 0.5):
        super().__init__(p=p)
        self.alpha, self.strength = alpha, strength

    def get_params(self) -> dict:
        """The kernel of the blend, float32 (3, 3)."""
        alpha, s = self.py_random.uniform(*self.alpha), self.py_random.uniform(*self.strength)
        kernel = alpha * np.array([[-1 - s, -s, 0], [-s, 1, s], [0, s, 1 + s]], np.float32)
        kernel[1, 1] += 1 - alpha
        return {"kernel": kernel}

    def apply(self, img: np.ndarray, kernel: np.ndarray, **params) -> np.ndarray:
        return cv2.filter2D(img, -1, kernel)


class CameraNoise(A.ImageOnlyTransform):
    """Sensor noise: Poisson in lightness (mean = its deviation in grey levels * intensity), normal in hue.

    `color_shift` is a share of the hue circle at intensity 1. The class of this kind in albumentations 2
    draws the Poisson noise of values in 0..1, which leaves next to nothing of it.
    """

    def __init__(self, color_shift: tuple[float, float], intensity: tuple[float, float], p: float = 0.5):
        super().__init__(p=p)
        self.color_shift, self.intensity = color_shift, intensity

    def get_params(self) -> dict:
        """Strengths of the two noises."""
        draw = self.py_random
        return {"color_shift": draw.uniform(*self.color_shift), "intensity": draw.uniform(*self.intensity)}

    def apply(self, img: np.ndarray, color_shift: float, intensity: float, **params) -> np.ndarray:
        hls = cv2.cvtColor(img.astype(np.float32) / 255, cv2.COLOR_RGB2HLS)  # hue in 0..360, the rest in 0..1
        hue, lightness = hls[..., 0], hls[..., 1]
        grains = self.random_generator.poisson(lightness.std() * intensity * 255, img.shape[:2])
        tint = self.random_generator.standard_normal(img.shape[:2], dtype=np.float32)
        hls[..., 0] = (hue + tint * np.float32(color_shift * intensity * 360)) % 360
        hls[..., 1] = lightness + grains / 255 * (1 - lightness)
        noisy = cv2.cvtColor(hls, cv2.COLOR_HLS2RGB) * 255
        return noisy.clip(0, 255).astype(np.uint8)
