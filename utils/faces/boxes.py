"""Boxes of faces: x1, y1, x2, y2 in pixels, and which of them are of one face."""

from __future__ import annotations

import numpy as np


def longer_side(box: np.ndarray) -> float:
    return float(max(box[2] - box[0], box[3] - box[1]))


def box_areas(boxes: np.ndarray) -> np.ndarray:
    """(N, 4) x1, y1, x2, y2 -> (N,)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def distinct(boxes: np.ndarray) -> list[int]:
    """One of the boxes (N, 4) for each face that they are of, the largest, the largest face first.

    A box whose centre lies in a larger one is of the same face.
    """
    chosen, left = [], np.arange(len(boxes))
    while len(left):
        best = left[np.argmax(box_areas(boxes[left]))]
        centres = (boxes[left, :2] + boxes[left, 2:]) / 2
        inside = ((centres >= boxes[best, :2]) & (centres <= boxes[best, 2:])).all(axis=1)
        left = left[~inside & (left != best)]
        chosen.append(int(best))
    return chosen


def count_people(boxes: np.ndarray) -> int:
    """How many faces the boxes (N, 4) are of."""
    return len(distinct(boxes))
