"""The Xception recipe: the task that `xception-conf.py` asks for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from models import xception
from utils.augment.recipes import augmentation
from utils.core.errors import DataError
from utils.data.datasets import FaceDataset, sample_counts
from utils.data.lists import read_list
from utils.data.sampling import epoch_order
from utils.training import trainer as engine
from utils.training.config import XceptionConfig
from utils.training.engine import Step
from utils.training.run import Position
from utils.weights.checkpoint import load_pretrained, load_weights, read_state_dict


def train(config: XceptionConfig) -> int:
    """Train Xception as the config says; exit status and errors as of `trainer.train`."""
    return engine.train(config, XceptionTask)


class XceptionTask:
    """Xception with cross entropy on random frames; see `task.Task`. Errors as of `trainer.train`."""

    arch = "xception"
    kept_name = "ckpt-{epoch}.pth"
    drop_last = True
    sample_keys = (
        "data_list", "seed", "batch_size", "train_sets", "real_fraction", "fake_fraction", "balance",
        "max_train_videos", "self_blended", "epoch_samples",
    )  # fmt: skip

    def __init__(self, config: XceptionConfig, device: torch.device, is_new: bool):
        self.config = config
        self.train_set, self.valid_set = build_sets(config)
        self.valid_indices = np.arange(len(self.valid_set))
        self.model = build_model(config, device, start=is_new)

    def epoch_order(self, epoch: int) -> np.ndarray:
        """All samples shuffled, or as many fakes as reals; some of the fakes self-blended.

        Or the first `epoch_samples` of them.
        """
        config = self.config
        order = epoch_order(self.train_set.labels, config.seed, epoch, config.balance, config.self_blended)
        return order[: config.epoch_samples]

    def take_step(self, parallel: nn.Module, images: Tensor, labels: Tensor) -> Step:
        """Cross entropy and accuracy."""
        logits = parallel(images)  # (B, 2)
        loss = cross_entropy(logits.float(), labels)
        return Step(loss, {"accuracy": (logits.argmax(1) == labels).float().mean()})

    def predict(self, model: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """Logits (B, 2) of the one predictor."""
        return {"": model(images)}

    def end_epoch(self) -> None:
        """Nothing changes between epochs."""

    def describe(self) -> list[str]:
        """Sizes of both sets."""
        lines = []
        for name, dataset in (("training", self.train_set), ("validation", self.valid_set)):
            fakes = int(dataset.labels.sum())
            real_videos = int((dataset.videos.labels == 0).sum())
            lines.append(
                f"{name}: {len(dataset) - fakes:,} real and {fakes:,} fake samples "
                f"of {real_videos:,} real and {len(dataset.videos) - real_videos:,} fake videos"
            )
        return lines

    def state(self, position: Position, rate: float) -> dict[str, float]:
        """The published code's accuracy in percent."""
        return {"acc1": 100 * position.metrics.get("accuracy", 0.0)}

    def load_state(self, checkpoint: dict) -> None:
        """Nothing but what every checkpoint holds."""


def build_sets(config: XceptionConfig) -> tuple[FaceDataset, FaceDataset]:
    """Training and validation set; DataError for a list or crops that can't be used."""
    train_videos, valid_videos = engine.videos_of_sets(read_list(config.data_list), config.data_root, config)
    sets = []
    for videos, augment in ((train_videos, augmentation(config.augmentation)), (valid_videos, None)):
        counts = sample_counts(videos, config.real_fraction, config.fake_fraction)
        sets.append(FaceDataset(videos, counts, config.preprocess, config.seed, augment))
    if config.balance and len(set(sets[0].labels.tolist())) < 2:
        raise DataError("balance = True needs real and fake videos in the training set; one kind is missing")
    return sets[0], sets[1]


def build_model(config: XceptionConfig, device: torch.device, start: bool) -> nn.Module:
    """Xception with two outputs; at the start of a run from `pretrained` weights, else random.

    A classifier of two outputs in the file is kept (a second stage of training); ImageNet's is not.
    """
    model = xception(num_classes=2)
    if start and config.pretrained is not None:
        state, _ = read_state_dict(config.pretrained, "pretrained")
        head = state.get("last_linear.weight")
        if head is not None and head.shape == model.last_linear.weight.shape:
            load_weights(model, config.pretrained, "pretrained")
        else:
            load_pretrained(model, config.pretrained, "pretrained")
    return model.to(device, memory_format=engine.layout(config))
