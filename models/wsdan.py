"""WS-DAN: weakly supervised data augmentation network (Hu et al., arXiv:1901.09891), as Team WM set it up.

M attention maps point at parts of the face; features pooled under each map are classified together. The
maps also say where to crop and what to drop when training (`utils.training.wsdan`).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.efficientnet import CHANNELS, efficientnet_b3
from models.xception import XceptionFeatures

EPSILON = 1e-12
FEATURE_SCALE = 100.0  # of the unit-length feature matrix before the classifier


class AttentionMaps(nn.Module):
    """Feature maps (B, C, h, w) -> attention maps (B, M, h, w), not negative: 1x1 convolution, BN, ReLU."""

    def __init__(self, in_channels: int, maps: int):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, maps, 1, bias=False)
        self.bn = nn.BatchNorm2d(maps, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


def attention_pooling(features: Tensor, attention: Tensor) -> Tensor:
    """Bilinear attention pooling (section 3.2): the mean over the grid of each map times each feature.

    features (B, C, h, w), attention (B, M, h, w) -> (B, M, C) in float32, also under autocast: EPSILON
    is zero in half precision and the square root's gradient infinite.
    """
    grid = features.shape[-2] * features.shape[-1]
    with torch.autocast(features.device.type, enabled=False):
        return torch.einsum("bmhw,bchw->bmc", attention.float(), features.float()) / grid


def normalised_matrix(pooled: Tensor) -> Tensor:
    """Signed square root, then unit length: (B, M, C) -> (B, M*C)."""
    flat = pooled.flatten(1)  # (B, M*C)
    return F.normalize(torch.sign(flat) * torch.sqrt(flat.abs() + EPSILON), dim=-1)


def draw_maps(attention: Tensor) -> Tensor:
    """Two maps of every image, drawn with replacement: (B, M, h, w) -> indices (B, 2).

    Probability proportional to sqrt(sum of the map + 1e-12), from torch's generator. What can't be a
    probability (a map that is not finite) is drawn as an empty one is.
    """
    weights = torch.sqrt(attention.detach().float().sum(dim=(2, 3)).clamp_min(0) + EPSILON)  # (B, M)
    weights = torch.nan_to_num(weights, nan=EPSILON**0.5, posinf=EPSILON**0.5)
    return torch.multinomial(weights, 2, replacement=True)


class WSDAN(nn.Module):
    """WS-DAN over `net` ("xception" | "efficientnet-b3") with `M` attention maps.

    Forward: images (B, 3, H, W) RGB, normalised -> logits (B, num_classes), feature_matrix (B, M*C), and in
    eval mode the mean attention map (B, 1, h, w), in train mode two drawn maps (B, 2, h, w): the first to
    crop by, the second to drop.
    """

    def __init__(self, num_classes: int = 2, M: int = 8, net: str = "xception"):
        super().__init__()
        self.num_classes, self.M, self.net = num_classes, M, net
        if net == "xception":
            self.features = XceptionFeatures()
            self.num_features = XceptionFeatures.channels
        elif net == "efficientnet-b3":
            self.EFN = efficientnet_b3()
            self.num_features = CHANNELS
        else:
            raise ValueError(f'net is "{net}", not "xception" or "efficientnet-b3"')
        self.attentions = AttentionMaps(self.num_features, M)
        self.fc = nn.Linear(M * self.num_features, num_classes, bias=False)

    def feature_maps(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, h, w): C 2048 (Xception) or 1536 (EfficientNet-b3)."""
        return self.features(x) if self.net == "xception" else self.EFN.extract_features(x)

    def forward(self, x: Tensor, head_dropout: float = 0.0, picks: Tensor | None = None
                ) -> tuple[Tensor, Tensor, Tensor]:
        """`head_dropout`: probability that a whole attention head is dropped for the classifier (train mode).

        `picks` (B, 2): the maps to return in train mode; None draws them.
        """
        features = self.feature_maps(x)  # (B, C, h, w)
        attention = self.attentions(features)  # (B, M, h, w)
        pooled = attention_pooling(features, attention)  # (B, M, C)
        feature_matrix = normalised_matrix(pooled)  # (B, M*C)

        classified = feature_matrix
        if self.training and head_dropout > 0:
            classified = normalised_matrix(F.dropout1d(pooled, head_dropout))
        logits = self.fc(classified * FEATURE_SCALE)  # (B, classes)

        if not self.training:
            return logits, feature_matrix, attention.mean(dim=1, keepdim=True)
        picks = draw_maps(attention) if picks is None else picks
        rows = torch.arange(len(x), device=x.device)[:, None]
        return logits, feature_matrix, attention[rows, picks]  # maps (B, 2, h, w)
