"""Made-up pictures and landmarks for tests of swaps."""

import cv2
import numpy as np

LANDMARKS = np.array([[90, 80], [130, 80], [110, 100], [95, 125], [125, 125]], float)


def textured(seed: int, size: tuple[int, int] = (200, 240)) -> np.ndarray:
    """Smooth noise, uint8 (height, width, 3)."""
    noise = np.random.default_rng(seed).uniform(0, 255, (*size, 3)).astype(np.float32)
    return cv2.GaussianBlur(noise, (0, 0), 4).clip(0, 255).astype(np.uint8)
