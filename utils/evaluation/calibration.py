"""Calibration of a trained network: a temperature and a bias for its logit, put into its last layer.

With z the logit of p(fake), logistic regression on labelled faces fits p = sigmoid(a z + c t) (Platt 1999,
"Probabilistic outputs for support vector machines"; c = 0 is the temperature of Guo et al. 2017,
arXiv:1706.04599). t is 1 where the last layer has a bias. WS-DAN's has none, and no feature that is constant:
there t is the projection on the mean feature, scaled to be 1 on average, which a layer without bias can hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from utils.core.errors import DataError, WeightsError

FAKE = 1
MOST_SCALE = 10.0  # faces that the network tells apart without an error would have an infinite one
METADATA_KEY = "calibrated"  # under which a weights file holds its note


@dataclass(frozen=True)
class Calibration:
    """scale a and offset c of the logit; direction (F,): what the features are projected on, None = bias."""

    scale: float
    offset: float
    direction: Tensor | None


@dataclass(frozen=True)
class Note:
    """What a weights file says of its calibration: all that was done to the logit since training.

    scale, offset: of the logit before any calibration; times: how often it was fitted, fitted_on: on what
    the last time. Without a bias in the last layer the offset is that of the mean feature.
    """

    scale: float = 1.0
    offset: float = 0.0
    times: int = 0
    fitted_on: str = ""

    @classmethod
    def read(cls, text: str | None) -> Note:
        """The note of a file's metadata; None = it was not calibrated. WeightsError if it isn't one."""
        if text is None:
            return cls()
        number = r"(-?\d+\.\d+)"
        form = rf"logit \* {number} \+ {number}, fitted (?:(\d+) times, last )?on (.*)"
        found = re.fullmatch(form, text, re.DOTALL)  # a list's name may have any character
        if found is None:
            raise WeightsError(f"its metadata's note {METADATA_KEY!r} is none of calibrate.py: {text[:80]!r}")
        return cls(float(found[1]), float(found[2]), int(found[3] or 1), found[4])

    def then(self, calibration: Calibration, fitted_on: str) -> Note:
        """The note after one more calibration: a2 (a1 z + c1) + c2."""
        offset = calibration.scale * self.offset + calibration.offset
        return Note(calibration.scale * self.scale, offset, self.times + 1, fitted_on)

    def __str__(self) -> str:
        often = f"{self.times} times, last " if self.times > 1 else ""
        return f"logit * {self.scale:.4f} + {self.offset:.4f}, fitted {often}on {self.fitted_on}"


def last_layer(net: nn.Module) -> nn.Linear:
    """The layer that gives the logits: `last_linear` of Xception, `fc` of WS-DAN."""
    return net.last_linear if hasattr(net, "last_linear") else net.fc


@torch.inference_mode()
def layer_inputs(net: nn.Module, images: Tensor) -> Tensor:
    """What the last layer sees of normalised images (B, 3, S, S): float32 (B, F) on the CPU; eval mode."""
    seen: list[Tensor] = []
    handle = last_layer(net).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        net.eval()(images)
    finally:
        handle.remove()
    return seen[0].float().cpu()


def logits_of_fake(layer: nn.Linear, inputs: Tensor) -> np.ndarray:
    """The logit of p(fake) of what the layer sees, (N, F) -> float64 (N,)."""
    with torch.inference_mode():
        logits = layer.cpu()(inputs).double()  # (N, 2)
    return (logits[:, FAKE] - logits[:, 1 - FAKE]).numpy()


def fit(layer: nn.Linear, inputs: Tensor, labels: np.ndarray) -> Calibration:
    """The calibration of least log loss; inputs (N, F), labels (N,) 1 = fake.

    DataError if only one class is there, or if the network's answers go against the labels; WeightsError if
    they aren't finite.
    """
    if len(set(labels.tolist())) < 2:
        raise DataError("calibrating needs real and fake faces; one kind is missing")
    direction = None
    if layer.bias is None:
        mean = inputs.mean(dim=0)  # (F,)
        direction = mean / mean.square().sum()
    steady = np.ones(len(labels)) if direction is None else (inputs @ direction).double().numpy()
    table = np.stack([logits_of_fake(layer, inputs), steady], axis=1)  # (N, 2)
    if not np.isfinite(table).all():
        raise WeightsError("what the last layer sees or says is no finite number: damaged weights")
    # No penalty: C is infinite; the second column stands for the intercept.
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8, max_iter=1000)
    scale, offset = regression.fit(table, labels).coef_[0]
    if scale <= 0:
        raise DataError(f"the network's logit would be multiplied by {scale:.3g}: it goes against the labels")
    if scale > MOST_SCALE:
        raise DataError(
            f"the logit would be multiplied by {scale:.3g}: the faces are too few, or all judged rightly"
        )
    return Calibration(float(scale), float(offset), direction)


@torch.no_grad()
def apply(layer: nn.Linear, calibration: Calibration) -> None:
    """Put a calibration into the layer, in place: its logits become the calibrated ones."""
    layer.weight *= calibration.scale
    if calibration.direction is None:
        layer.bias *= calibration.scale
        layer.bias[FAKE] += calibration.offset
    else:
        layer.weight[FAKE] += calibration.offset * calibration.direction
