"""Fakes for training: another person's face laid on a real one by its landmarks, in its colours.

Masks are those of self-blending. Poisson's blending is left out, to measure with (utils/augment/swapping.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from utils.augment.self_blending import blending_mask, other_sharpness
from utils.augment.swapping import match_colours
from utils.faces.align import common_extent, extent_mask

SHARES = (0.8, 1.0, 1.0, 1.0)  # of the donor in the blend
P_SHARPNESS = 0.4  # that the donor's picture was sharper or softer
STRETCH = 1.6  # by which a channel's spread is changed at most
CANDIDATES = 48  # faces among which the donor is sought


def nearest_donor(landmarks: np.ndarray, target: int, rng: np.random.Generator) -> int:
    """Of some faces, drawn, the one whose pose is nearest to the target's; landmarks (N, 5, 2) of all."""
    drawn = rng.choice(len(landmarks), min(CANDIDATES, len(landmarks)), replace=False)
    others = drawn[drawn != target]
    apart = np.square(landmarks[others] - landmarks[target]).sum(axis=(1, 2))
    return int(others[apart.argmin()])


def grafted(
    target: np.ndarray,
    donor: np.ndarray,
    landmarks: Sequence[np.ndarray],
    rng: np.random.Generator,
    mesh: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The target with a part of the donor's face, uint8 RGB (H, W, 3), and the mask (H, W) in 0..1.

    landmarks: of target and donor, (5, 2) each, in their pixels; mesh: the target's points, if known. The
    fake is the target itself where the mask comes out empty: no part of the face is in both pictures.
    """
    move = affine(landmarks[1], landmarks[0])
    if rng.random() < P_SHARPNESS:
        donor = other_sharpness(donor, rng)
    size = target.shape[1::-1]
    moved = cv2.warpAffine(donor, move, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    extent = extent_mask(target)
    mask = blending_mask(common_extent(extent, extent_mask(donor), move), landmarks[0], rng, mesh)
    share = np.float32(rng.choice(SHARES))
    if not (mask > 0.5).any():
        return target, np.zeros_like(mask)
    coloured = match_colours(moved[..., ::-1], target[..., ::-1], mask, STRETCH)[..., ::-1]
    weight = mask[..., None] * share
    fake = (coloured * weight + target * (1 - weight)).round().astype(np.uint8)
    return cv2.copyTo(fake, extent, np.zeros_like(target)), mask


def affine(points: np.ndarray, onto: np.ndarray) -> np.ndarray:
    """The (2, 3) affine map that brings points (N, 2) nearest to others in the least squares."""
    known = np.column_stack([points, np.ones(len(points))])
    return np.linalg.lstsq(known, np.asarray(onto, np.float64), rcond=None)[0].T
