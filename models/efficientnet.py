"""EfficientNet-b3 (Tan & Le, ICML 2019) as the published solution has it: efficientnet-pytorch 0.6.3.

Release 0.6.3 pads every layer for a 300-pixel input ("static same padding", 9x9 final grid); 0.7 pads each
layer for its own input (10x10 grid). The same weights give other numbers there, so the release is pinned.
"""

from __future__ import annotations

from importlib.metadata import version

from torch import nn

EFFICIENTNET_RELEASE = "0.6.3"
CHANNELS = 1536


def efficientnet_b3() -> nn.Module:
    """EfficientNet-b3 with random weights; `extract_features`: (B, 3, 300, 300) -> (B, 1536, 9, 9).

    Raises ImportError where another release of efficientnet-pytorch is installed.
    """
    installed = version("efficientnet-pytorch")
    if installed != EFFICIENTNET_RELEASE:
        raise ImportError(
            f"efficientnet-pytorch {installed} pads differently from {EFFICIENTNET_RELEASE} and gives other "
            f"scores: pip install efficientnet-pytorch=={EFFICIENTNET_RELEASE}"
        )
    from efficientnet_pytorch import EfficientNet  # here: the other networks need no such package

    return EfficientNet.from_name("efficientnet-b3")
