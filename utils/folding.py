"""Batch norms of a trained network folded into the convolutions before them.

A batch norm in eval mode is a scale and a shift for each channel, which the convolution's weights and bias
can take over: the same function (to rounding, about 1e-6), without a pass over the feature maps.
"""

from __future__ import annotations

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.xception import SeparableConv2d


def fold_batch_norms(net: nn.Module) -> nn.Module:
    """`net` itself, changed to be faster in eval mode; it can neither be trained nor saved any more.

    A batch norm is folded if it directly follows a convolution among its parent's children: in the networks
    here that is the order in which they run. Each becomes an identity, and its entries are gone from the
    state dict.
    """
    net.eval()
    for parent in list(net.modules()):
        before: nn.Module | None = None
        for name, child in list(parent.named_children()):
            conv = _last_convolution(before)
            if isinstance(child, nn.BatchNorm2d) and conv is not None:
                fused = fuse_conv_bn_eval(conv, child)
                conv.weight, conv.bias = fused.weight, fused.bias
                setattr(parent, name, nn.Identity())
            before = child
    return net


def _last_convolution(module: nn.Module | None) -> nn.Conv2d | None:
    if isinstance(module, SeparableConv2d):
        return module.pointwise
    return module if isinstance(module, nn.Conv2d) else None
