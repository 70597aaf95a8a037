"""Averages of weights: the running one that a run with `ema` above 0 validates, and that of several files.

Averages of late weights generalise better than the last ones (Izmailov et al. 2018, arXiv:1803.05407);
exponential ones follow the training at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from utils.checkpoint import read_state_dict
from utils.errors import WeightsError
from utils.preprocess import METADATA_KEY


def decay_at(decay: float, step: int) -> float:
    """The decay of update `step` (from 0): it rises to `decay`, so that the start is soon forgotten.

    (1 + n) / (10 + n), as TensorFlow's ExponentialMovingAverage has it: an average over the last ninth.
    """
    return min(decay, (1 + step) / (10 + step))


class AveragedWeights:
    """The network to validate with: `model` itself for decay 0, else a copy with its averaged weights.

    Batch norm statistics are averaged too, counters copied.
    """

    def __init__(self, model: nn.Module, decay: float):
        self.trained, self.decay, self.average = model, decay, None
        if decay > 0:
            self.average = AveragedModel(model, multi_avg_fn=self._update, use_buffers=True)

    @property
    def model(self) -> nn.Module:
        """The network whose weights count."""
        return self.trained if self.average is None else self.average.module

    def update(self) -> None:
        """After a step of the optimizer; the first one takes the weights as they are."""
        if self.average is not None:
            self.average.update_parameters(self.trained)

    def state(self) -> dict[str, Any]:
        """For a checkpoint: `state_dict` is what counts, and what the published code and scoring load."""
        if self.average is None:
            return {"state_dict": self.trained.state_dict()}
        return {
            "state_dict": self.model.state_dict(),
            "trained_state_dict": self.trained.state_dict(),
            "n_averaged": int(self.average.n_averaged),
        }

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Go on from a checkpoint whose `state_dict` is loaded into the trained model already.

        One without averages starts them from its weights; without `ema`, the averages of one that has them
        are left behind. KeyError, RuntimeError or the like for a damaged one.
        """
        if self.average is not None:
            self.model.load_state_dict(self.trained.state_dict())
            self.average.n_averaged.fill_(int(checkpoint.get("n_averaged", 0)))
        if "trained_state_dict" in checkpoint:
            self.trained.load_state_dict(checkpoint["trained_state_dict"])

    def _update(self, averaged: list[Tensor], current: list[Tensor], n_averaged: Tensor | int) -> None:
        """Of tensors of one type, in place."""
        if averaged[0].is_floating_point():
            get_ema_multi_avg_fn(decay_at(self.decay, int(n_averaged)))(averaged, current, n_averaged)
            return
        for counter, value in zip(averaged, current, strict=True):
            counter.copy_(value)


def entries_of(state: dict[str, Tensor]) -> dict[str, tuple[torch.Size, bool]]:
    """Of each entry its shape, and whether it holds fractions."""
    return {name: (value.shape, value.is_floating_point()) for name, value in state.items()}


def averaged_files(parts: Sequence[tuple[Path, float]]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The mean of weights files by their shares, float32, and its metadata.

    parts: (file, share), the shares sum to 1. Batch norm statistics are averaged too, counters the first
    one's. Metadata: the first one's network, preprocessing and data, and the parts. WeightsError if a file is
    unreadable or not finite, names no network, or is of another network or preprocessing.
    """
    first = parts[0][0]
    wanted, metadata = read_state_dict(first)
    if "network" not in metadata:
        raise WeightsError(f"{first}: names no network; average what tools/export_weights.py writes")
    mean: dict[str, Tensor] = {}
    for path, share in parts:
        state, stated = read_state_dict(path)
        for key in ("network", METADATA_KEY):
            if stated.get(key) != metadata.get(key):
                raise WeightsError(f"{path}: its {key} isn't that of {first}")
        if entries_of(state) != entries_of(wanted):
            raise WeightsError(f"{path}: its entries aren't those of {first}: another network")
        for name, value in state.items():
            if not torch.isfinite(value).all():
                raise WeightsError(f"{path}: {name} holds values that are not finite")
            if value.is_floating_point():
                mean[name] = mean.get(name, 0) + share * value.float()
            else:
                mean.setdefault(name, value)
    # Epoch, validation, calibration: true of the parts alone.
    metadata = {key: metadata[key] for key in ("network", METADATA_KEY, "data") if key in metadata}
    metadata["mean of"] = ", ".join(f"{share:g} {path.name}" for path, share in parts)
    return mean, metadata
