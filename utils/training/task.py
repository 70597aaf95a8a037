"""What a recipe gives to `trainer`: all that differs between the networks that are trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from utils.data.datasets import FaceDataset
from utils.training.config import TrainingConfig
from utils.training.engine import Step
from utils.training.run import Position


class Task(Protocol):
    """A network, its data, and how it learns.

    arch: name for checkpoints; sample_keys: config keys that decide which samples a step sees; drop_last:
    whether samples that fill no batch are left out; kept_name: name of the checkpoint of epoch {epoch}.
    """

    arch: str
    sample_keys: tuple[str, ...]
    drop_last: bool
    kept_name: str
    model: nn.Module
    train_set: FaceDataset
    valid_set: FaceDataset
    valid_indices: np.ndarray

    def epoch_order(self, epoch: int) -> np.ndarray:
        """The training samples of an epoch, in order."""

    def take_step(self, parallel: nn.Module, images: Tensor, labels: Tensor) -> Step:
        """Loss of a batch; `parallel` is the model, wrapped for several processes."""

    def predict(self, model: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """Logits (B, 2) of each predictor by the prefix of its metrics; "" is the one that is scored with.

        model: the network, maybe with averaged weights.
        """

    def end_epoch(self) -> None:
        """What changes after each epoch."""

    def describe(self) -> list[str]:
        """Lines for the report at the start."""

    def state(self, position: Position, rate: float) -> dict[str, Any]:
        """What a checkpoint holds of this task alone."""

    def load_state(self, checkpoint: dict[str, Any]) -> None:
        """Take back what `state` gave, or what the published code gave; KeyError or the like if it can't."""


Build = Callable[[TrainingConfig, torch.device, bool], Task]
