"""Calibration of trained networks: a temperature and a bias for their logit, put into their last layers.

With z the logit of p(fake), logistic regression on labelled faces fits p = sigmoid(a z + c t) (Platt 1999,
"Probabilistic outputs for support vector machines"; c = 0 is the temperature of Guo et al. 2017,
arXiv:1706.04599). t is 1 where the last layer has a bias. WS-DAN's has none, and no feature that is constant:
there t is the projection on the mean feature, scaled to be 1 on average, which a layer without bias can hold.

An ensemble whose mean is of logits has one a and one c: z and t are the weighted means of its networks', so
that the same a and c in each network's layer are those of the ensemble.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from utils.core.errors import DataError, WeightsError
from utils.scoring.calibrated import ScoreCalibration
from utils.scoring.ensemble import to_logits

FAKE = 1
MOST_SCALE = 10.0  # faces that the network tells apart without an error would have an infinite one
LEAST_FACES, FEW_FACES = 20, 200  # or files, of each kind: below the first it is refused, the second warned
LEAST_SCORE = 5e-7  # a score of six decimals that reads 0 may be this
CALIBRATION_KEY = "calibrated"  # under which a weights file holds its note


@dataclass(frozen=True)
class Calibration:
    """scale a and offset c of the logit; direction (F,): what the features are projected on, None = bias."""

    scale: float
    offset: float
    direction: Tensor | None


@dataclass(frozen=True)
class Note:
    """What a weights file says of its calibration: all that was done to the logit since training.

    scale, offset: of the logit before any calibration; times: how often it was fitted; faces, fitted_on: how
    many and which the last time. Without a bias in the last layer the offset is that of the mean feature.
    """

    scale: float = 1.0
    offset: float = 0.0
    times: int = 0
    faces: int = 0
    fitted_on: str = ""

    @classmethod
    def read(cls, text: str | None) -> Note:
        """The note of a file's metadata; None = it was not calibrated. WeightsError if it isn't one."""
        if text is None:
            return cls()
        try:
            entries = json.loads(text)
            numbers = float(entries["scale"]), float(entries["offset"])
            return cls(*numbers, int(entries["times"]), int(entries["faces"]), str(entries["fitted_on"]))
        except (KeyError, TypeError, ValueError):
            reason = f"its metadata's note {CALIBRATION_KEY!r} is none of calibrate.py: {text[:80]!r}"
            raise WeightsError(f"{reason}; start from the weights as they were exported") from None

    def then(self, calibration: Calibration, faces: int, fitted_on: str) -> Note:
        """The note after one more calibration: a2 (a1 z + c1) + c2."""
        offset = calibration.scale * self.offset + calibration.offset
        return Note(calibration.scale * self.scale, offset, self.times + 1, faces, fitted_on)

    def to_metadata(self) -> str:
        """As JSON, for the metadata of a weights file."""
        return json.dumps(asdict(self))


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


def direction_of(layer: nn.Linear, inputs: Tensor) -> Tensor | None:
    """What stands for a bias in a layer without one: the mean of its inputs (N, F), scaled; else None."""
    if layer.bias is not None:
        return None
    mean = inputs.mean(dim=0)
    return mean / mean.square().sum()


def columns(layer: nn.Linear, inputs: Tensor, direction: Tensor | None) -> np.ndarray:
    """What is fitted to, (N, 2): the logit of p(fake), and what the offset is multiplied by."""
    ones = np.ones(len(inputs)) if direction is None else (inputs @ direction).double().numpy()
    return np.stack([logits_of_fake(layer, inputs), ones], axis=1)


def alike(labels: np.ndarray, domains: Sequence[str]) -> np.ndarray:
    """Weights (N,): real faces of each domain the same in all, and all fakes as much as all reals."""
    domains = np.asarray(domains)
    weights = np.zeros(len(labels))
    weights[labels == FAKE] = 1 / max((labels == FAKE).sum(), 1)
    there = np.unique(domains[labels != FAKE])
    for domain in there:
        part = (labels != FAKE) & (domains == domain)
        weights[part] = 1 / (part.sum() * len(there))
    return weights * len(labels) / weights.sum()


def fit(table: np.ndarray, labels: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Scale and offset of least log loss; table (N, 2) as of `columns`, labels (N,) 1 = fake, weights (N,).

    DataError if a class is missing or has too few, or if the network's answers go against the labels;
    WeightsError if they aren't finite.
    """
    scale, offset = _fitted(table, labels, weights)
    return scale, offset


def fit_scale(
    table: np.ndarray, labels: np.ndarray, weights: np.ndarray | None, bias: float
) -> tuple[float, float]:
    """As `fit`, for a logit that is moved by `bias` before it is scaled."""
    (scale,) = _fitted(table @ [[1.0], [bias]], labels, weights)
    return scale, scale * bias


def _fitted(table: np.ndarray, labels: np.ndarray, weights: np.ndarray | None) -> list[float]:
    """The factors of the columns (N, K) whose sum is the logit; the first must be a sensible scale."""
    counts = [int((labels == label).sum()) for label in (0, FAKE)]
    if not min(counts):
        raise DataError("calibrating needs both real and fake; one kind is missing")
    if min(counts) < LEAST_FACES:
        there = f"{counts[0]} real and {counts[1]} fake"
        raise DataError(f"calibrating needs {LEAST_FACES} of each kind; there are {there}")
    if not np.isfinite(table).all():
        raise WeightsError("what the last layer sees or says is no finite number: damaged weights")
    # No penalty: C is infinite; the second column stands for the intercept.
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-8, max_iter=1000)
    factors = regression.fit(table, labels, sample_weight=weights).coef_[0].tolist()
    scale = factors[0]
    if scale <= 0:
        raise DataError(f"the network's logit would be multiplied by {scale:.3g}: it goes against the labels")
    if scale > MOST_SCALE:
        raise DataError(
            f"the logit would be multiplied by {scale:.3g}: there are too few, or all are judged rightly"
        )
    return factors


def fit_scores(labels: np.ndarray, scores: np.ndarray, fitted_on: str) -> ScoreCalibration:
    """That of files' scores (N,), for `calibration=` of scoring; labels (N,) 1 = fake. Errors as of `fit`."""
    rounded = scores.clip(LEAST_SCORE, 1 - LEAST_SCORE)
    table = np.stack([to_logits(rounded), np.ones(len(scores))], axis=1)
    return ScoreCalibration(*fit(table, labels), len(labels), fitted_on)


@torch.no_grad()
def apply(layer: nn.Linear, calibration: Calibration) -> None:
    """Put a calibration into the layer, in place: its logits become the calibrated ones."""
    layer.weight *= calibration.scale
    if calibration.direction is None:
        layer.bias *= calibration.scale
        layer.bias[FAKE] += calibration.offset
    else:
        layer.weight[FAKE] += calibration.offset * calibration.direction
