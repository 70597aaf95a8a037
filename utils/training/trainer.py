"""What both training scripts do: start, resume, train, validate, save, stop.

A recipe builds a `Task`, in which everything lies that differs between networks; a config is a
`TrainingConfig`. See task.py, xception_recipe.py and wsdan_recipe.py beside this file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from utils.core import distributed
from utils.core.config import as_plain, describe
from utils.core.device import pick_device
from utils.core.errors import DataError, WeightsError
from utils.data.datasets import make_loader
from utils.data.lists import Videos, find_videos, limit_videos
from utils.data.sampling import EpochBatches, validation_batches
from utils.training.config import TrainingConfig
from utils.training.engine import Tally, evaluate, train_one_epoch
from utils.training.optim import AveragedWeights, learning_rate
from utils.training.run import Position, RunFolder, Stopped, StopRequest, restore, resume_path, snapshot
from utils.training.task import Build, Task


def train(config: TrainingConfig, build: Build) -> int:
    """Train as the config says, from the start or from its checkpoint; returns the exit status.

    build: makes the task of config, device, and whether the run is new. 0 = trained to the end, 128 + signal
    = stopped and saved. Raises ConfigError, WeightsError or DataError for what can't be used.
    """
    distributed.start(on_cpu=config.device == "cpu")
    try:
        world = distributed.world_size()
        batch = config.total_batch(world)
        device = training_device(config)
        torch.backends.cudnn.benchmark = True  # images have one size
        torch.manual_seed(config.seed)
        path = resume_path(config.save_dir, config.resume, config.resume_key)
        task = build(config, device, path is None)
        averaged = AveragedWeights(task.model, config.ema)
        optimizer = build_optimizer(task.model, config)
        scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        position = Position()
        if path is not None:
            position = go_on(path, task, averaged, optimizer, scaler, config, batch)
        run = None
        if distributed.is_main():
            run = RunFolder(config.save_dir, as_plain(config), position.epoch)
            run.say(report(config, device, task, batch, path, position))
        with StopRequest() as stop:
            fit(config, device, task, averaged, optimizer, scaler, batch, run, position, stop)
    except Stopped as stopped:
        if distributed.is_main():
            print(f"stopped by {stopped}; the same command with {config.resume_key}=auto goes on",
                  file=sys.stderr)  # fmt: skip
        return stopped.code
    finally:
        distributed.stop()
    return 0


def go_on(
    path: Path,
    task: Task,
    averaged: AveragedWeights,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    config: TrainingConfig,
    batch: int,
) -> Position:
    """Restore everything from a checkpoint. Errors as of `run.restore`."""
    key = config.resume_key
    position, checkpoint = restore(
        path, task.model, optimizer, scaler, as_plain(config), task.sample_keys, batch, key
    )
    try:
        averaged.load(checkpoint)
        task.load_state(checkpoint)
    except (AttributeError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} ({key}) is no checkpoint of this training: {reason}") from None
    return position


def training_device(config: TrainingConfig) -> torch.device:
    """The config's device, each process its own GPU."""
    device = pick_device(config.device)
    if device.type == "cuda" and distributed.world_size() > 1:
        return torch.device("cuda", distributed.local_rank())
    return device


def layout(config: TrainingConfig) -> torch.memory_format:
    """How images and weights lie in memory; channels last is up to twice as fast, on CPU and GPU."""
    return torch.channels_last if config.channels_last else torch.contiguous_format


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


def report(
    config: TrainingConfig,
    device: torch.device,
    task: Task,
    batch: int,
    path: Path | None,
    position: Position,
) -> str:
    """What will really run."""
    world = distributed.world_size()
    parameters = sum(parameter.numel() for parameter in task.model.parameters())
    lines = [
        describe(config),
        f"device: {device}, processes: {world}, threads of each: {torch.get_num_threads()}",
        f"effective batch: {batch} ({batch // world} a process)",
        f"learning rate: {config.learning_rate:g} at its highest, schedule {config.schedule}",
        f"parameters: {parameters:,}",
        *task.describe(),
    ]
    if path is not None:
        done = f"{position.epoch} epochs and {position.tally.step} steps are done"
        lines.append(f"going on from {path}: {done}")
    if position.epoch >= config.n_epoches:
        lines.append(f"nothing left to do: {config.n_epoches} epochs are done")
    return "\n".join([*lines, f"writing to {config.save_dir}"])


