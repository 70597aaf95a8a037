"""RetinaFace, a one-stage face detector that gives a box and five landmarks per anchor.

Deng et al. 2019, "RetinaFace: Single-stage Dense Face Localisation in the Wild", in the form of its
public PyTorch version: a ResNet-50 or MobileNetV1 x0.25 body, a feature pyramid (Lin et al. 2017), an SSH
context module (Najibi et al. 2017) per level and three 1x1 heads. State-dict names are those of the
published checkpoints, so both load strictly.

    net = RetinaFace("mobilenet0.25").eval()
    loc, conf, landms = net(frames)     # frames (B, 3, H, W), see `RetinaFace.forward`

Anchors and what is decoded from them are normalised: x by the frame's width, y by its height.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

BACKBONES = ("resnet50", "mobilenet0.25")
ANCHORS_PER_CELL = 2


def conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    """Convolution ("same" padding, no bias) and batch norm."""
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(out_channels)]


def conv_bn_act(in_channels: int, out_channels: int, kernel: int, stride: int, slope: float) -> nn.Sequential:
    """`conv_bn` and a LeakyReLU of the given slope (0 is a ReLU)."""
    return nn.Sequential(
        *conv_bn(in_channels, out_channels, kernel, stride), nn.LeakyReLU(slope, inplace=True)
    )


def depthwise_separable(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    """MobileNetV1's block (Howard et al. 2017): 3x3 depthwise, then 1x1, each with BN and LeakyReLU 0.1."""
    return nn.Sequential(
        nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False),
        nn.BatchNorm2d(in_channels),
        nn.LeakyReLU(0.1, inplace=True),
        *conv_bn(in_channels, out_channels, 1),
        nn.LeakyReLU(0.1, inplace=True),
    )


class MobileNetBody(nn.Module):
    """MobileNetV1 with a quarter of the channels: features at strides 8, 16, 32 of 64, 128, 256 channels."""

    channels = (64, 128, 256)

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(
            conv_bn_act(3, 8, kernel=3, stride=2, slope=0.1),
            depthwise_separable(8, 16),
            depthwise_separable(16, 32, stride=2),
            depthwise_separable(32, 32),
            depthwise_separable(32, 64, stride=2),
            depthwise_separable(64, 64),
        )
        self.stage2 = nn.Sequential(
            depthwise_separable(64, 128, stride=2), *(depthwise_separable(128, 128) for _ in range(5))
        )
        self.stage3 = nn.Sequential(depthwise_separable(128, 256, stride=2), depthwise_separable(256, 256))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        fine = self.stage1(x)
        middle = self.stage2(fine)
        return fine, middle, self.stage3(middle)


