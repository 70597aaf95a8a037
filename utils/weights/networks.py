"""The networks by the names that configs and weights files use: the one registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reading a config needs the names, not torch
    from torch import nn

WSDAN_NETS = ("xception", "efficientnet-b3")
NETWORK_NAMES = ("xception", *(f"wsdan-{net}" for net in WSDAN_NETS))  # the classifiers
BACKBONES = ("resnet50", "mobilenet0.25")
DETECTOR_NAMES = tuple(f"retinaface-{backbone}" for backbone in BACKBONES)


def build_network(name: str, num_attentions: int = 8) -> nn.Module:
    """One of NETWORK_NAMES, with two outputs, or of DETECTOR_NAMES; weights not loaded yet.

    num_attentions: attention maps of WS-DAN. KeyError for another name; ImportError where a package that it
    needs isn't installed.
    """
    from models import WSDAN, RetinaFace, xception

    if name not in NETWORK_NAMES + DETECTOR_NAMES:
        raise KeyError(name)
    if name == "xception":
        return xception(num_classes=2)
    family, _, part = name.partition("-")
    return RetinaFace(part) if family == "retinaface" else WSDAN(num_classes=2, M=num_attentions, net=part)
