"""A training run: what is trained, how far it is, where it is written, and how it stops.

The scripts build one and go through its epochs; `engine` has what is done in an epoch.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from utils.core import distributed
from utils.core.config import as_plain, describe
from utils.core.device import choose_by_trial, is_gpu, layout, pick_device
from utils.data.batches import Batch, KeptLoader
from utils.training.config import TrainingConfig
from utils.training.optim import AveragedWeights, build_optimizer, learning_rate
from utils.training.position import EpochSums, Position
from utils.training.resume import check_agreement, check_order, refusing_damage, restore
from utils.training.run import RunFolder, Stopped, StopRequest

PASSING = 2  # checkpoints of so many epochs are kept where the config doesn't say which


@dataclass(frozen=True)
class CheckpointForm:
    """What the checkpoints of a network are like.

    arch: the network's name; kept_name: file name of the checkpoint of epoch {epoch}; sample_keys: config
    keys that decide which samples a step sees, so that they can't change inside an epoch; state: what a
    checkpoint holds besides what every one does, of the position and the learning rate; load_state: takes
    that back, LookupError, ValueError or the like if it can't.
    """

    arch: str
    kept_name: str
    sample_keys: tuple[str, ...]
    state: Callable[[Position, float], dict[str, Any]]
    load_state: Callable[[dict[str, Any]], None] = lambda checkpoint: None


def begin(config: TrainingConfig) -> torch.device:
    """The config's device, each process its own GPU; what is drawn from now on depends on the seed."""
    device = pick_device(config.device)
    if device.type == "cuda" and distributed.world_size() > 1:
        device = torch.device("cuda", distributed.local_rank())
    choose_by_trial(True)  # images have one size
    torch.manual_seed(config.seed)
    return device


