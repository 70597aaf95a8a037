"""A face turned upright and scaled to 320x320 pixels by its five landmarks.

The template puts the eyes 75 pixels apart on line 141, in the middle of the picture; the warp is the
least-squares similarity of Umeyama (1991), "Least-squares estimation of transformation parameters between
two point patterns".

A frame is a rectangle and the warp a similarity, so what it covers of the aligned face is convex; beyond the
frame's edge the warp leaves black. The second half of this file says how far the picture reaches.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils.weights.preprocess import FACE_SIZE

# Left eye, right eye, nose, left and right corner of the mouth, as seen in the image: x, y in pixels.
TEMPLATE = np.array([(122.5, 141.25), (197.5, 141.25), (160.0, 178.75), (137.5, 225.25), (182.5, 225.25)])


def similarity(landmarks: np.ndarray, truncate: bool = True) -> np.ndarray | None:
    """The (2, 3) float64 matrix (scale, rotation, translation) from a frame on to `TEMPLATE`.

    landmarks: (5, 2) x, y in pixels of the frame. truncate: cut them to integers toward zero first, as the
    published crops and scores have it. None if they are degenerate: not finite, or all in one place.
    """
    points = np.asarray(landmarks, np.float64).reshape(5, 2)
    if not np.isfinite(points).all():
        return None
    if truncate:
        points = np.trunc(points)
    if not np.ptp(points, axis=0).any():
        return None
    matrix = _estimate(points)
    # a vanishing scale can't be inverted, which the warp has to
    if matrix is None or not np.isfinite(matrix).all() or np.linalg.det(matrix[:, :2]) < 1e-12:
        return None
    return matrix


def _estimate(points: np.ndarray) -> np.ndarray | None:
    from skimage.transform import SimilarityTransform  # here: it is slow to import

    if hasattr(SimilarityTransform, "from_estimate"):  # scikit-image 0.26 on
        transform = SimilarityTransform.from_estimate(points, TEMPLATE)
        return transform.params[:2] if transform else None
    transform = SimilarityTransform()
    return transform.params[:2] if transform.estimate(points, TEMPLATE) else None


def align_face(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray | None:
    """The face of a (H, W, 3) uint8 BGR frame as (320, 320, 3) uint8 BGR; black where the frame ends.

    landmarks: (5, 2) in pixels of the frame, maybe outside it. None if they are degenerate.
    """
    matrix = similarity(landmarks)
    if matrix is None:
        return None
    return cv2.warpAffine(frame, matrix, (FACE_SIZE, FACE_SIZE), flags=cv2.INTER_LINEAR)


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
