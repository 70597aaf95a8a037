"""Train the per-face classifier, Xception, on aligned face crops.

    python train-xception.py xception-conf.py                        # one GPU, else the CPU
    python train-xception.py xception-conf.py device=cpu batch_size=8 max_train_videos=200   # a look
    torchrun --nproc-per-node 4 train-xception.py xception-conf.py   # four GPUs (batch_size over all of them)
    python train-xception.py xception-conf.py resume=auto            # go on from where it stopped

A config file is Python with plain names (utils/training/config.py); `key=value` overrides it. The crops
come from make_dataset.py, the list of videos from make_split.py. Into `save_dir` go last.pth (the newest
state), best.pth (lowest validation log loss), ckpt-<k>.pth (after epoch k: the last two, or see keep_every),
first-batch.png (what the network is shown), log.jsonl (a line an epoch), curves.png and TensorBoard files.
Ctrl-C, SIGTERM and SIGHUP save before they stop.

Exit status: 0 trained, 1 unusable data or disk, 2 wrong config, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP.
"""

from __future__ import annotations

import sys

from utils.training.command import read_command
from utils.training.config import XceptionConfig

if __name__ == "__main__":  # --help and a wrong config are answered before torch, which takes seconds to load
    COMMAND = read_command(__doc__, XceptionConfig)

from functools import partial
from pathlib import Path

from torch import Tensor, nn

from utils.augment.recipes import augmentation
from utils.core import distributed
from utils.core.console import SMALLER_BATCH, run
from utils.data.datasets import FaceDataset, sample_counts
from utils.data.groups import GroupedFaces
from utils.data.lists import read_list
from utils.data.sampling import plain_order
from utils.training.engine import Step, evaluate, train_one_epoch
from utils.training.grouped import grouped_faces
from utils.training.losses import Loss, loss_of
from utils.training.position import Position
from utils.training.preview import show_first
from utils.training.resume import resume_path
from utils.training.run import sole_training
from utils.training.sets import videos_of_sets
from utils.training.trainer import CheckpointForm, Trainer, begin
from utils.weights.checkpoint import load_pretrained, load_weights, read_state_dict
from utils.weights.networks import build_network


def train(config: XceptionConfig) -> int:
    """Train as the config says, from the start or from its checkpoint; exit status.

    0 = trained to the end, 128 + signal = stopped and saved. Raises ConfigError, WeightsError or DataError
    for what can't be used.
    """
    alone = sole_training(config.save_dir)
    with distributed.process_group(on_cpu=config.device == "cpu"), alone:
        device = begin(config)
        path = resume_path(config)
        train_set, valid_set = build_sets(config)
        model = build_model(config, start=path is None).to(device)
        trainer = Trainer(config, device, model, CHECKPOINTS, path)
        trainer.open([
            f"training, each epoch: {train_set.describe(train_set.epoch_order(0)[: config.epoch_samples])}",
            f"validation: {valid_set.describe(plain_order(valid_set.distinct(0)))}",
        ])
        with trainer:
            show_first(trainer, train_set)
            for epoch in trainer.epochs_left():
                order = train_set.epoch_order(epoch)[: config.epoch_samples]
                step = partial(take_step, loss_of(config))
                means = train_one_epoch(trainer, step, train_set, order, drop_last=True)
                trainer.save()  # a run that is stopped while it validates goes on with validating
                metrics = evaluate(trainer, predict, valid_set)
                trainer.finish_epoch(means, metrics)
    return trainer.exit_status


def build_sets(config: XceptionConfig) -> tuple[FaceDataset | GroupedFaces, FaceDataset]:
    """Training and validation set: a share of each video's frames, drawn anew each epoch to train, or groups.

    DataError for a list or crops that can't be used.
    """
    train_videos, valid_videos = videos_of_sets(read_list(config.data_list), config.data_root, config)
    train_counts, valid_counts = (
        sample_counts(videos, config.real_fraction, config.fake_fraction)
        for videos in (train_videos, valid_videos)
    )
    valid_set = FaceDataset(valid_videos, valid_counts, config.preprocess, config.seed)
    if config.groups:
        return grouped_faces(config, config.data_root), valid_set
    train_set = FaceDataset(
        train_videos, train_counts, config.preprocess, config.seed, augmentation(config.augmentation),
        config.balance, config.self_blended,
    )  # fmt: skip
    return train_set, valid_set


def build_model(config: XceptionConfig, start: bool) -> nn.Module:
    """Xception with two outputs; at the start of a run from `pretrained` weights, else random.

    A classifier of two outputs in the file is kept (a second stage of training); ImageNet's is not.
    """
    model = build_network("xception")
    if start and config.pretrained is not None:
        start_from(model, Path(config.pretrained))
    return model


def start_from(model: nn.Module, pretrained: Path) -> None:
    """Load an Xception, without its classifier if that is another one. WeightsError for another file."""
    state, _ = read_state_dict(pretrained, "pretrained")
    head = state.get("last_linear.weight")
    if head is not None and head.shape == model.last_linear.weight.shape:
        load_weights(model, pretrained, "pretrained")
    else:
        load_pretrained(model, pretrained, "pretrained")


def take_step(loss: Loss, model: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """The loss of a batch, and the accuracy."""
    logits = model(images)  # (B, 2)
    return Step(loss(logits, labels), {"accuracy": (logits.argmax(1) == labels).float().mean()})


def predict(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Logits (B, 2) of the one predictor."""
    return {"": model(images)}


def published_state(position: Position, rate: float) -> dict[str, float]:
    """What the published code's checkpoints hold besides weights and epoch: the accuracy in percent."""
    return {"acc1": 100 * position.metrics.get("accuracy", 0.0)}


CHECKPOINTS = CheckpointForm(
    arch="xception",
    kept_name="ckpt-{epoch}.pth",
    sample_keys=(
        "data_list", "seed", "batch_size", "train_sets", "real_fraction", "fake_fraction", "balance",
        "max_train_videos", "self_blended", "epoch_samples", "groups", "sources", "originals",
        "masks",
    ),
    state=published_state,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(run(lambda: train(COMMAND.config), memory_advice=SMALLER_BATCH))
