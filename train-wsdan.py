"""Train WS-DAN, the classifier with attention crops and drops, on aligned face crops.

    python train-wsdan.py wsdan-conf/xception.py                    # one GPU, else the CPU
    python train-wsdan.py wsdan-conf/xception.py pretrained=output/dfdc-xception/best.pth epochs=10
    torchrun --nproc-per-node 6 train-wsdan.py wsdan-conf/efb3.py   # six GPUs, batch_size on each
    python train-wsdan.py wsdan-conf/xception.py ckpt=auto          # go on from where it stopped
    python train-wsdan.py wsdan-conf/xception.py --show-batch out.png   # what training would see

A config file is Python with plain names (utils/training/config.py); `key=value` overrides it. The crops
come from make_dataset.py, the list of videos from make_split.py. Into `save_dir` go last.pth (the newest
state), best.pth (lowest validation log loss), ckpt_<k>.pth (after epoch k: the last two, or see keep_every),
first-batch.png (what the network is shown), log.jsonl (a line an epoch), curves.png, a text log and
TensorBoard files. Ctrl-C, SIGTERM and SIGHUP save before they stop.

Exit status: 0 trained, 1 unusable data or disk, 2 wrong config, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

from __future__ import annotations

import sys

from utils.training.command import read_command
from utils.training.config import WSDANConfig

if __name__ == "__main__":  # --help and a wrong config are answered before torch, which takes seconds to load
    COMMAND = read_command(__doc__, WSDANConfig, has_picture=True)

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models import WSDAN
from models.attention import logits_with_crop
from utils.augment.recipes import augmentation
from utils.core import distributed
from utils.core.console import SMALLER_BATCH, run
from utils.data.datasets import ScheduledFaces
from utils.data.groups import GroupedFaces
from utils.data.lists import read_json_list
from utils.data.sampling import plain_order
from utils.training.engine import Step, evaluate, train_one_epoch
from utils.training.grouped import grouped_faces
from utils.training.losses import loss_of
from utils.training.position import Position
from utils.training.preview import show_batch, show_first
from utils.training.resume import resume_path
from utils.training.run import sole_training
from utils.training.sets import videos_of_sets
from utils.training.trainer import CheckpointForm, Trainer, begin
from utils.training.wsdan import FeatureCenters, training_losses
from utils.weights.checkpoint import load_pretrained, load_weights, read_state_dict
from utils.weights.networks import build_network
from utils.weights.pretrained import load_imagenet_b3


def train(config: WSDANConfig, picture: Path | None = None) -> int:
    """Train as the config says, from the start or from its checkpoint; exit status.

    picture: only draw the first batch into it. 0 = trained to the end, 128 + signal = stopped and saved.
    Raises ConfigError, WeightsError or DataError for what can't be used.
    """
    alone = sole_training(config.save_dir, writes=picture is None)
    with distributed.process_group(on_cpu=config.device == "cpu"), alone:
        device = begin(config)
        path = resume_path(config, writes=picture is None)
        train_set, valid_set = build_sets(config)
        model = build_model(config, device, start=path is None)
        centers = FeatureCenters(2, model.fc.in_features, device)
        trainer = Trainer(config, device, model, checkpoint_form(config, centers), path)
        if picture is not None:
            print(f"{picture}: {show_batch(trainer, train_set, picture)}")
            return 0
        trainer.open([
            f"training, each epoch: {train_set.describe(train_set.epoch_order(0)[: config.epoch_samples])}",
            f"validation: {valid_set.describe(plain_order(valid_set.distinct(0)))}",
        ])
        with trainer:
            show_first(trainer, train_set)
            for epoch in trainer.epochs_left():
                order = train_set.epoch_order(epoch)[: config.epoch_samples]
                step = partial(take_step, config, centers)
                means = train_one_epoch(trainer, step, train_set, order, drop_last=False)  # as published
                trainer.save()  # a run that is stopped while it validates goes on with validating
                metrics = evaluate(trainer, predict, valid_set)
                centers.grow()
                trainer.finish_epoch(means, metrics)
    return trainer.exit_status


def build_sets(config: WSDANConfig) -> tuple[ScheduledFaces | GroupedFaces, ScheduledFaces]:
    """Training and validation set: 20 frames of each video, one on with each epoch, or groups to train.

    DataError for a list or crops that can't be used.
    """
    table = read_json_list(config.data_list)
    train_videos, valid_videos = videos_of_sets(table, config.datapath, config)
    valid_set = ScheduledFaces(valid_videos, config.preprocess, config.seed)
    if config.groups:
        return grouped_faces(config, config.datapath), valid_set
    augment = augmentation(config.augmentation)
    train_set = ScheduledFaces(train_videos, config.preprocess, config.seed, augment, config.self_blended)
    return train_set, valid_set


def build_model(config: WSDANConfig, device: torch.device, start: bool) -> WSDAN:
    """WS-DAN for two classes; at the start of a run its network from `pretrained` weights, else random."""
    model = build_network(f"wsdan-{config.net}", config.num_attentions)
    if config.net == "efficientnet-b3":
        for parameter in model.EFN._fc.parameters():  # a head that is in the files, but unused
            parameter.requires_grad_(False)
    if start and config.pretrained is not None:
        start_from(model, config.pretrained)
    if device.type == "cuda" and distributed.world_size() > 1:
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    return model.to(device)


def start_from(model: WSDAN, pretrained: str) -> None:
    """Load a whole WS-DAN (a second stage of training), or only its network, without the classifier.

    WeightsError for another file.
    """
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


def take_step(
    config: WSDANConfig, centers: FeatureCenters, model: nn.Module, images: Tensor, labels: Tensor
) -> Step:
    """The four losses, and the accuracy of the three forwards; moves the centres."""
    losses = training_losses(
        model, images, labels, centers.values, centers.step_size(config.beta),
        average_centers=config.average_centers, loss=loss_of(config),
    )  # fmt: skip
    centers.values = distributed.mean(losses["centers"])
    figures = {name: losses[name] for name in ("raw", "crop", "drop", "center")}
    for name in ("raw", "crop", "drop"):
        right = losses[f"logits_{name}"].argmax(1) == labels
        figures[f"{name}_accuracy"] = right.float().mean()
    return Step(losses["total"], figures)


def predict(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Logits (B, 2) of the raw forward, and of its mean with that of the attention crop."""
    raw, with_crop = logits_with_crop(model, images)
    return {"": raw, "with_crop_": with_crop}


def checkpoint_form(config: WSDANConfig, centers: FeatureCenters) -> CheckpointForm:
    """Checkpoints with the published code's `logs` and `feature_center`, the latter's scale beside it."""

    def state(position: Position, rate: float) -> dict[str, Any]:
        return {
            "logs": {"epoch": position.epoch, "lr": rate, **position.metrics},
            "feature_center": centers.values,
            "center_scale": centers.scale,
        }

    def load_state(checkpoint: dict[str, Any]) -> None:
        # published checkpoints have no scale
        centers.load(torch.as_tensor(checkpoint["feature_center"]), checkpoint.get("center_scale"))

    keys = (
        "data_list", "seed", "train_sets", "max_train_videos", "self_blended", "epoch_samples", "groups",
        "sources", "originals", "masks",
    )  # fmt: skip
    return CheckpointForm(f"wsdan-{config.net}", "ckpt_{epoch}.pth", keys, state, load_state)


if __name__ == "__main__":
    sys.exit(run(lambda: train(COMMAND.config, COMMAND.picture), memory_advice=SMALLER_BATCH))