class Bottleneck(nn.Module):
    """ResNet's block (He et al. 2016, figure 5): 1x1, 3x3, 1x1 to `4 * channels`, added to its input.

    Where the stride isn't 1 it lies in the 3x3 convolution, and the input passes a 1x1 convolution.
    """

    def __init__(self, in_channels: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(in_channels, channels, 1)
        self.conv2, self.bn2 = conv_bn(channels, channels, 3, stride)
        self.conv3, self.bn3 = conv_bn(channels, 4 * channels, 1)
        self.downsample = None
        if stride != 1 or in_channels != 4 * channels:
            self.downsample = nn.Sequential(*conv_bn(in_channels, 4 * channels, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        skip = x if self.downsample is None else self.downsample(x)
        x = torch.relu_(self.bn1(self.conv1(x)))
        x = torch.relu_(self.bn2(self.conv2(x)))
        return torch.relu_(self.bn3(self.conv3(x)).add_(skip))


class ResNetBody(nn.Module):
    """ResNet-50 without its classifier: features at strides 8, 16, 32 of 512, 1024, 2048 channels.

    Not torchvision's: importing that takes as long as importing torch.
    """

    channels = (512, 1024, 2048)

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_bn(3, 64, 7, stride=2)
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            nn.Sequential(
                Bottleneck(fan_in, channels, stride),
                *(Bottleneck(4 * channels, channels, 1) for _ in range(blocks - 1)),
            )
            for fan_in, channels, stride, blocks in (
                (64, 64, 1, 3), (256, 128, 2, 4), (512, 256, 2, 6), (1024, 512, 2, 3)
            )
        )  # fmt: skip

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x = F.max_pool2d(torch.relu_(self.bn1(self.conv1(x))), 3, stride=2, padding=1)
        fine = self.layer2(self.layer1(x))
        middle = self.layer3(fine)
        return fine, middle, self.layer4(middle)


class FPN(nn.Module):
    """Feature pyramid: 1x1 laterals, nearest upsampling and addition, 3x3 merges.

    The middle level is merged before it is upsampled on to the finest.
    """

    def __init__(self, in_channels: tuple[int, int, int], channels: int, slope: float) -> None:
        super().__init__()
        self.output1 = conv_bn_act(in_channels[0], channels, 1, 1, slope)
        self.output2 = conv_bn_act(in_channels[1], channels, 1, 1, slope)
        self.output3 = conv_bn_act(in_channels[2], channels, 1, 1, slope)
        self.merge1 = conv_bn_act(channels, channels, 3, 1, slope)
        self.merge2 = conv_bn_act(channels, channels, 3, 1, slope)

    def coarse(self, middle: Tensor, coarse: Tensor) -> tuple[Tensor, Tensor]:
        """The levels of strides 16 and 32, of the body's features."""
        coarse = self.output3(coarse)
        middle = self.output2(middle)
        middle = self.merge2(middle + F.interpolate(coarse, size=middle.shape[-2:], mode="nearest"))
        return middle, coarse

    def fine(self, fine: Tensor, middle: Tensor) -> Tensor:
        """The level of stride 8, of the body's features and the level of stride 16."""
        fine = self.output1(fine)
        return self.merge1(fine + F.interpolate(middle, size=fine.shape[-2:], mode="nearest"))


class SSH(nn.Module):
    """Context module: 3x3 | 5x5 | 7x7 fields (C/2, C/4, C/4), the larger two as chains of 3x3 convolutions.

    The mixed case of the attribute names is that of the published checkpoints.
    """

    def __init__(self, channels: int, slope: float) -> None:
        super().__init__()
        half, quarter = channels // 2, channels // 4
        self.conv3X3 = nn.Sequential(*conv_bn(channels, half, 3))
        self.conv5X5_1 = conv_bn_act(channels, quarter, 3, 1, slope)
        self.conv5X5_2 = nn.Sequential(*conv_bn(quarter, quarter, 3))
        self.conv7X7_2 = conv_bn_act(quarter, quarter, 3, 1, slope)
        self.conv7x7_3 = nn.Sequential(*conv_bn(quarter, quarter, 3))

    def forward(self, x: Tensor) -> Tensor:
        shared = self.conv5X5_1(x)
        fields = [self.conv3X3(x), self.conv5X5_2(shared), self.conv7x7_3(self.conv7X7_2(shared))]
        return F.relu(torch.cat(fields, dim=1))  # (B, C, h, w)


class Head(nn.Module):
    """A 1x1 convolution that predicts `values` numbers for each anchor of each cell."""

    def __init__(self, channels: int, values: int) -> None:
        super().__init__()
        self.values = values
        self.conv1x1 = nn.Conv2d(channels, ANCHORS_PER_CELL * values, 1)

    def forward(self, x: Tensor) -> Tensor:
        # Cells row by row, the anchors of a cell next to each other: the order of `anchors`.
        cells = self.conv1x1(x).permute(0, 2, 3, 1)  # (B, h, w, 2 * values)
        return cells.reshape(x.shape[0], -1, self.values)  # (B, 2hw, values)


class RetinaFace(nn.Module):
    """The detector, with random weights; backbone: "resnet50" or "mobilenet0.25" (ValueError otherwise)."""

    def __init__(self, backbone: str = "resnet50") -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise ValueError(f"backbone must be one of {', '.join(BACKBONES)}, not {backbone!r}")
        self.backbone = backbone
        channels = 256 if backbone == "resnet50" else 64
        slope = 0.1 if channels <= 64 else 0.0
        self.body = ResNetBody() if backbone == "resnet50" else MobileNetBody()
        self.fpn = FPN(self.body.channels, channels, slope)
        self.ssh1 = SSH(channels, slope)
        self.ssh2 = SSH(channels, slope)
        self.ssh3 = SSH(channels, slope)
        self.ClassHead = nn.ModuleList(Head(channels, 2) for _ in range(3))
        self.BboxHead = nn.ModuleList(Head(channels, 4) for _ in range(3))
        self.LandmarkHead = nn.ModuleList(Head(channels, 10) for _ in range(3))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Predictions for every anchor of `models.retinaface.anchors(H, W)`, encoded as that module decodes.

        x: (B, 3, H, W) float, the BGR frame in 0..255 minus (104, 117, 123); any H, W >= 1.
        Returns loc (B, A, 4), conf (B, A, 2) with the face as class 1 (probabilities in eval mode, logits
        in train mode) and landms (B, A, 10).
        """
        *coarse, features, middle = self.coarse(x)
        return joined(self.fine(features, middle), coarse)

    def coarse(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """`forward` without the finest level, of stride 8, which is about half of MobileNet's work.

        Returns loc, conf and landms for the anchors of the other levels, and what `fine` goes on from.
        """
        features, *rest = self.body(x)
        middle, coarse = self.fpn.coarse(*rest)
        levels = self._predictions(1, self.ssh2(middle)), self._predictions(2, self.ssh3(coarse))
        return *joined(*levels), features, middle

    def fine(self, features: Tensor, middle: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """loc, conf and landms for the anchors of the finest level, the first of `anchors`."""
        return self._predictions(0, self.ssh1(self.fpn.fine(features, middle)))

    def _predictions(self, number: int, level: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """loc, conf and landms of a level."""
        loc, conf, landms = (
            heads[number](level) for heads in (self.BboxHead, self.ClassHead, self.LandmarkHead)
        )
        if not self.training:
            # In float32, so that autocast can't round probabilities to three digits.
            conf = F.softmax(conf, dim=-1, dtype=torch.float32)
        return loc, conf, landms


def joined(
    finer: Sequence[Tensor], coarser: Sequence[Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """loc, conf and landms of two levels as those of both."""
    return tuple(torch.cat(parts, dim=1) for parts in zip(finer, coarser, strict=True))


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
