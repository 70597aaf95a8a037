"""What a batch of logits costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from utils.core.device import is_gpu
from utils.training.config import TrainingConfig

Loss = Callable[[Tensor, Tensor], Tensor]


def loss_of(config: TrainingConfig) -> Loss:
    """The loss () of logits (B, 2) and labels (B,): of groups the mean of both classes' means."""
    if config.groups:
        return partial(class_mean_loss, smoothing=config.label_smoothing)
    return lambda logits, labels: cross_entropy(
        logits.float(), labels, label_smoothing=config.label_smoothing
    )


def class_mean_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Cross entropy, the mean of both classes' means: logits (B, 2), labels (B,) -> ().

    So a real face weighs as much as all fakes that its group makes of it. A batch of one class: its mean.
    """
    each = cross_entropy(logits.float(), labels, reduction="none", label_smoothing=smoothing)  # (B,)
    if is_gpu(each.device):
        return _class_mean(each, labels)
    means = [each[labels == label].mean() for label in labels.unique()]
    return sum(means) / len(means)


def _class_mean(each: Tensor, labels: Tensor) -> Tensor:
    """The mean of the classes' means, without asking the device how many samples a class has."""
    is_of = labels == torch.arange(2, device=labels.device)[:, None]  # (2, B)
    counts = is_of.sum(dim=1)
    means = (each * is_of).sum(dim=1) / counts.clamp_min(1)
    return means.sum() / (counts > 0).sum()
