"""The Xception recipe: builds what a config asks for, trains it, and writes it down."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn

from models import xception
from utils import distributed
from utils.augment import augmentation
from utils.checkpoint import load_pretrained, load_weights, read_state_dict
from utils.config import as_plain, describe
from utils.datasets import (
    EpochBatches,
    FaceDataset,
    epoch_order,
    make_loader,
    sample_counts,
    validation_batches,
)
from utils.device import pick_device
from utils.errors import ConfigError, DataError
from utils.lists import find_videos, limit_videos, read_list
from utils.runs import Position, RunFolder, Stopped, StopRequest, restore, resume_path
from utils.schedule import learning_rate
from utils.schemas import XceptionConfig
from utils.training import Tally, evaluate, train_one_epoch

# What decides which samples a step sees: fixed while an epoch runs.
SAMPLE_KEYS = (
    "data_list", "seed", "batch_size", "train_sets", "real_fraction", "fake_fraction", "balance",
    "max_train_videos",
)  # fmt: skip


def train(config: XceptionConfig) -> int:
    """Train as the config says, from the start or from where `resume` points; returns the exit status.

    0 = trained to the end, 128 + signal = stopped and saved. Raises ConfigError, WeightsError or DataError
    for what can't be used.
    """
    distributed.start(config.device)
    try:
        device = training_device(config)
        torch.backends.cudnn.benchmark = True  # images have one size
        torch.manual_seed(config.seed)
        path = resume_path(config.save_dir, config.resume)
        sets = build_sets(config)
        model = build_model(config, device, start=path is None)
        optimizer = build_optimizer(model, config)
        scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        position = Position()
        if path is not None:
            position = restore(path, model, optimizer, scaler, as_plain(config), SAMPLE_KEYS)
        run = None
        if distributed.is_main():
            run = RunFolder(config.save_dir, "xception", as_plain(config), position.epoch)
            report(config, device, model, sets, path, position)
        with StopRequest() as stop:
            fit(config, device, model, optimizer, scaler, sets, run, position, stop)
    except Stopped as stopped:
        if distributed.is_main():
            print(f"stopped by {stopped}; the same command with resume=auto goes on", file=sys.stderr)
        return stopped.code
    finally:
        distributed.stop()
    return 0


def training_device(config: XceptionConfig) -> torch.device:
    """The config's device, each process its own GPU; ConfigError if they can't share the batch evenly."""
    world = distributed.world_size()
    if config.batch_size % world:
        raise ConfigError(f"batch_size {config.batch_size} can't be shared by {world} processes evenly")
    device = pick_device(config.device)
    if device.type == "cuda" and world > 1:
        return torch.device("cuda", distributed.local_rank())
    return device


def build_sets(config: XceptionConfig) -> tuple[FaceDataset, FaceDataset]:
    """Training and validation set; listed videos without crops are counted, and the first ones named."""
    table = read_list(config.data_list)
    sets = []
    for names, limit, augment in (
        (config.train_sets, config.max_train_videos, augmentation(config.augmentation)),
        ((config.valid_set,), config.max_valid_videos, None),
    ):
        videos, missing = find_videos(table, config.data_root, names)
        if missing and distributed.is_main():
            some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            print(f"{'+'.join(names)}: {len(missing)} listed videos are left out, without crops: {some}")
        videos = limit_videos(videos, limit, config.seed)
        counts = sample_counts(videos, config.real_fraction, config.fake_fraction)
        sets.append(FaceDataset(videos, counts, config.preprocess, config.seed, augment))
    if config.balance and len(set(sets[0].labels.tolist())) < 2:
        raise DataError("balance = True needs real and fake videos in the training set; one kind is missing")
    return sets[0], sets[1]


def layout(config: XceptionConfig) -> torch.memory_format:
    """How images and weights lie in memory; channels last is up to twice as fast, on CPU and GPU."""
    return torch.channels_last if config.channels_last else torch.contiguous_format


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
    return model.to(device, memory_format=layout(config))


def build_optimizer(model: nn.Module, config: XceptionConfig) -> torch.optim.Optimizer:
    """SGD with weight decay on everything, as published; AdamW with it on kernels and matrices only."""
    if config.optimizer == "sgd":
        return torch.optim.SGD(
            model.parameters(), config.learning_rate, config.momentum, weight_decay=config.weight_decay
        )
    kernels = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": kernels, "weight_decay": config.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, config.learning_rate)


def report(
    config: XceptionConfig,
    device: torch.device,
    model: nn.Module,
    sets: tuple[FaceDataset, FaceDataset],
    path: Path | None,
    position: Position,
) -> None:
    """Say what will really run."""
    world = distributed.world_size()
    print(describe(config))
    print(f"device: {device}, processes: {world}, threads of each: {torch.get_num_threads()}")
    print(f"effective batch: {config.batch_size} ({config.batch_size // world} a process)")
    print(f"learning rate: {config.learning_rate:g} at its highest, schedule {config.schedule}")
    print(f"parameters: {sum(parameter.numel() for parameter in model.parameters()):,}")
    for name, dataset in zip(("training", "validation"), sets, strict=True):
        fakes = int(dataset.labels.sum())
        real_videos = int((dataset.videos.labels == 0).sum())
        print(
            f"{name}: {len(dataset) - fakes:,} real and {fakes:,} fake samples "
            f"of {real_videos:,} real and {len(dataset.videos) - real_videos:,} fake videos"
        )
    if path is not None:
        print(f"going on from {path}: {position.epoch} epochs and {position.tally.step} steps are done")
    if position.epoch >= config.n_epoches:
        print(f"nothing left to do: n_epoches = {config.n_epoches}")
    print(f"writing to {config.save_dir}", flush=True)


def fit(
    config: XceptionConfig,
    device: torch.device,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    sets: tuple[FaceDataset, FaceDataset],
    run: RunFolder | None,
    position: Position,
    stop: StopRequest,
) -> None:
    """Train and validate the epochs that are left; `run` is None in all processes but the first."""
    rank, world = distributed.rank(), distributed.world_size()
    train_set, valid_set = sets
    share = config.batch_size // world
    workers = min(-(-config.num_workers // world), os.cpu_count() or 1)
    parallel = distributed.parallel(model, device)

    def loader(dataset, batches):
        return make_loader(dataset, batches, workers, pin_memory=device.type == "cuda")

    def save(also: tuple[str, ...] = ()) -> None:
        if run is not None:
            run.save(position, model, optimizer, scaler, also)

    def after_step() -> None:
        if distributed.any_of(stop.number != 0, device):
            save()
            raise Stopped(stop.number or signal.SIGTERM)  # also where another process got the signal
        elif run is not None and run.due():
            save()

    while position.epoch < config.n_epoches:
        epoch = position.epoch
        order = epoch_order(train_set.labels, config.seed, epoch, config.balance)
        batches = EpochBatches(order, epoch, config.batch_size, rank, world, position.tally.step)
        n_steps = len(batches.batches)
        if n_steps == 0:
            raise DataError(f"{len(order)} training samples are too few for {world} processes")
        rate = learning_rate(
            config.schedule, config.learning_rate, n_steps, config.n_epoches,
            step_epochs=config.step_epochs, step_factor=config.step_factor, warmup=config.warmup,
        )  # fmt: skip
        means = train_one_epoch(
            parallel, loader(train_set, batches), train_set, optimizer,
            lambda step, rate=rate, first=epoch * n_steps: rate(first + step), device,
            scaler=scaler, precision=config.precision, memory_format=layout(config), epoch=epoch,
            n_steps=n_steps, tally=position.tally, after_step=after_step,
        )  # fmt: skip
        save()  # a run that is stopped while it validates goes on with validating
        distributed.share_buffers(model)
        keys = validation_batches(len(valid_set), share, rank, world)
        position.metrics = evaluate(
            model, loader(valid_set, keys), len(keys), len(valid_set), config.preprocess, device,
            precision=config.precision, memory_format=layout(config), after_step=stop.check,
        )  # fmt: skip
        finish_epoch(config, run, position, means, optimizer.param_groups[0]["lr"], save)


def finish_epoch(config, run: RunFolder | None, position: Position, means, rate: float, save) -> None:
    """Move on to the next epoch, save, and say how this one went."""
    position.epoch, position.tally = position.epoch + 1, Tally()
    is_best = position.metrics["log_loss"] < position.best
    position.best = min(position.best, position.metrics["log_loss"])
    kept = position.epoch % config.keep_every == 0 or position.epoch == config.n_epoches
    also = [f"ckpt-{position.epoch}.pth"] * kept + ["best.pth"] * is_best
    save(tuple(also))
    if run is None:
        return
    row = {"epoch": position.epoch, "lr": rate, **means}
    row |= {f"val_{name}": value for name, value in position.metrics.items()}
    run.log(row)
    print("  ".join(f"{key} {value:.4g}" for key, value in row.items()), flush=True)
