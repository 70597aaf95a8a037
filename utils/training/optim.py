"""How weights move: the optimizer, the learning rate of each step, and the running average.

The rate is a pure function of the step, so that a resumed run needs no scheduler state. Averages of late
weights generalise better than the last ones (Izmailov et al. 2018, arXiv:1803.05407); exponential ones
follow the training at every step.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from utils.training.config import TrainingConfig

# The one-cycle policy starts at a 25th of the peak and ends at a 10,000th of that
# (Smith and Topin 2018, "Super-Convergence", with the constants of today's libraries).
START_DIVISOR = 25.0
END_DIVISOR = 1e4


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """SGD with weight decay on everything, as published; AdamW with it on kernels and matrices only."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, config.learning_rate, config.momentum, weight_decay=config.weight_decay
        )
    groups = [
        {"params": [value for value in parameters if value.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [value for value in parameters if value.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, config.learning_rate)


def step_decay(step: int, steps_per_epoch: int, peak: float, step_epochs: int, factor: float) -> float:
    """The peak rate, multiplied by `factor` after each `step_epochs` epochs."""
    return peak * factor ** (step // steps_per_epoch // step_epochs)


def one_cycle(step: int, total_steps: int, peak: float, warmup: float) -> float:
    """Cosine up to the peak in the first `warmup` (share of all steps), then cosine down to about 0."""
    start, end = peak / START_DIVISOR, peak / START_DIVISOR / END_DIVISOR
    rising = warmup * total_steps
    if step < rising:
        return _cosine(start, peak, step / rising)
    return _cosine(peak, end, min((step - rising) / max(total_steps - 1 - rising, 1), 1.0))


def learning_rate(
    schedule: str,
    peak: float,
    steps_per_epoch: int,
    n_epochs: int,
    *,
    step_epochs: int = 2,
    step_factor: float = 0.2,
    warmup: float = 0.1,
) -> Callable[[int], float]:
    """`rate(step)` for the schedule "step" or "onecycle"; steps count from 0 over the whole run."""
    if schedule == "step":
        return lambda step: step_decay(step, steps_per_epoch, peak, step_epochs, step_factor)
    if schedule == "onecycle":
        return lambda step: one_cycle(step, steps_per_epoch * n_epochs, peak, warmup)
    raise ValueError(f"schedule {schedule!r} is neither 'step' nor 'onecycle'")


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


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
        self.trained, self.decay = model, decay
        self.updates = 0  # counted here, since to ask the device would be to wait for it
        self.average = copy.deepcopy(model) if decay > 0 else None

    @property
    def model(self) -> nn.Module:
        """The network whose weights count."""
        return self.trained if self.average is None else self.average

    @torch.no_grad()
    def update(self) -> None:
        """After a step of the optimizer; the first one takes the weights as they are."""
        if self.average is None:
            return
        averaged, current = _values(self.average), _values(self.trained)
        moving = [place for place, value in enumerate(averaged) if value.is_floating_point() and self.updates]
        taken = sorted(set(range(len(averaged))) - set(moving))
        if taken:
            torch._foreach_copy_([averaged[place] for place in taken], [current[place] for place in taken])
        if moving:
            share = 1 - decay_at(self.decay, self.updates)
            torch._foreach_lerp_(
                [averaged[place] for place in moving], [current[place] for place in moving], share
            )
        self.updates += 1

    def state(self) -> dict[str, Any]:
        """For a checkpoint: `state_dict` is what counts, and what the published code and scoring load."""
        if self.average is None:
            return {"state_dict": self.trained.state_dict()}
        return {
            "state_dict": self.model.state_dict(),
            "trained_state_dict": self.trained.state_dict(),
            "n_averaged": self.updates,
        }

    def load(self, checkpoint: dict[str, Any]) -> None:
        """Go on from a checkpoint whose `state_dict` is loaded into the trained model already.

        One without averages starts them from its weights; without `ema`, the averages of one that has them
        are left behind. KeyError, ValueError, RuntimeError or the like for a damaged one.
        """
        if self.average is not None:
            self.model.load_state_dict(self.trained.state_dict())
            self.updates = int(checkpoint.get("n_averaged", 0))
        if "trained_state_dict" in checkpoint:
            for name, value in checkpoint["trained_state_dict"].items():
                if not torch.isfinite(value).all():
                    raise ValueError(f"{name} of trained_state_dict holds values that are not finite")
            self.trained.load_state_dict(checkpoint["trained_state_dict"])


def _values(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers."""
    return [*model.parameters(), *model.buffers()]