def fit(
    config: TrainingConfig,
    device: torch.device,
    task: Task,
    averaged: AveragedWeights,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    batch: int,
    run: RunFolder | None,
    position: Position,
    stop: StopRequest,
) -> None:
    """Train and validate the epochs that are left; `run` is None in all processes but the first."""
    rank, world = distributed.rank(), distributed.world_size()
    workers = min(config.workers_each(world), os.cpu_count() or 1)
    parallel = distributed.parallel(task.model, device)
    common = {"precision": config.precision, "memory_format": layout(config)}

    def loader(dataset, batches):
        return make_loader(dataset, batches, workers, pin_memory=device.type == "cuda")

    def save(also: tuple[str, ...] = ()) -> None:
        checkpoint = snapshot(position, optimizer, scaler, batch) | averaged.state()
        checkpoint |= {"arch": task.arch, "config": as_plain(config)}
        if run is not None:
            run.save(checkpoint | task.state(position, optimizer.param_groups[0]["lr"]), also)

    def stop_together() -> None:
        number = distributed.highest(stop.number, device)
        if number:
            raise Stopped(number)

    def after_step() -> None:
        averaged.update()
        # One message a step: a signal to any process, or that the first one finds it time to save.
        mine = 2 * stop.number or int(bool(run is not None and run.due()))
        news = distributed.highest(mine, device)
        if news:
            save()
        if news > 1:
            raise Stopped(news // 2)

    while position.epoch < config.n_epoches:
        epoch = position.epoch
        order = task.epoch_order(epoch)
        batches = EpochBatches(order, epoch, batch, rank, world, position.tally.step, task.drop_last)
        n_steps = len(batches.batches)
        if n_steps == 0:
            raise DataError(f"{len(order)} training samples are too few for {world} processes")
        rate = learning_rate(
            config.schedule, config.learning_rate, n_steps, config.n_epoches,
            step_epochs=config.step_epochs, step_factor=config.step_factor, warmup=config.warmup,
        )  # fmt: skip
        means = train_one_epoch(
            lambda images, labels: task.take_step(parallel, images, labels), task.model,
            loader(task.train_set, batches), task.train_set, optimizer,
            lambda step, rate=rate, first=epoch * n_steps: rate(first + step), device,
            scaler=scaler, seed=config.seed, epoch=epoch, n_steps=n_steps, size=batches.size,
            tally=position.tally, after_step=after_step, **common,
        )  # fmt: skip
        save()  # a run that is stopped while it validates goes on with validating
        distributed.share_buffers(averaged.model)
        keys = validation_batches(task.valid_indices, batch // world, rank, world)
        position.metrics = evaluate(
            lambda images: task.predict(averaged.model, images), averaged.model,
            loader(task.valid_set, keys), len(keys), len(task.valid_indices), config.preprocess,
            device, stopping=lambda: stop.number != 0, **common,
        )  # fmt: skip
        stop_together()
        finish_epoch(config, task, run, position, means, optimizer.param_groups[0]["lr"], save)


def finish_epoch(
    config: TrainingConfig,
    task: Task,
    run: RunFolder | None,
    position: Position,
    means: dict[str, float],
    rate: float,
    save: Callable[[tuple[str, ...]], None],
) -> None:
    """Move on to the next epoch, say how this one went, and save.

    The log's row comes before the checkpoint: a run that goes on from the one before writes the row anew.
    """
    position.epoch, position.tally = position.epoch + 1, Tally()
    task.end_epoch()
    is_best = position.metrics["log_loss"] < position.best
    position.best = min(position.best, position.metrics["log_loss"])
    kept = position.epoch % config.keep_every == 0 or position.epoch == config.n_epoches
    also = [task.kept_name.format(epoch=position.epoch)] * kept + ["best.pth"] * is_best
    row = {"epoch": position.epoch, "lr": rate, **means}
    row |= {f"val_{name}": value for name, value in position.metrics.items()}
    if run is not None:
        run.log(row)
    save(tuple(also))
    if run is not None:
        run.say("  ".join(f"{key} {value:.4g}" for key, value in row.items()))


def videos_of_sets(table: pd.DataFrame, root: str | Path, config: TrainingConfig) -> tuple[Videos, Videos]:
    """Training and validation videos, as the config names and limits them.

    Listed videos without crops are counted, and the first ones named. DataError if a video is in both.
    """
    both = set(table.loc[table["set_name"].isin(config.train_sets), "name"])
    both &= set(table.loc[table["set_name"] == config.valid_set, "name"])
    if both:
        raise DataError(
            f"{len(both)} videos, such as {min(both)!r}, are in train_sets {config.train_sets} and in "
            f"valid_set {config.valid_set!r}: what is trained on would be validated on"
        )
    found = []
    for names, limit in (
        (config.train_sets, config.max_train_videos),
        ((config.valid_set,), config.max_valid_videos),
    ):
        videos, missing = find_videos(table, root, names)
        repeats = int(table.loc[table["set_name"].isin(names), "name"].duplicated().sum())
        if repeats and distributed.is_main():
            print(f"{'+'.join(names)}: {repeats} rows name a video again, and are left out")
        if missing and distributed.is_main():
            some = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
            print(f"{'+'.join(names)}: {len(missing)} listed videos are left out, without crops: {some}")
        found.append(limit_videos(videos, limit, config.seed))
    return found[0], found[1]
