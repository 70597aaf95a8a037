"""The plain form of one training step: float32, images as (B, 3, H, W) in memory, Python loops over a batch.

What `benchmarks/bench.py` measures the training of this repository against. The networks are the same; the
attention crop and drop, the losses and the centres are written as the published recipe states them, image
by image.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, normalize

CROP_PADDING = 0.1


def crop_image(image: Tensor, attention: Tensor, theta: float) -> Tensor:
    """image (3, H, W), attention (h, w): the padded box around what the map reaches, stretched to H x W."""
    height, width = image.shape[1:]
    upsampled = upsample(attention, height, width)
    reached = torch.nonzero(upsampled >= theta * attention.max())  # (N, 2) y, x
    y1 = max(int(reached[:, 0].min().item() - CROP_PADDING * height), 0)
    y2 = min(int(reached[:, 0].max().item() + CROP_PADDING * height), height)
    x1 = max(int(reached[:, 1].min().item() - CROP_PADDING * width), 0)
    x2 = min(int(reached[:, 1].max().item() + CROP_PADDING * width), width)
    box = image[None, :, y1:y2, x1:x2]
    return interpolate(box, size=(height, width), mode="bilinear", align_corners=True)[0]


def drop_image(image: Tensor, attention: Tensor, theta: float) -> Tensor:
    """image (3, H, W), attention (h, w): the image with what the map reaches set to 0."""
    upsampled = upsample(attention, *image.shape[1:])
    return image * (upsampled < theta * attention.max()).float()


def upsample(attention: Tensor, height: int, width: int) -> Tensor:
    """(h, w) -> (H, W)."""
    return interpolate(attention[None, None], size=(height, width), mode="bilinear", align_corners=True)[0, 0]


def wsdan_losses(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    centers: Tensor,
    beta: float,
    picks: tuple[int, int] | None = None,
    crop_theta: float | None = None,
    drop_theta: float | None = None,
    head_dropout: float = 0.5,
) -> dict[str, Tensor]:
    """Loss terms and new centres of one WS-DAN step, as `training_losses` gives them; None = drawn."""
    picked = None if picks is None else torch.tensor(picks).expand(len(images), 2)
    logits_raw, feature_matrix, maps = net(images, head_dropout=head_dropout, picks=picked)
    crops, drops = [], []
    with torch.no_grad():
        for image, (crop_map, drop_map) in zip(images, maps.detach(), strict=True):
            theta = torch.empty(1).uniform_(0.4, 0.6).item() if crop_theta is None else crop_theta
            crops.append(crop_image(image, crop_map, theta))
            theta = torch.empty(1).uniform_(0.4, 0.7).item() if drop_theta is None else drop_theta
            drops.append(drop_image(image, drop_map, theta))
    raw = cross_entropy(logits_raw, labels)
    crop = cross_entropy(net(torch.stack(crops))[0], labels)
    drop = cross_entropy(net(torch.stack(drops))[0], labels)

    away = feature_matrix - normalize(centers[labels], dim=-1)
    center = away.square().sum() / len(images)
    moved = centers.clone()
    for label, step in zip(labels, away.detach(), strict=True):  # of one class, the last one stays
        moved[label] = centers[label] + beta * step
    total = raw + crop / 3 + drop / 2 + center
    return {"raw": raw, "crop": crop, "drop": drop, "center": center, "total": total, "centers": moved}


def take_step(losses: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> float:
    """Forward, backward and update; returns the loss."""
    optimizer.zero_grad()
    loss = losses()
    loss.backward()
    optimizer.step()
    return loss.item()
