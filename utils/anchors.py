"""RetinaFace's anchors, and decoding what the network predicts for them.

All values are normalised: x by the frame's width, y by its height.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

STRIDES = (8, 16, 32)
SIZES = ((16, 32), (64, 128), (256, 512))
VARIANCES = (0.1, 0.2)


# The cache is bounded for the sake of data sets with many frame sizes (1.4 MB for one of 1080p), and filled
# outside inference mode, so that what a detector cached can be trained on.
@lru_cache(maxsize=16)
@torch.inference_mode(False)
def anchors(height: int, width: int, device: str | torch.device = "cpu") -> Tensor:
    """The anchors of a frame, (A, 4) float32: centre x, centre y, width, height.

    Level by level (strides 8, 16, 32), cells row by row, the two sizes of a cell next to each other: the
    order of `models.RetinaFace`'s outputs. The tensor is cached and shared: don't change it in place.
    Raises ValueError for a frame without pixels.
    """
    if height < 1 or width < 1:
        raise ValueError(f"a frame of {height} x {width} has no anchors")
    levels = [_level(height, width, stride, sizes) for stride, sizes in zip(STRIDES, SIZES, strict=True)]
    return torch.cat(levels).to(device=device, dtype=torch.float32)


def _level(height: int, width: int, stride: int, sizes: tuple[int, int]) -> Tensor:
    """The anchors of one pyramid level, (rows * columns * 2, 4) float64."""
    centre_y = (torch.arange(math.ceil(height / stride), dtype=torch.float64) + 0.5) * stride / height
    centre_x = (torch.arange(math.ceil(width / stride), dtype=torch.float64) + 0.5) * stride / width
    size = torch.tensor(sizes, dtype=torch.float64)
    grid = torch.meshgrid(centre_y, centre_x, size, indexing="ij")
    y, x, size = (axis.reshape(-1) for axis in grid)
    return torch.stack([x, y, size / width, size / height], dim=1)


def decode_boxes(loc: Tensor, anchors: Tensor) -> Tensor:
    """Box predictions (..., 4) of the anchors (..., 4) as x1, y1, x2, y2 (..., 4)."""
    centre = anchors[..., :2] + VARIANCES[0] * loc[..., :2] * anchors[..., 2:]
    size = anchors[..., 2:] * torch.exp(VARIANCES[1] * loc[..., 2:])
    return torch.cat([centre - size / 2, centre + size / 2], dim=-1)


def decode_landmarks(pred: Tensor, anchors: Tensor) -> Tensor:
    """Landmark predictions (..., 10) of the anchors (..., 4) as x, y of five points (..., 5, 2)."""
    points = pred.unflatten(-1, (5, 2))
    return anchors[..., None, :2] + VARIANCES[0] * points * anchors[..., None, 2:]
