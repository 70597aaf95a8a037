"""A face turned upright and scaled to 320x320 pixels by its five landmarks.

The template puts the eyes 75 pixels apart on line 141, in the middle of the picture; the warp is the
least-squares similarity of Umeyama (1991), "Least-squares estimation of transformation parameters between
two point patterns".
"""

from __future__ import annotations

import cv2
import numpy as np

from utils.schemas import FACE_SIZE

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
