"""The published recipes' pictures are those that albumentations 2.0.8 made; another release shows here.

tests/golden/published_augmentations.npz holds them as mean grey levels: recipe -> (seed, 8, 8, 3).
`PYTHONPATH=. python tests/augment/test_published_numbers.py` makes it, if a recipe is meant to change.
"""

from pathlib import Path

import cv2
import numpy as np
import pytest

from utils.augment.recipes import augmentation
from utils.weights.preprocess import Preprocess

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "published_augmentations.npz"
RECIPES = ("published", "published-wsdan")
SEEDS = 40
HALF = (0.5, 0.5, 0.5)


def made_face() -> np.ndarray:
    """A picture with edges, shades and colours, computed: uint8 RGB (320, 320, 3)."""
    y, x = np.mgrid[0:320, 0:320].astype(np.float64)
    waves = [128 + 60 * np.sin(x / a) * np.cos(y / b) for a, b in ((17, 23), (29, 11), (41, 37))]
    image = np.stack(waves, axis=2)
    image[(x - 160) ** 2 + (y - 150) ** 2 < 90**2] *= 0.6
    return image.round().clip(0, 255).astype(np.uint8)


def grids(name: str) -> np.ndarray:
    """(SEEDS, 8, 8, 3) mean grey levels of the augmented picture at 299 pixels."""
    augment, face, preprocess = augmentation(name), made_face(), Preprocess(299, HALF, HALF)
    images = [augment(face, preprocess, np.random.default_rng(seed)) for seed in range(SEEDS)]
    small = [cv2.resize(image.astype(np.float32), (8, 8), interpolation=cv2.INTER_AREA) for image in images]
    return np.stack(small)


@pytest.mark.parametrize("name", RECIPES)
def test_the_pictures_are_the_recorded_ones(name):
    expected, found = np.load(GOLDEN)[name], grids(name)
    assert np.abs(found - found.mean(axis=0)).max() > 10  # seeds differ, so the recipe does something
    # rounding differs between processors by a grey level in places, which a mean over 37 pixels hardly shows
    assert np.abs(found - expected).max() < 0.5


if __name__ == "__main__":
    np.savez_compressed(GOLDEN, **{name: grids(name) for name in RECIPES})
