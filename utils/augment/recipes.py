"""Augmentation of aligned faces for training: the two published recipes and those of our bundled weights.

An `Augmentation` takes the aligned face, uint8 RGB (320, 320, 3), to the network's size: transforms in the
frame of the aligned face, then `Preprocess.resize`, then transforms at the network's size. Both labels go
through the same, but for "spared" and "filmed", which wear out real faces more often than fakes.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else each import asks the network for a newer one

import albumentations as A  # noqa: E402
import cv2  # noqa: E402
import numpy as np  # noqa: E402

from utils.augment.alike import Alike  # noqa: E402
from utils.augment.degradations import (
    ChromaNoise,
    ColourCast,
    ContinuePicture,
    CutEdge,
    Exposure,
    Occlusion,
    Recompression,
)
from utils.augment.filming import Filmed  # noqa: E402
from utils.augment.transforms import (
    AdditiveNoise,
    CameraNoise,
    Emboss,
    GaussianBlur,
    MotionBlur,
    Rescale,
    Sharpen,
)
from utils.weights.preprocess import Preprocess  # noqa: E402


class Augmentation:
    """Transforms `before` and `after` the resize; the same generator state gives the same image.

    Between the two the resized face is `worn`, real and fake ones each with a probability of their own.
    """

    def __init__(
        self,
        before: Sequence[A.BasicTransform | A.BaseCompose],
        after: Sequence = (),
        p=1.0,
        worn: A.BaseCompose | None = None,
        p_worn: tuple[float, float] = (0.0, 0.0),
    ):
        """p: probability of `after` as a whole; p_worn: of `worn`, for a real face and for a fake one."""
        self.before, self.after = A.Compose(list(before)), A.Compose(list(after), p=p)
        self.worn, self.p_worn = A.Compose([worn] if worn else []), p_worn

    def __call__(
        self, face: np.ndarray, preprocess: Preprocess, rng: np.random.Generator, label: int = 0
    ) -> np.ndarray:
        """Aligned face, uint8 RGB (320, 320, 3) -> augmented, uint8 RGB (size, size, 3)."""
        state = random.Random(int(rng.integers(2**62)))
        for part in (self.before, self.worn, self.after):
            part.set_random_state(rng, state)
        image = preprocess.resize(self.before(image=face)["image"])
        if self.worn.transforms and state.random() < self.p_worn[label]:
            image = self.worn(image=image)["image"]
        return self.after(image=image)["image"]


def augmentation(name: str) -> Augmentation | Alike:
    """The augmentation of that name; "published" is Xception's, "published-wsdan" the other one."""
    recipes = {
        "published": published, "published-wsdan": published_wsdan,
        "bundled": bundled, "worn": worn, "spared": spared, "filmed": filmed, "robust": robust,
        "alike": Alike,
    }  # fmt: skip
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


def bundled(worn: A.BaseCompose | None = None, p_worn: tuple[float, float] = (0.0, 0.0)) -> Augmentation:
    """What clips from elsewhere differ in: framing, light, colour, camera, scale and compression.

    worn, p_worn: as of `Augmentation`.
    """
    return Augmentation(
        before=[
            A.HorizontalFlip(p=0.5),
            A.Affine(
                scale=(0.95, 1.15), translate_percent=(-0.03, 0.03), rotate=(-6, 6), fit_output=False,
                interpolation=cv2.INTER_LINEAR, border_mode=cv2.BORDER_CONSTANT, fill=0, p=0.7,
            ),
        ],
        after=[
            A.RandomBrightnessContrast(0.2, 0.2, p=0.5),
            A.RandomGamma((75, 135), p=0.25),
            A.HueSaturationValue(8, 25, 10, p=0.3),
            A.OneOf([A.MotionBlur((3, 7)), GaussianBlur((3, 7)), AdditiveNoise((2, 10))], p=0.25),
            Rescale((0.3, 0.9), p=0.4),
            A.ImageCompression(quality_range=(30, 95), p=0.5),
        ],
        worn=worn, p_worn=p_worn,
    )  # fmt: skip


