"""Attention crop and attention drop: the two augmentations of WS-DAN (arXiv:1901.09891, section 3.3).

Whole batches at a time, without a loop over images and without waiting for the device. The published
constants: training crops at theta U(0.4, 0.6) with padding 0.1 and drops at theta U(0.4, 0.7); validation
crops at theta 0.1 with padding 0.05. No gradient flows through boxes and masks.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

CROP_THETA, CROP_PADDING = (0.4, 0.6), 0.1
DROP_THETA = (0.4, 0.7)
VALIDATION_THETA, VALIDATION_PADDING = 0.1, 0.05


def attention_mask(maps: Tensor, theta: Tensor | float, size: tuple[int, int]) -> Tensor:
    """Where the upsampled map reaches theta of its low-resolution maximum: (B, 1, h, w) -> bool (B, 1, H, W).

    theta: a number, or one of each image (B,). A map of zeros is reached everywhere, one of NaN nowhere.
    """
    theta = torch.as_tensor(theta, dtype=torch.float32, device=maps.device).reshape(-1, 1, 1, 1)
    maps = maps.float()
    upsampled = interpolate(maps, size=size, mode="bilinear", align_corners=True)
    return upsampled >= theta * maps.amax(dim=(2, 3), keepdim=True)


def _span(reached: Tensor, padding: float) -> tuple[Tensor, Tensor]:
    """First and end (exclusive) place of what is reached, padded: bool (B, S) -> two of (B,), float64.

    Where nothing is reached, all of it.
    """
    size = reached.shape[1]
    places = torch.arange(size, device=reached.device, dtype=torch.float64)
    low = torch.where(reached, places, float(size)).amin(dim=1)
    high = torch.where(reached, places, -1.0).amax(dim=1)
    start = (low - padding * size).trunc().clamp_min(0)
    end = (high + padding * size).trunc().clamp_max(size)
    nothing = ~reached.any(dim=1)
    start = torch.where(nothing, 0.0, start)
    end = torch.where(nothing, float(size), end)
    return start, torch.maximum(end, start + 1)


@torch.no_grad()
def attention_boxes(maps: Tensor, theta: Tensor | float, size: tuple[int, int], padding: float) -> Tensor:
    """Boxes around what the maps reach: (B, 1, h, w) -> (B, 4) float64 x1, y1, x2, y2, end exclusive."""
    mask = attention_mask(maps, theta, size)[:, 0]  # (B, H, W)
    y1, y2 = _span(mask.any(dim=2), padding)
    x1, x2 = _span(mask.any(dim=1), padding)
    return torch.stack([x1, y1, x2, y2], dim=1)


@torch.no_grad()
def attention_crop(images: Tensor, maps: Tensor, theta: Tensor | float, padding: float) -> Tensor:
    """Each image's attended box, stretched to full size: images (B, 3, H, W), maps (B, 1, h, w) -> images.

    Bilinear with corners aligned, as the reference stretches: along the rows, then along the columns.
    """
    height, width = images.shape[2:]
    x1, y1, x2, y2 = attention_boxes(maps, theta, (height, width), padding).unbind(1)
    return _stretch(_stretch(images, x1, x2, dim=3), y1, y2, dim=2)


def _stretch(images: Tensor, start: Tensor, end: Tensor, dim: int) -> Tensor:
    """Read [start, end) of one axis, another span for every image, linearly over the axis' whole length.

    Places and weights are float32 in torch's own order of operations, so that the result is what
    `interpolate` makes of the cut-out box, but for its last bit.
    """
    size = images.shape[dim]
    scale = ((end - 1 - start) / max(size - 1, 1)).float()
    places = torch.arange(size, device=images.device, dtype=torch.float32) * scale[:, None]  # (B, S)
    below = places.floor()
    weight = (places - below).to(images.dtype)
    first = below.long() + start.long()[:, None]
    second = torch.minimum(first + 1, end.long()[:, None] - 1)

    along = [len(images), 1, 1, 1]
    along[dim] = size
    first, second, weight = (values.reshape(along) for values in (first, second, weight))
    low = torch.take_along_dim(images, first, dim)
    high = torch.take_along_dim(images, second, dim)
    return low * (1 - weight) + high * weight


def logits_with_crop(net: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (B, K) of a WS-DAN's raw forward, and their mean with those of the attention crop, float32.

    As published validation has it: logits are averaged, not probabilities, and the crop is that of the mean
    map. net: in eval mode; images (B, 3, H, W), normalised.
    """
    raw, _, attention = net(images)
    crop = net(attention_crop(images, attention, VALIDATION_THETA, VALIDATION_PADDING))[0]
    return raw, (raw.float() + crop.float()) / 2


@torch.no_grad()
def attention_drop(images: Tensor, maps: Tensor, theta: Tensor | float) -> Tensor:
    """The images with what the maps reach set to 0 (the mean colour, after normalisation)."""
    mask = attention_mask(maps, theta, (images.shape[2], images.shape[3]))
    return images.masked_fill(mask, 0.0)
