"""What damages a picture, each kind once: plain functions of uint8 RGB pictures (H, W, 3).

Transforms for training draw their strengths and call these, and so do the tables that measure. What codecs
do is in `codecs`. Each gives a new picture and leaves the input alone.
"""

from __future__ import annotations

import cv2
import numpy as np

GAMMA = 2.2  # of video, about


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur; sigma in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def motion_blur(image: np.ndarray, length: float, angle: float) -> np.ndarray:
    """Mean along a line of so many pixels; angle in radians."""
    size = 2 * round(length / 2) + 1
    kernel = np.zeros((size, size), np.float32)
    reach = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    centre = np.array([size // 2, size // 2])
    start, end = (tuple(int(n) for n in np.round(centre + sign * reach)) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def bilateral(image: np.ndarray, sigma: float, size: int = 9, reach: float = 5.0) -> np.ndarray:
    """Smooth but for its edges; sigma in grey levels, window of `size` pixels, reach: sigma in pixels."""
    return cv2.bilateralFilter(image, size, sigma, reach)


def edge_preserving(image: np.ndarray, sigma: float, reach: float) -> np.ndarray:
    """Smooth between edges, by the domain transform of Gastal and Oliveira 2011.

    sigma: of grey levels, as a share of their range; reach: sigma in pixels.
    """
    return cv2.edgePreservingFilter(image, flags=cv2.RECURS_FILTER, sigma_s=reach, sigma_r=sigma)


def non_local_means(image: np.ndarray, strength: float) -> np.ndarray:
    """Denoised by patches that look alike, as cameras and players do; strength is OpenCV's h."""
    return cv2.fastNlMeansDenoisingColored(image, None, strength, strength, 7, 21)


def unsharp(image: np.ndarray, amount: float, sigma: float) -> np.ndarray:
    """Sharpened by what a blur takes away."""
    return cv2.addWeighted(image, 1 + amount, cv2.GaussianBlur(image, (0, 0), sigma), -amount, 0)


def shrink(image: np.ndarray, by: float, interpolation: int = cv2.INTER_AREA, least: int = 1) -> np.ndarray:
    """At a share of its size, no side below `least` pixels."""
    size = [max(round(side * by), least) for side in image.shape[1::-1]]
    return cv2.resize(image, size, interpolation=interpolation)


def stretch(image: np.ndarray, size: tuple[int, int], interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    """At another size (H, W)."""
    return cv2.resize(image, size[::-1], interpolation=interpolation)


def down_up(
    image: np.ndarray, by: float, down: int = cv2.INTER_AREA, up: int = cv2.INTER_LINEAR
) -> np.ndarray:
    """To a share of the size and back, by OpenCV's interpolations."""
    return stretch(shrink(image, by, down), image.shape[:2], up)


def add_noise(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """With noise in grey levels, (H, W, 3) or (H, W, 1), added."""
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def normal_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """With normal noise, of each channel its own; sigma in grey levels."""
    return add_noise(image, np.float32(sigma) * rng.standard_normal(image.shape, dtype=np.float32))


def darken(image: np.ndarray, factor: float) -> np.ndarray:
    """A share, in 0..1, of the linear light."""
    return (image * np.float32(factor ** (1 / GAMMA))).round().astype(np.uint8)


def flatten(image: np.ndarray, factor: float, level: float) -> np.ndarray:
    """A share of the contrast about a grey level."""
    level = np.float32(level)
    return ((image - level) * np.float32(factor) + level).round().clip(0, 255).astype(np.uint8)
