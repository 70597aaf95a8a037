"""Going on from a checkpoint: which one, what it must agree with, and what is taken from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import nn

from utils.core import distributed
from utils.core.config import as_plain
from utils.core.errors import ConfigError, WeightsError
from utils.training.config import TrainingConfig
from utils.training.position import Position
from utils.weights.checkpoint import load_checkpoint, load_weights

PUBLISHED_RESUME = "best.pth"
# Keys that decide which samples come when and that older checkpoints lack: what was done then.
YOUNGER_KEYS = {
    "self_blended": 0.0, "epoch_samples": None, "groups": [], "sources": [], "originals": None,
    "masks": "outlines",
}  # fmt: skip


def resume_path(config: TrainingConfig, writes: bool = True) -> Path | None:
    """The checkpoint to go on from, or None for a new run.

    By the config's key `resume` (WS-DAN: `ckpt`): "auto" (`last.pth` of save_dir if it is there), a path, or
    a file name within save_dir. The published default, `best.pth`, may be absent: that is how a first run
    starts. ConfigError for another file that is absent, and where a run `writes` into a folder that holds
    another one's `last.pth`: a new run, or one that goes on from a checkpoint of another folder.
    """
    key, resume, save_dir = config.resume_key, config.resume, config.save_dir
    last = Path(save_dir, "last.pth")
    if resume == "auto":
        return last if last.is_file() else None
    path = Path(save_dir, resume) if resume else None
    if path is not None and path.is_file():
        if resume == PUBLISHED_RESUME and last.is_file():
            print(f"going on from {last}, which is as far as {path} or further")
            return last
        if writes and last.exists() and path.resolve().parent != last.resolve().parent:
            refuse_to_overwrite(last, key)
        return path
    if path is not None and resume != PUBLISHED_RESUME:
        raise ConfigError(f"{key}: no such file: {path}")
    if writes and last.exists():
        refuse_to_overwrite(last, key)
    if path is not None:
        print(f"{path} is not there: training starts afresh")
    return None


def refuse_to_overwrite(last: Path, key: str) -> NoReturn:
    """ConfigError: `last` is another run's."""
    raise ConfigError(
        f"save_dir: {last} is of an earlier run, which a new one would overwrite; "
        f"go on from it with {key}=auto, or choose another save_dir"
    )


def restore(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    key: str = "resume",
) -> tuple[Position, dict[str, Any]]:
    """Put the state of a checkpoint back, in place; returns the position and the whole checkpoint.

    What the file lacks (published ones) starts anew, and is said. The optimizer's momentum, weight decay and
    the like stay those of the config. key: what the config calls it. WeightsError
    if the file is damaged or of another network.
    """
    load_weights(model, path, key)
    checkpoint = load_checkpoint(path, key)
    with refusing_damage(path, key):
        if "optimizer" not in checkpoint:
            if distributed.is_main():
                print(f"{path} holds no optimizer state: momentum starts at zero")
            done = checkpoint["epoch"] if "epoch" in checkpoint else checkpoint["logs"]["epoch"]
            return Position(int(done)), checkpoint
        stated = [
            {name: value for name, value in group.items() if name not in ("params", "lr")}
            for group in optimizer.param_groups
        ]
        optimizer.load_state_dict(checkpoint["optimizer"])
        for group, own in zip(optimizer.param_groups, stated, strict=True):
            group.update(own)
        check_moments(model, optimizer)
        if checkpoint["scaler"]:  # empty where the run was not in fp16: the scale is found anew
            scaler.load_state_dict(checkpoint["scaler"])
        return Position.of_checkpoint(checkpoint), checkpoint


def check_moments(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """ValueError for what the optimizer keeps of a parameter that has another shape or isn't finite."""
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if not isinstance(value, torch.Tensor):
                continue
            if value.numel() != 1 and value.shape != parameter.shape:
                raise ValueError(f"{key} of {name} has the shape {tuple(value.shape)}")
            if not torch.isfinite(value).all():
                raise ValueError(f"{key} of {name} holds values that are not finite")


@contextmanager
def refusing_damage(path: Path, key: str) -> Iterator[None]:
    """WeightsError, naming the file and its key, for whatever taking over a damaged checkpoint ends in."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} ({key}) is no checkpoint of this training: {reason}") from None


def check_order(
    path: Path, checkpoint: dict[str, Any], config: TrainingConfig, sample_keys: tuple[str, ...], batch: int
) -> None:
    """ConfigError if what decides which samples come when was different; for a checkpoint inside an epoch.

    sample_keys: the config's keys that do; batch: samples a step, over all processes. WeightsError if the
    checkpoint doesn't say.
    """
    with refusing_damage(path, config.resume_key):
        before, batch_before = YOUNGER_KEYS | checkpoint["config"], int(checkpoint["batch"])
    now = as_plain(config)
    changed = [(name, before.get(name), now[name]) for name in sample_keys if before.get(name) != now[name]]
    if batch != batch_before:
        changed.append(("samples a step", batch_before, batch))
    if changed:
        name, was, now = changed[0]
        raise ConfigError(
            f"{name}: {was!r} in {path}, now {now!r}: it can't change inside an epoch; "
            f"give {config.resume_key} the checkpoint of an epoch's end instead"
        )


def check_agreement(path: Path | None, position: Position, config: TrainingConfig) -> None:
    """ConfigError in all processes if they found different checkpoints, as on nodes without a shared disk."""
    file = None if path is None else path.name
    found = distributed.gather((file, position.epoch, position.seen.step))
    if len(set(found)) == 1:
        return
    other = next(number for number, place in enumerate(found) if place != found[0])
    words = [
        f"process {number} goes on from {name or 'nothing'} (epoch {epoch}, step {step})"
        for number, (name, epoch, step) in ((0, found[0]), (other, found[other]))
    ]
    raise ConfigError(
        f"save_dir: {', '.join(words)}: put {config.save_dir} on a disk that all nodes share, or copy the "
        "first process's files there"
    )
