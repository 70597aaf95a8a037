"""How far the picture reaches inside an aligned face: beyond a frame's edge the warp leaves black.

A frame is a rectangle and the warp a similarity, so what it covers of the aligned face is convex.
"""

from __future__ import annotations

import cv2
import numpy as np

MARGIN = 3  # pixels from the picture's edge, which the warp left half black


def extent_hull(face: np.ndarray) -> np.ndarray | None:
    """Corners (N, 2) int32, x, y, of the convex hull of all that isn't black in a (H, W, 3) uint8 face.

    Black spots inside the picture don't matter, a corner of it that is itself black is cut off. None if
    everything is black.
    """
    lit = cv2.cvtColor(face, cv2.COLOR_RGB2GRAY) > 0  # (H, W); of BGR the weights differ, 0 stays 0
    rows = np.flatnonzero(lit.any(axis=1))
    if len(rows) == 0:
        return None
    first = lit[rows].argmax(axis=1)
    last = lit.shape[1] - 1 - lit[rows, ::-1].argmax(axis=1)
    edges = np.concatenate([np.stack([first, rows], 1), np.stack([last, rows], 1)]).astype(np.int32)
    return cv2.convexHull(edges)[:, 0]


def extent_mask(face: np.ndarray) -> np.ndarray:
    """255 where the picture is and 0 beyond its edge: (H, W, 3) uint8 -> (H, W) uint8."""
    mask = np.zeros(face.shape[:2], np.uint8)
    hull = extent_hull(face)
    if hull is not None:
        cv2.fillConvexPoly(mask, hull, 255)
    return mask


def common_extent(extent: np.ndarray, other: np.ndarray, move: np.ndarray) -> np.ndarray:
    """255 where a face and another, moved one both have a picture, MARGIN pixels from its edge: (H, W) uint8.

    extent, other: their masks, of `extent_mask`; move: the (2, 3) matrix from the other's pixels to the
    face's. The edge of the image is no edge of the picture.
    """
    moved = cv2.warpAffine(
        other, move, extent.shape[::-1], flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE
    )
    kernel = np.ones((2 * MARGIN + 1,) * 2, np.uint8)
    return cv2.erode(extent & moved, kernel, borderValue=255)


def continued(face: np.ndarray, border: int = cv2.BORDER_REFLECT_101, rim: int = 2) -> np.ndarray:
    """The face with the black beyond its picture filled by continuing the picture; the rest is untouched.

    border: how, as OpenCV's border modes; rim: pixels along the picture's edge, half black from the warp,
    that are filled as well.
    """
    hull = extent_hull(face)
    if hull is None or len(hull) < 3:
        return face
    height, width = face.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, hull, 255)
    if mask.all():
        return face
    if rim:  # the border of the image is no edge of the picture
        mask = cv2.erode(mask, np.ones((2 * rim + 1,) * 2, np.uint8), borderValue=255)
    (x, y), (w, h), angle = cv2.minAreaRect(hull.astype(np.float32))
    w, h = round(w) + 1 - 2 * rim, round(h) + 1 - 2 * rim  # from the centres of pixels to their count
    if min(w, h) < 16:
        return face
    # The picture set upright, then laid back with a border mode that continues it.
    upright = cv2.getRotationMatrix2D((x, y), angle, 1.0)
    upright[:, 2] += (w - 1) / 2 - x, (h - 1) / 2 - y
    picture = cv2.warpAffine(face, upright, (w, h), flags=cv2.INTER_LINEAR)
    back = cv2.warpAffine(
        picture, upright, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=border
    )
    return cv2.copyTo(face, mask, back)
