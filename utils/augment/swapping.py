"""Classic face swaps, made by plain image processing: the face of a source laid over that of a target.

It lies there by its five landmarks, is given the target's colours (Reinhard et al. 2001, "Color transfer
between images") and blended in with a soft ellipse or by Poisson's equation (Perez et al. 2003, "Poisson
image editing"). `swap_face` makes the fake of `make demo`, `swap_crop` those that networks are measured on
(utils/evaluation/swaps.py). Nothing is trained on either.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from utils.faces.align import common_extent, extent_mask, similarity

# The part of the aligned 320x320 face that is swapped: brows to chin, cheek to cheek.
ELLIPSE_CENTRE, ELLIPSE_AXES, FEATHER = (160, 183), (65, 87), 9.0
# Swaps of crops: share of each axis and feather, both drawn, and the largest change of a channel's spread.
BLENDS = ("Poisson", "soft mask")
SHRINK, FEATHERS, STRETCH = (0.8, 0.95), (3.0, 9.0), 1.6


def oval_mask(axes: tuple[float, float] = ELLIPSE_AXES, feather: float = FEATHER) -> np.ndarray:
    """Weight of the swapped face in the aligned 320x320 picture, (320, 320) float32 in [0, 1].

    axes: half the ellipse's width and height; feather: deviation of the blur of its edge; all in pixels.
    """
    mask = np.zeros((320, 320), np.float32)
    cv2.ellipse(mask, ELLIPSE_CENTRE, (round(axes[0]), round(axes[1])), 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), feather)


def match_colours(
    source: np.ndarray, target: np.ndarray, mask: np.ndarray, stretch: float = math.inf
) -> np.ndarray:
    """`source` with the mean and spread, channel by channel in Lab, that `target` has where mask > 0.5.

    Both (H, W, 3) uint8 BGR; mask (H, W); stretch: the factor by which a spread is changed at most. Returns
    (H, W, 3) float32 BGR in [0, 255].
    """
    inside = mask > 0.5
    source_lab, target_lab = (
        cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB) for image in (source, target)
    )
    mean, std = source_lab[inside].mean(axis=0), source_lab[inside].std(axis=0)
    wanted_mean, wanted_std = target_lab[inside].mean(axis=0), target_lab[inside].std(axis=0)
    # a flat channel has no spread to stretch
    gain = (wanted_std / np.maximum(std, 1e-3)).clip(1 / stretch, stretch)
    matched = (source_lab - mean) * gain + wanted_mean
    return np.clip(cv2.cvtColor(matched.astype(np.float32), cv2.COLOR_LAB2BGR) * 255, 0, 255)


def swap_face(
    target: np.ndarray, target_landmarks: np.ndarray, source: np.ndarray, source_landmarks: np.ndarray
) -> np.ndarray:
    """`target` with the face of `source`: (H, W, 3) uint8 BGR frames, landmarks (5, 2) in their pixels.

    The target comes back as it is where either face's landmarks are degenerate.
    """
    to_template = similarity(target_landmarks, truncate=False)
    source_to_template = similarity(source_landmarks, truncate=False)
    if to_template is None or source_to_template is None:
        return target
    from_template = cv2.invertAffineTransform(to_template)  # (2, 3)
    chain = np.vstack([from_template, [0, 0, 1]]) @ np.vstack([source_to_template, [0, 0, 1]])
    height, width = target.shape[:2]
    warped = cv2.warpAffine(
        source, chain[:2], (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    mask = cv2.warpAffine(oval_mask(), from_template, (width, height), flags=cv2.INTER_LINEAR)
    if not (mask > 0.5).any():  # a face outside the frame
        return target
    return blended(match_colours(warped, target, mask), target, mask)


def swap_crop(
    target: np.ndarray, source: np.ndarray, blend: str, rng: np.random.Generator
) -> np.ndarray | None:
    """The aligned face `target` with the inner face of another, `source`: uint8 RGB (320, 320, 3).

    blend: of BLENDS. Both lie on the template already, so nothing is moved. Only what both have a picture of
    is swapped, and the target's black stays black; None where that is nothing.
    """
    feather = rng.uniform(*FEATHERS)
    oval = oval_mask(ELLIPSE_AXES * rng.uniform(*SHRINK, 2), feather)
    inside = common_extent(extent_mask(target), extent_mask(source), np.eye(2, 3))
    # Towards the picture's edge it fades as well: a hard end there would be a seam that no fake has.
    mask = oval * (cv2.distanceTransform(inside, cv2.DIST_L2, 3) / np.float32(2 * feather)).clip(0, 1)
    if not (mask > 0.5).any():
        return None
    source, target = (np.ascontiguousarray(face[..., ::-1]) for face in (source, target))  # BGR
    coloured = match_colours(source, target, mask, STRETCH)
    make = {"Poisson": cloned, "soft mask": blended}[blend]
    return np.ascontiguousarray(make(coloured, target, mask)[..., ::-1])


def blended(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Mean of source and target (H, W, 3), the mask (H, W) being the source's weight: uint8."""
    return np.round(mask[..., None] * source + (1 - mask[..., None]) * target).astype(np.uint8)


def cloned(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The target (H, W, 3), with the source's gradients inside the rim of mask (H, W) > 0.5: uint8."""
    within = (mask > 0.5).astype(np.uint8) * 255
    x, y, width, height = cv2.boundingRect(within)
    middle = (x + width // 2, y + height // 2)  # where OpenCV lays the middle of that box: it stays in place
    return cv2.seamlessClone(source.round().astype(np.uint8), target, within, middle, cv2.NORMAL_CLONE)
