"""The detector's levels: the finest one, of small faces, only where a frame needs it.

    loc, conf, landms, priors = predictions(net, images, priors, threshold)     # of net(images), or less

RetinaFace predicts on grids of 8, 16 and 32 pixels. The finest is about half of MobileNet's work, and has
anchors of 16 and 32 pixels. The largest box is the face, and where a coarse level has one of more than LARGE
pixels, no box of the finest is larger: none that was seen came near that. Seen were MobileNet's; a ResNet-50,
of whose work it is a fifth, always computes it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.retinaface import RetinaFace, decode_boxes, joined
from utils.weights.runtime import OnnxNet

SEEN = ("mobilenet0.25",)  # backbones of which that is known
# Pixels, as the network sees the frame. In 208 frames of 23 clips and 100 stills, in their size and in half
# of it, the largest box of MobileNet's finest level that exceeded the threshold was 50 pixels (the root of
# its area), its longer side 58. In 415 others, in two sizes, faces without it were the same to the last bit.
LARGE = 64.0


def predictions(
    net: nn.Module, images: Tensor, priors: Tensor, threshold: float
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """loc, conf and landms of `net` for images (B, 3, H, W) with the anchors `priors` (A, 4), and these.

    Those of the finest level are 0 for an image in which a coarse level has a face of more than LARGE pixels,
    and are left out if all have one; of a backbone that isn't one of SEEN they are always there. net: a
    `RetinaFace` or an `OnnxRetinaFace`.
    """
    if net.backbone not in SEEN:
        return *net(images), priors
    *coarse, features, middle = net.coarse(images)
    count = len(priors) - coarse[0].shape[1]  # anchors of the finest level
    needs = ~has_large(*coarse[:2], priors[count:], images.shape[-2:], threshold)  # (B,)
    if not needs.any():
        return *coarse, priors[count:]
    if needs.all():
        return *joined(net.fine(features, middle), coarse), priors
    fine = [part.new_zeros(len(images), count, part.shape[2]) for part in coarse]
    for whole, part in zip(fine, net.fine(features[needs], middle[needs]), strict=True):
        whole[needs] = part
    return *joined(fine, coarse), priors


def has_large(
    loc: Tensor, conf: Tensor, priors: Tensor, size: tuple[int, int], threshold: float
) -> Tensor:
    """Whether each image of `size` (height, width) has a candidate of more than LARGE pixels: (B,) bool."""
    image_of, anchor_of = torch.nonzero(conf[..., 1] > threshold, as_tuple=True)
    boxes = decode_boxes(loc[image_of, anchor_of].float(), priors[anchor_of])  # (N, 4)
    height, width = size
    areas = (boxes[:, 2] - boxes[:, 0]) * width * (boxes[:, 3] - boxes[:, 1]) * height
    found = torch.zeros(len(conf), dtype=torch.bool, device=conf.device)
    found[image_of[areas > LARGE**2]] = True
    return found


class _Coarse(nn.Module):
    def __init__(self, net: RetinaFace):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return self.net.coarse(images)


class _Fine(nn.Module):
    def __init__(self, net: RetinaFace):
        super().__init__()
        self.net = net

    def forward(self, features: Tensor, middle: Tensor) -> tuple[Tensor, ...]:
        return self.net.fine(features, middle)


class OnnxRetinaFace(nn.Module):
    """A `RetinaFace` with folded batch norms, computed by ONNX Runtime; see `OnnxNet`."""

    def __init__(self, net: RetinaFace):
        super().__init__()
        self.backbone = net.backbone
        images = torch.zeros(1, 3, 320, 320)
        with torch.inference_mode():
            *_, features, middle = net.coarse(images)
        self.coarse = OnnxNet(_Coarse(net), images, sizes_vary=True)
        self.fine = OnnxNet(_Fine(net), (features, middle), sizes_vary=True)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `RetinaFace.forward`."""
        *coarse, features, middle = self.coarse(images)
        return joined(self.fine(features, middle), coarse)