def worn() -> Augmentation:
    """As "bundled", but a third of the pictures, real and fake, lose most of their detail or light besides.

    They do once they are framed and resized, before colours, noise and compression change.

    Blurred, tiny or strongly compressed faces are else taken for fakes, whose detail is blurred as well.
    """
    loss = A.OneOf(
        [
            GaussianBlur((9, 33), p=0.25),
            MotionBlur((9, 23), p=0.1),
            Recompression(quality=(20, 75), qp=(26, 40), scale=(0.15, 0.6), p_scale=1.0, p=0.35),
            Recompression(quality=(15, 60), qp=(28, 40), p_scale=0.0, p=0.15),
            Exposure((-3.5, -1.0), p=0.15),
        ],
        p=1.0,
    )
    return bundled(worn=loss, p_worn=(0.35, 0.35))


def spared() -> Augmentation:
    """As "worn", but 45% of the real pictures and 27% of the fakes lose most of their detail or light.

    Under "worn" a picture that says nothing still came out above 0.5 more often than below. Of the world's
    poor pictures far more are real than fake: so here three of five are.
    """
    loss = A.OneOf(
        [
            GaussianBlur((9, 33), p=0.2),
            MotionBlur((9, 23), p=0.1),
            Recompression(quality=(15, 75), qp=(26, 42), scale=(0.13, 0.6), p_scale=1.0, p=0.45),
            Recompression(quality=(15, 60), qp=(28, 40), p_scale=0.0, p=0.12),
            Exposure((-3.5, -1.0), p=0.13),
        ],
        p=1.0,
    )
    return bundled(worn=loss, p_worn=(0.45, 0.27))


def filmed() -> Augmentation:
    """As "spared", with half of the real pictures and a third of the fakes, many through a video encoder.

    A compressed video blurs a small face that moves and leaves the background sharp, as a swap may look;
    "spared" knows compressed stills alone.
    """
    loss = A.OneOf(
        [
            Filmed(crf=(18, 42), quantiser=(2, 16), scale=(0.13, 0.6), p=0.45),
            GaussianBlur((9, 33), p=0.12),
            MotionBlur((9, 23), p=0.06),
            Recompression(quality=(15, 75), qp=(26, 42), scale=(0.13, 0.6), p_scale=1.0, p=0.25),
            Recompression(quality=(15, 60), qp=(28, 40), p_scale=0.0, p=0.07),
            Exposure((-3.5, -1.0), p=0.1),
        ],
        p=1.0,
    )
    return bundled(worn=loss, p_worn=(0.5, 0.33))


def robust() -> Augmentation:
    """Poor pictures of every kind, so that neither quality nor light nor framing tells real from fake.

    Stronger than "bundled" throughout; besides, half of the crops lose the black around them, and others
    get an edge. About half of the images are left without any one kind of damage.
    """
    return Augmentation(
        before=[
            A.HorizontalFlip(p=0.5),
            ContinuePicture(p=0.5),
            A.Affine(
                scale=(0.9, 1.15), translate_percent=(-0.04, 0.04), rotate=(-8, 8), fit_output=False,
                interpolation=cv2.INTER_LINEAR, border_mode=cv2.BORDER_CONSTANT, fill=0, p=0.7,
            ),
        ],
        after=[
            CutEdge((0.03, 0.2), p=0.2),
            A.OneOf(
                [
                    Exposure((-2.5, 0.6), p=0.5),
                    A.RandomGamma((70, 180), p=0.25),
                    A.RandomBrightnessContrast((-0.12, 0.25), (-0.35, 0.3), p=0.5),
                ],
                p=0.55,
            ),
            A.OneOf([ColourCast(0.25), A.HueSaturationValue(8, 40, 10), A.ToGray(p=0.25)], p=0.4),
            A.OneOf([GaussianBlur((3, 9)), MotionBlur((3, 11)), A.Defocus((1, 3), p=0.3)], p=0.25),
            A.OneOf(
                [
                    AdditiveNoise((2, 14)),
                    AdditiveNoise((2, 12), per_channel=False),
                    ChromaNoise((2, 9)),
                ],
                p=0.25,
            ),
            Rescale((0.25, 0.9), p=0.35),
            Recompression(quality=(25, 95), qp=(22, 40), p=0.6),
            A.ImageCompression(quality_range=(40, 95), p=0.2),
            Occlusion((0.08, 0.3), p=0.15),
        ],
    )  # fmt: skip
