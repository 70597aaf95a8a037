"""Classic face swaps, made by plain image processing: the face of a source laid over that of a target.

It is laid there by a similarity of the five landmarks, given the target's colours (Reinhard et al. 2001,
"Color transfer between images") and blended in with a soft ellipse.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils.align import similarity

# The part of the aligned 320x320 face that is swapped: brows to chin, cheek to cheek.
ELLIPSE_CENTRE, ELLIPSE_AXES, FEATHER = (160, 183), (65, 87), 9.0


def oval_mask() -> np.ndarray:
    """Weight of the swapped face in the aligned 320x320 picture, (320, 320) float32 in [0, 1]."""
    mask = np.zeros((320, 320), np.float32)
    cv2.ellipse(mask, ELLIPSE_CENTRE, ELLIPSE_AXES, 0, 0, 360, 1.0, -1)
    return cv2.GaussianBlur(mask, (0, 0), FEATHER)


def match_colours(source: np.ndarray, target: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """`source` with the mean and spread, channel by channel in Lab, that `target` has where mask > 0.5.

    Both (H, W, 3) uint8 BGR; mask (H, W). Returns (H, W, 3) float32 BGR in [0, 255].
    """
    inside = mask > 0.5
    source_lab, target_lab = (
        cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB) for image in (source, target)
    )
    mean, std = source_lab[inside].mean(axis=0), source_lab[inside].std(axis=0)
    wanted_mean, wanted_std = target_lab[inside].mean(axis=0), target_lab[inside].std(axis=0)
    # a flat channel has no spread to stretch
    matched = (source_lab - mean) * (wanted_std / np.maximum(std, 1e-3)) + wanted_mean
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
    coloured = match_colours(warped, target, mask)
    blended = mask[..., None] * coloured + (1 - mask[..., None]) * target
    return np.round(blended).astype(np.uint8)
