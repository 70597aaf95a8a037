"""The WS-DAN training step: three forwards, four losses, and the feature centres (Team WM's recipe).

Loss = CE(raw) + CE(crop) / 3 + CE(drop) / 2 + centre loss. The crop and the drop are made from attention maps
of the raw forward; all forwards run in train mode and share one backward.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from models.attention import CROP_PADDING, CROP_THETA, DROP_THETA, attention_crop, attention_drop
from utils.training.losses import Loss

CROP_WEIGHT, DROP_WEIGHT = 1 / 3, 1 / 2
HEAD_DROPOUT = 0.5


def center_loss(feature_matrix: Tensor, centers: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Squared distance to the unit-length centre of the label, summed and divided by the batch size.

    feature_matrix (B, F), centers (K, F), labels (B,) -> the loss () and feature_matrix - n (B, F), where n
    is the normalised centre; 0 as long as the centre is 0.
    """
    away = feature_matrix - normalize(centers[labels], dim=-1)
    return away.square().sum() / len(labels), away


@torch.no_grad()
def updated_centers(
    centers: Tensor, labels: Tensor, away: Tensor, beta: float | Tensor, average: bool = False
) -> Tensor:
    """The centres after a batch: c[y] += beta * away, (K, F); beta: a number, or one of each class (K, 1).

    Of several samples of one class the last one counts alone, as published (an indexed assignment does not
    accumulate); here that is certain on every device. `average` takes their mean instead.
    """
    away = away.detach().to(centers.dtype)
    if average:
        count = torch.zeros(len(centers), dtype=centers.dtype, device=centers.device)
        count.index_add_(0, labels, torch.ones_like(labels, dtype=centers.dtype))
        total = torch.zeros_like(centers).index_add_(0, labels, away)
        return centers + beta * total / count.clamp_min(1)[:, None]
    places = torch.arange(len(labels), device=labels.device)
    last = torch.full((len(centers),), -1, device=labels.device).scatter_reduce(0, labels, places, "amax")
    step = torch.where(last[:, None] >= 0, away[last.clamp_min(0)], 0.0)  # (K, F)
    return centers + beta * step


class FeatureCenters:
    """The centre of each class as values (K, F) and a scale (K,): the published centre is values * scale.

    The recipe doubles its centres after every epoch, which makes their directions move ever slower; their
    length plays no other part. A centre that has grown long is doubled in its scale alone: powers of two
    change no digit, so the mathematics is the same, and nothing overflows (a vector of 2^65 has the unit
    length 0 in float32) or has to be shortened at a restart.
    """

    # Above this length float32 takes in no step any more, so a long centre can't become short again.
    LONG, MAX_SCALE = 2.0**30, 2.0**100

    def __init__(self, classes: int, features: int, device: torch.device | str = "cpu"):
        self.values = torch.zeros(classes, features, device=device)  # (K, F)
        self.scale = torch.ones(classes, device=device)  # (K,)

    def step_size(self, beta: float) -> Tensor:
        """The `beta` of each class (K, 1) that moves `values` as `beta` moves the published centres."""
        return beta / self.scale[:, None]

    def grow(self) -> None:
        """After an epoch."""
        long = self.values.norm(dim=1) > self.LONG  # (K,)
        self.values = torch.where(long[:, None], self.values, 2 * self.values)
        self.scale = torch.where(long, 2 * self.scale, self.scale).clamp_max(self.MAX_SCALE)

    def load(self, values: Tensor, scale: Tensor | None = None) -> None:
        """Take over stored centres (scale None: published ones); ValueError for other classes or features."""
        scale = torch.ones_like(self.scale) if scale is None else scale
        for stored, own in ((values, self.values), (scale, self.scale)):
            if stored.shape != own.shape or not torch.isfinite(stored).all():
                shapes = f"{tuple(stored.shape)}, needed are finite numbers of {tuple(own.shape)}"
                raise ValueError(f"feature_center or its scale has the shape {shapes}")
        self.values, self.scale = values.to(self.values), scale.to(self.scale)


def draw_theta(span: tuple[float, float], images: Tensor) -> Tensor:
    """One threshold an image, uniform in the span, from torch's generator: (B,)."""
    return torch.empty(len(images), device=images.device).uniform_(*span)


def training_losses(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    centers: Tensor,
    beta: float | Tensor,
    picks: Tensor | tuple[int, int] | None = None,
    crop_theta: float | Tensor | None = None,
    drop_theta: float | Tensor | None = None,
    head_dropout: float = HEAD_DROPOUT,
    average_centers: bool = False,
    loss: Loss = cross_entropy,
) -> dict[str, Tensor]:
    """Losses and logits of one training step, and the centres after it; nothing is changed in place.

    net: WSDAN in train mode, wrapped or not; images (B, 3, H, W) normalised; labels (B,) int64;
    centers (K, M*C) float32; beta: their step, a number or one of each class (K, 1). picks: two map indices
    for every image (or (B, 2)), the first to crop by, the second to drop; crop_theta, drop_theta:
    thresholds; None draws them. average_centers: see `updated_centers`. loss: of logits and labels.

    Returns "raw", "crop", "drop", "center" (unweighted), "total" (weighted, to be minimised), "logits_raw",
    "logits_crop", "logits_drop" (B, K), and "centers", the new ones, detached.
    """
    if picks is not None:
        picks = torch.as_tensor(picks, device=images.device).expand(len(images), 2)
    logits_raw, feature_matrix, maps = net(images, head_dropout=head_dropout, picks=picks)
    maps = maps.detach()
    crop_theta = draw_theta(CROP_THETA, images) if crop_theta is None else crop_theta
    drop_theta = draw_theta(DROP_THETA, images) if drop_theta is None else drop_theta

    logits_crop = net(attention_crop(images, maps[:, :1], crop_theta, CROP_PADDING))[0]
    logits_drop = net(attention_drop(images, maps[:, 1:], drop_theta))[0]

    raw, crop, drop = (loss(logits.float(), labels) for logits in (logits_raw, logits_crop, logits_drop))
    center, away = center_loss(feature_matrix, centers, labels)
    return {
        "raw": raw, "crop": crop, "drop": drop, "center": center,
        "total": raw + CROP_WEIGHT * crop + DROP_WEIGHT * drop + center,
        "logits_raw": logits_raw, "logits_crop": logits_crop, "logits_drop": logits_drop,
        "centers": updated_centers(centers, labels, away, beta, average_centers),
    }  # fmt: skip
