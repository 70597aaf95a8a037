"""The classifiers by the names that configs and weights files use: the one registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # reading a config needs the names, not torch
    from torch import nn

WSDAN_NETS = ("xception", "efficientnet-b3")
NETWORK_NAMES = ("xception", *(f"wsdan-{net}" for net in WSDAN_NETS))


def build_network(name: str) -> nn.Module:
    """One of NETWORK_NAMES with two outputs (WS-DAN: of eight attention maps), weights not loaded yet.

    KeyError for another name; ImportError where a package that it needs isn't installed.
    """
    from models import WSDAN, xception

    if name not in NETWORK_NAMES:
        raise KeyError(name)
    if name == "xception":
        return xception(num_classes=2)
    return WSDAN(num_classes=2, M=8, net=name.removeprefix("wsdan-"))
