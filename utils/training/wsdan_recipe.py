"""The WS-DAN recipe: the task that `wsdan-conf/*.py` ask for."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models import WSDAN
from models.attention import logits_with_crop
from utils.augment.recipes import augmentation
from utils.core import distributed
from utils.core.errors import DataError
from utils.data.datasets import ScheduledFaces
from utils.data.lists import read_json_list
from utils.training import trainer as engine
from utils.training.config import WSDANConfig
from utils.training.engine import Step
from utils.training.run import Position
from utils.training.wsdan import FeatureCenters, training_losses
from utils.weights.checkpoint import load_pretrained, load_weights, read_state_dict
from utils.weights.pretrained import load_imagenet_b3


def train(config: WSDANConfig) -> int:
    """Train WS-DAN as the config says; exit status and errors as of `trainer.train`."""
    return engine.train(config, WSDANTask)


class WSDANTask:
    """WS-DAN with its four losses and feature centres; see `task.Task`. Errors as of `trainer.train`."""

    kept_name = "ckpt_{epoch}.pth"
    drop_last = False  # as published
    sample_keys = ("data_list", "seed", "train_sets", "max_train_videos", "self_blended", "epoch_samples")

    def __init__(self, config: WSDANConfig, device: torch.device, is_new: bool):
        self.config = config
        self.arch = f"wsdan-{config.net}"
        self.train_set, self.valid_set = build_sets(config)
        self.valid_indices = self.valid_set.distinct(epoch=0)
        self.model = build_model(config, device, start=is_new)
        self.centers = FeatureCenters(2, self.model.fc.in_features, device)

    def epoch_order(self, epoch: int) -> np.ndarray:
        """All reals and as many fakes, each crop once; or the first `epoch_samples` of them."""
        return self.train_set.epoch_order(epoch)[: self.config.epoch_samples]

    def take_step(self, parallel: nn.Module, images: Tensor, labels: Tensor) -> Step:
        """The four losses, and the accuracy of the three forwards; moves the centres."""
        losses = training_losses(
            parallel, images, labels, self.centers.values, self.centers.step_size(self.config.beta),
            average_centers=self.config.average_centers,
        )  # fmt: skip
        self.centers.values = distributed.mean(losses["centers"])
        figures = {name: losses[name] for name in ("raw", "crop", "drop", "center")}
        for name in ("raw", "crop", "drop"):
            right = losses[f"logits_{name}"].argmax(1) == labels
            figures[f"{name}_accuracy"] = right.float().mean()
        return Step(losses["total"], figures)

    def predict(self, model: nn.Module, images: Tensor) -> dict[str, Tensor]:
        """Logits (B, 2) of the raw forward, and of its mean with that of the attention crop."""
        raw, with_crop = logits_with_crop(model, images)
        return {"": raw, "with_crop_": with_crop}

    def end_epoch(self) -> None:
        """The centres grow."""
        self.centers.grow()

    def describe(self) -> list[str]:
        """Sizes of both sets, in videos and in samples of an epoch."""
        lines = []
        first = {"training, each epoch": self.epoch_order(0), "validation": self.valid_indices}
        for name, dataset in (("training, each epoch", self.train_set), ("validation", self.valid_set)):
            fakes = int(dataset.labels_of(first[name]).sum())
            real_videos = int((dataset.videos.labels == 0).sum())
            lines.append(
                f"{name}: {len(first[name]) - fakes:,} real and {fakes:,} fake samples "
                f"of {real_videos:,} real and {len(dataset.videos) - real_videos:,} fake videos"
            )
        blended = int((first["training, each epoch"] >= len(self.train_set)).sum())
        if blended:
            lines.append(f"of the fake training samples {blended:,} are self-blended real faces")
        return lines

    def state(self, position: Position, rate: float) -> dict[str, Any]:
        """`logs` and `feature_center` of the published code; the latter's scale lies beside it."""
        return {
            "logs": {"epoch": position.epoch, "lr": rate, **position.metrics},
            "feature_center": self.centers.values,
            "center_scale": self.centers.scale,
        }

    def load_state(self, checkpoint: dict[str, Any]) -> None:
        """The centres and their scale, which published checkpoints don't have."""
        self.centers.load(torch.as_tensor(checkpoint["feature_center"]), checkpoint.get("center_scale"))


def build_sets(config: WSDANConfig) -> tuple[ScheduledFaces, ScheduledFaces]:
    """Training and validation set; DataError for a list or crops that can't be used."""
    table = read_json_list(config.data_list)
    train_videos, valid_videos = engine.videos_of_sets(table, config.datapath, config)
    if len(set(train_videos.labels.tolist())) < 2:
        raise DataError(f"train_sets {config.train_sets} must hold real and fake videos; one kind is missing")
    augment = augmentation(config.augmentation)
    return (
        ScheduledFaces(train_videos, config.preprocess, config.seed, augment, config.self_blended),
        ScheduledFaces(valid_videos, config.preprocess, config.seed),
    )


def build_model(config: WSDANConfig, device: torch.device, start: bool) -> nn.Module:
    """WS-DAN for two classes; at the start of a run its network from `pretrained` weights, else random.

    `pretrained` may also be a WS-DAN checkpoint: then all of it is taken over (a second stage of training).
    """
    model = WSDAN(2, config.num_attentions, config.net)
    if config.net == "efficientnet-b3":
        for parameter in model.EFN._fc.parameters():  # a head that is in the files, but unused
            parameter.requires_grad_(False)
    if start and config.pretrained is not None:
        start_from(model, config.pretrained)
    if device.type == "cuda" and distributed.world_size() > 1:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model.to(device, memory_format=engine.layout(config))


def start_from(model: WSDAN, pretrained: str) -> None:
    """Load a whole WS-DAN, or only its network, without the classifier. WeightsError for another file."""
    if pretrained == "yes":
        load_imagenet_b3(model.EFN)
        return
    state, _ = read_state_dict(pretrained, "pretrained")
    if any(name.startswith("attentions.") for name in state):
        load_weights(model, pretrained, "pretrained")
    elif model.net == "xception":
        load_pretrained(model.features, pretrained, "pretrained")
    else:
        load_pretrained(model.EFN, pretrained, "pretrained", classifier=("_fc.",))
