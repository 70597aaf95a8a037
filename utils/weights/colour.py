"""How much of a face's colour a trained network heeds: less of it, put into its first convolution.

Video codecs keep colour at half the resolution and code it coarsely, so that of a small face that was
re-compressed the luma still says what it said and the chroma no longer does. With P the projection of a
pixel on its luma (ITU-R BT.601), x' = s x + (1 - s) P x has the share s of the pixel's saturation. That is
linear, as the first convolution is, so a network can see all faces so at no cost.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from utils.core.errors import WeightsError
from utils.weights.preprocess import Preprocess

LUMA = (0.299, 0.587, 0.114)  # of R, G, B; BT.601
SATURATION_KEY = "saturation"  # under which a weights file says what share of the colour is left


def mixing(saturation: float) -> Tensor:
    """The (3, 3) float32 matrix that takes an RGB pixel to one with that share of its saturation."""
    return saturation * torch.eye(3) + (1 - saturation) * torch.tensor(LUMA).expand(3, 3)


def muted(state: Mapping[str, Tensor], preprocess: Preprocess, saturation: float) -> dict[str, Tensor]:
    """The state dict of a network that sees faces with the share `saturation` (0..1) of their colour.

    WeightsError if its input isn't normalised alike in all three channels, for then a change of colours is
    more than the first convolution can hold, or if it has not one layer that sees RGB.
    """
    if len(set(preprocess.mean)) > 1 or len(set(preprocess.std)) > 1:
        raise WeightsError(
            f"mean {preprocess.mean} and std {preprocess.std} must be the same for R, G and B, or the first "
            "convolution can't mute colours"
        )
    seeing = [name for name, value in state.items() if value.dim() == 4 and value.shape[1] == 3]
    if len(seeing) != 1:
        raise WeightsError(f"{len(seeing)} layers see three channels; one is needed")
    weight = state[seeing[0]].float()  # (C, 3, k, k)
    return {**state, seeing[0]: torch.einsum("ochw,cr->orhw", weight, mixing(saturation))}
