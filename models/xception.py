"""Xception (Chollet, CVPR 2017, figure 5) with the layer names of the `pretrainedmodels` checkpoints."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SeparableConv2d(nn.Module):
    """A depthwise 3x3 convolution (`conv1`) followed by a pointwise 1x1 one, both without bias."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.pointwise(self.conv1(x))


class Block(nn.Module):
    """A residual block of `repeats` x (ReLU, separable convolution, BN), max-pooled if `stride` is 2.

    The first ReLU is left out where the block follows a ReLU already (`start_with_relu`). `grow_first`
    says whether the channels grow in the first (entry flow) or in the last convolution (exit flow).
    """

    def __init__(self, in_channels: int, out_channels: int, repeats: int, stride: int = 1,
                 start_with_relu: bool = True, grow_first: bool = True):
        super().__init__()
        self.skip = self.skipbn = None
        if out_channels != in_channels or stride != 1:
            self.skip = nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False)
            self.skipbn = nn.BatchNorm2d(out_channels)

        grow_at = 0 if grow_first else repeats - 1
        layers: list[nn.Module] = []
        for index in range(repeats):
            fan_in = in_channels if index <= grow_at else out_channels
            fan_out = in_channels if index < grow_at else out_channels
            # Not in place where the block's input is still needed by the skip connection.
            layers += [nn.ReLU(inplace=index > 0), SeparableConv2d(fan_in, fan_out), nn.BatchNorm2d(fan_out)]
        if not start_with_relu:
            layers = layers[1:]
        if stride != 1:
            layers.append(nn.MaxPool2d(3, stride, padding=1))
        self.rep = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.skip is None else self.skipbn(self.skip(x))
        return self.rep(x) + skip


class XceptionFeatures(nn.Module):
    """Xception up to its last BN and ReLU: (B, 3, H, W) -> (B, 2048, h, w), 10x10 from 320x320.

    WS-DAN uses it as it is; `Xception` adds the classifier. Input RGB, normalised as the weights ask for.
    """

    channels = 2048

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=False)
        self.bn2 = nn.BatchNorm2d(64)

        self.block1 = Block(64, 128, 2, stride=2, start_with_relu=False)
        self.block2 = Block(128, 256, 2, stride=2)
        self.block3 = Block(256, 728, 2, stride=2)
        for number in range(4, 12):  # the middle flow
            setattr(self, f"block{number}", Block(728, 728, 3))
        self.block12 = Block(728, 1024, 2, stride=2, grow_first=False)

        self.conv3 = SeparableConv2d(1024, 1536)
        self.bn3 = nn.BatchNorm2d(1536)
        self.conv4 = SeparableConv2d(1536, 2048)
        self.bn4 = nn.BatchNorm2d(2048)

    def features(self, x: Tensor) -> Tensor:
        """Feature maps after the last BN and ReLU, (B, 2048, h, w)."""
        x = torch.relu_(self.bn1(self.conv1(x)))  # (B, 32, H/2, W/2)
        x = torch.relu_(self.bn2(self.conv2(x)))  # (B, 64, H/2, W/2)
        for number in range(1, 13):
            x = getattr(self, f"block{number}")(x)  # (B, 1024, H/32, W/32) at last
        x = torch.relu_(self.bn3(self.conv3(x)))  # (B, 1536, h, w)
        return torch.relu_(self.bn4(self.conv4(x)))  # (B, 2048, h, w)

    def forward(self, x: Tensor) -> Tensor:
        return self.features(x)


class Xception(XceptionFeatures):
    """The classifier: features, average pooling, `last_linear`; (B, 3, H, W) -> logits (B, num_classes)."""

    def __init__(self, num_classes: int = 2):
        super().__init__()
        self.last_linear = nn.Linear(self.channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.last_linear(self.features(x).mean(dim=(2, 3)))


def xception(num_classes: int = 2) -> Xception:
    """Xception with random weights (torch's defaults, as `pretrainedmodels` without weights has them)."""
    return Xception(num_classes)
