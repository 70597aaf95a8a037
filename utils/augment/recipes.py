"""Augmentation of aligned faces for training: the two published recipes, and "alike", which is ours.

An `Augmentation` takes the aligned face, uint8 RGB (320, 320, 3), to the network's size: transforms in the
frame of the aligned face, then `Preprocess.resize`, then transforms at the network's size. Real and fake go
through the same.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else each import asks the network for a newer one

import albumentations as A  # noqa: E402
import numpy as np  # noqa: E402

from utils.augment.alike import Alike  # noqa: E402
from utils.augment.transforms import (
    AdditiveNoise,
    CameraNoise,
    Emboss,
    GaussianBlur,
    MotionBlur,
    Sharpen,
)
from utils.weights.preprocess import Preprocess  # noqa: E402


class Augmentation:
    """Transforms `before` and `after` the resize; the same generator state gives the same image."""

    def __init__(
        self, before: Sequence[A.BasicTransform | A.BaseCompose], after: Sequence = (), p: float = 1.0
    ):
        """p: probability of `after` as a whole."""
        self.before, self.after = A.Compose(list(before)), A.Compose(list(after), p=p)

    def __call__(self, face: np.ndarray, preprocess: Preprocess, rng: np.random.Generator) -> np.ndarray:
        """Aligned face, uint8 RGB (320, 320, 3) -> augmented, uint8 RGB (size, size, 3)."""
        state = random.Random(int(rng.integers(2**62)))
        for part in (self.before, self.after):
            part.set_random_state(rng, state)
        image = preprocess.resize(self.before(image=face)["image"])
        return self.after(image=image)["image"]


def augmentation(name: str) -> Augmentation | Alike:
    """The augmentation of that name; "published" is Xception's, "published-wsdan" the other one."""
    recipes = {"published": published, "published-wsdan": published_wsdan, "alike": Alike}
    return recipes[name]()


def published() -> Augmentation:
    """The published Xception list (albumentations 0.4.5, imgaug 0.2.6): strong, no flip, on the whole face.

    By some of the names today's albumentations means something else: those are of `transforms`.
    """
    return Augmentation(
        [
            A.ChannelShuffle(p=0.1),
            AdditiveNoise((10, 50), of_variance=True, p=0.1),
            GaussianBlur((3, 7), p=0.1),
            A.HueSaturationValue(20, 30, 20, p=0.1),
            AdditiveNoise((0.01 * 255, 0.05 * 255), per_channel=False, p=0.1),
            Sharpen((0.2, 0.5), (0.5, 1.0), p=0.5),
            CameraNoise((0.01, 0.05), (0.1, 0.5), p=0.3),
            A.RandomBrightnessContrast(0.2, 0.0, p=0.8),
            A.RandomBrightnessContrast(0.2, 0.2, p=0.2),
            A.ToSepia(p=0.1),
        ]
    )


def published_wsdan() -> Augmentation:
    """The published WS-DAN list: at the network's size, and with probability 0.5 as a whole."""
    # The p of transforms inside OneOf are its weights; the chosen one always runs.
    return Augmentation(
        before=[],
        after=[
            A.HorizontalFlip(p=0.5),
            A.OneOf(
                [
                    AdditiveNoise((0.01 * 255, 0.05 * 255), per_channel=False),
                    AdditiveNoise((10, 50), of_variance=True),
                ],
                p=0.2,
            ),
            A.OneOf(
                [MotionBlur((3, 7), p=0.25), GaussianBlur((3, 7), p=0.5), A.Blur((3, 3), p=0.25)], p=0.2
            ),
            A.HueSaturationValue(20, 30, 20, p=0.2),
            A.OneOf(
                [
                    A.RandomBrightnessContrast(0.2, 0.0),
                    Sharpen((0.2, 0.5), (0.5, 1.0)),
                    Emboss((0.2, 0.5), (0.2, 0.7)),
                    A.RandomBrightnessContrast(0.2, 0.2),
                ],
                p=0.6,
            ),
            A.ToSepia(p=0.1),
        ],
        p=0.5,
    )