class Trainer:
    """A run in one of its processes, started or restored from the checkpoint at `path`; nothing is written.

    model: on its device. Then `open` makes the run's folder, and in the context `with trainer:` Ctrl-C,
    SIGTERM and SIGHUP save before they stop: the context ends quietly, and `exit_status` is 128 + signal.

    Raises ConfigError if the batch can't be shared by the processes, or the checkpoint is one inside an epoch
    of other samples; WeightsError if it is damaged or of another network.
    """

    def __init__(
        self,
        config: TrainingConfig,
        device: torch.device,
        model: nn.Module,
        form: CheckpointForm,
        path: Path | None,
    ):
        self.config, self.device, self.form, self.path = config, device, form, path
        self.batch = config.total_batch(distributed.world_size())  # samples a step, over all processes
        self.workers = min(config.workers_each(distributed.world_size()), os.cpu_count() or 1)
        best = layout(device, config.precision)
        self.memory_format = best if config.channels_last else torch.contiguous_format
        self.model = model.to(memory_format=self.memory_format)
        self.averaged = AveragedWeights(self.model, config.ema)
        self.optimizer = build_optimizer(self.model, config)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self.position = Position() if path is None else self._restore(path)
        check_agreement(path, self.position, config)
        self.parallel = distributed.parallel(self.model, device)
        self.folder: RunFolder | None = None  # in all processes but the first
        self.stop, self.exit_status = StopRequest(), 0
        self._loaders: dict[Dataset, KeptLoader] = {}
        self._planned: int | None = None

    def _restore(self, path: Path) -> Position:
        key = self.config.resume_key
        position, checkpoint = restore(path, self.model, self.optimizer, self.scaler, key)
        if position.seen.step:
            check_order(path, checkpoint, self.config, self.form.sample_keys, self.batch)
        with refusing_damage(path, key):
            self.averaged.load(checkpoint)
            self.form.load_state(checkpoint)
        return position

    def open(self, described: list[str]) -> None:
        """Make the run's folder, and say what will really run; described: lines about the data."""
        if distributed.is_main():
            self.folder = RunFolder(self.config.save_dir, as_plain(self.config), self.position.epoch)
            self.folder.say("\n".join([*self._report(), *described, f"writing to {self.config.save_dir}"]))

    def _report(self) -> Iterator[str]:
        config, world = self.config, distributed.world_size()
        yield describe(config)
        yield f"device: {self.device}, processes: {world}, threads of each: {torch.get_num_threads()}"
        yield f"loading processes: {self.workers} for each process, no more than there are processor cores"
        yield f"effective batch: {self.batch} ({self.batch // world} a process)"
        yield f"learning rate: {config.learning_rate:g} at its highest, schedule {config.schedule}"
        yield f"parameters: {sum(parameter.numel() for parameter in self.model.parameters()):,}"
        if self.path is not None:
            done = f"{self.position.epoch} epochs and {self.position.seen.step} steps are done"
            yield f"going on from {self.path}: {done}"
            if config.pretrained is not None:
                yield f"pretrained = {config.pretrained!r} isn't read: it is where a new run starts from"
        if self.position.epoch >= config.epochs:
            yield f"nothing left to do: {config.epochs} epochs are done"

    def __enter__(self) -> Trainer:
        self.stop.__enter__()
        return self

    def __exit__(self, _, error: BaseException | None, __) -> bool:
        self.stop.__exit__()
        for loader in self._loaders.values():
            loader.close()
        if not isinstance(error, Stopped):
            return False
        self.exit_status = error.code
        if distributed.is_main():
            print(f"stopped by {error}; the same command with {self.config.resume_key}=auto goes on",
                  file=sys.stderr)  # fmt: skip
        return True

    def epochs_left(self) -> Iterator[int]:
        """The epochs to train, counted from 0; `finish_epoch` leads from one to the next."""
        while self.position.epoch < self.config.epochs:
            yield self.position.epoch

    def load(self, dataset: Dataset, batches) -> Iterator[Batch]:
        """Batches of the data set by their keys, ended early where the run is to stop while none comes.

        The data set's loading processes live on for the next pass over it, until the run ends.
        """
        if dataset not in self._loaders:
            self._loaders[dataset] = KeptLoader(dataset, self.workers, pin_memory=self.device.type == "cuda")
        return self._loaders[dataset].load(batches, self.config.workers_key, self.is_stopping)

    def to_device(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Its normalised images (B, 3, S, S) and labels; of one that can't be had, stand-ins.

        With those the step is still taken together. Bytes go to the device, a quarter of what floats are.
        """
        images, labels = batch.images, batch.labels
        if images is None:
            images = torch.zeros(2, self.config.input_size, self.config.input_size, 3, dtype=torch.uint8)
            labels = torch.zeros(2, dtype=torch.int64)
        self._plan_for(len(labels))
        images = images.to(self.device, non_blocking=True)
        images = self.config.preprocess.normalised(images, self.memory_format)
        return images, labels.to(self.device, non_blocking=True)

    def _plan_for(self, size: int) -> None:
        """Have cuDNN try out ways for the first size of a batch; others, as of the last one, do without."""
        self._planned = self._planned or size
        choose_by_trial(size == self._planned)

    def aligned_to_device(self, batch: Batch, size: int) -> Tensor:
        """A validation batch's aligned faces as the network's input; on a GPU filled up to `size` faces."""
        faces = batch.images.to(self.device, non_blocking=True)
        if is_gpu(self.device) and len(faces) < size:
            faces = torch.cat([faces, faces[:1].expand(size - len(faces), -1, -1, -1)])
        choose_by_trial(True)  # one shape
        return self.config.preprocess.batch(faces).to(memory_format=self.memory_format)

    def set_rate(self, step: int, steps_per_epoch: int) -> float:
        """Give the optimizer the learning rate of a step, counted over the whole run; returns it."""
        config = self.config
        rate = learning_rate(
            config.schedule, config.learning_rate, steps_per_epoch, config.epochs,
            step_epochs=config.step_epochs, step_factor=config.step_factor, warmup=config.warmup,
        )(step)  # fmt: skip
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def descend(self, loss: Tensor) -> None:
        """A step of the optimizer, and of the averaged weights. (In fp16 its scaler waits for the device.)"""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averaged.update()

    def is_stopping(self) -> bool:
        """Whether a signal asked this process to stop."""
        return self.stop.number != 0

    def request(self) -> int:
        """What this process wants after a step: 0 nothing, 1 to save, 2n to save and end by signal n."""
        return 2 * self.stop.number or int(bool(self.folder and self.folder.due()))

    def heed(self, request: int) -> None:
        """Do what the highest `request` of all processes asks for; may raise Stopped."""
        if request:
            self.save()
        if request > 1:
            raise Stopped(request // 2)

    def stop_waiting(self) -> None:
        """Stop where no batch comes; alone this process can save, others may be within a step."""
        if distributed.world_size() == 1:
            self.save()
        raise Stopped(self.stop.number)

    def save(self, also: tuple[str, ...] = ()) -> None:
        """Write `last.pth`, and the same under other names; to be called in all processes.

        Random states are not in it: what is drawn depends on seed, epoch, step, process and sample.
        """
        checkpoint = self.position.state() | self.averaged.state()
        if self.folder is None:
            return
        checkpoint |= {
            "arch": self.form.arch,
            "config": as_plain(self.config),
            "batch": self.batch,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        rate = self.optimizer.param_groups[0]["lr"]
        self.folder.save(checkpoint | self.form.state(self.position, rate), also)

    def finish_epoch(self, means: dict[str, float], metrics: dict[str, float]) -> None:
        """Move on to the next epoch, log how this one went, and save; may raise Stopped.

        The log's row comes before the checkpoint: a run that goes on from the one before writes the row anew.
        """
        number = max(distributed.gather(self.stop.number))
        if number:  # the metrics may be of a part of the samples
            raise Stopped(number)
        position = self.position
        position.epoch, position.seen, position.metrics = position.epoch + 1, EpochSums(), metrics
        is_best = metrics["log_loss"] < position.best
        position.best = min(position.best, metrics["log_loss"])
        kept, dropped = self._kept_checkpoints()
        also = kept + ["best.pth"] * is_best
        row = {"epoch": position.epoch, "lr": self.optimizer.param_groups[0]["lr"], **means}
        row |= {f"val_{name}": value for name, value in metrics.items()}
        if self.folder is not None:
            self.folder.log(row)
        self.save(tuple(also))
        if self.folder is not None:
            self.folder.remove(dropped)
            self.folder.say("  ".join(f"{key} {value:.4g}" for key, value in row.items()))

    def _kept_checkpoints(self) -> tuple[list[str], list[str]]:
        """Names under which this epoch's checkpoint is kept, and of those that it takes the place of."""
        epoch, each = self.position.epoch, self.config.keep_every
        if each is not None and epoch % each and epoch < self.config.epochs:
            return [], []
        dropped = []
        if each is None:
            passing = [*self.position.passing, epoch]
            self.position.passing, dropped = passing[-PASSING:], passing[:-PASSING]
        return [self._kept_name(epoch)], [self._kept_name(gone) for gone in dropped]

    def _kept_name(self, epoch: int) -> str:
        return self.form.kept_name.format(epoch=epoch)
