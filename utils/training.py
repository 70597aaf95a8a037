"""One epoch of training and one of validation for the per-face classifiers."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from utils import distributed
from utils.datasets import Batch, FaceDataset
from utils.device import autocast
from utils.errors import DataError
from utils.metrics import frame_metrics
from utils.preprocess import Preprocess

MAX_BROKEN = 0.01  # share of an epoch's samples whose crops may be broken
LINE_SECONDS = 30  # between progress lines where there is no terminal to draw a bar on


@dataclass
class Tally:
    """What an epoch has seen so far: sums over samples; kept in checkpoints inside an epoch."""

    step: int = 0
    n: int = 0
    loss: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    broken: int = 0

    def plain(self) -> dict[str, float]:
        """As plain data, for a checkpoint."""
        return asdict(self)


def summary(tally: Tally) -> dict[str, float]:
    """Means over the samples that all processes have seen in this epoch."""
    parts = distributed.gather(tally)
    n = max(sum(part.n for part in parts), 1)
    return {
        "train_loss": sum(part.loss for part in parts) / n,
        "train_accuracy": sum(part.correct for part in parts) / n,
        "seconds": tally.seconds,
        "images_per_second": n / max(tally.seconds, 1e-9),
        "broken_crops": sum(part.broken for part in parts),
    }


def train_one_epoch(
    model: nn.Module,
    batches: Iterable[Batch],
    dataset: FaceDataset,
    optimizer: torch.optim.Optimizer,
    rate: Callable[[int], float],
    device: torch.device,
    *,
    scaler: torch.amp.GradScaler,
    precision: str,
    memory_format: torch.memory_format,
    epoch: int,
    n_steps: int,
    tally: Tally,
    after_step: Callable[[], None],
) -> dict[str, float]:
    """Train on the batches that are left of the epoch, and return the epoch's means over all processes.

    rate: learning rate at a step of this epoch; epoch: counted from 0; n_steps: steps of the whole epoch;
    tally: what the epoch has seen, brought up to date in place; after_step may raise to stop.
    Loss: cross entropy, mean over the batch. DataError if it isn't finite (naming the batch's videos), or
    more than 1% of the crops are broken.
    """
    model.train()
    with Progress(f"epoch {epoch + 1}", n_steps, tally.step) as progress:
        started = time.monotonic() - tally.seconds
        for batch in batches:
            check_crops(batch, tally, n_steps * len(batch.labels))
            images = batch.images.to(device, memory_format=memory_format, non_blocking=True)  # (B, 3, S, S)
            labels = batch.labels.to(device, non_blocking=True)  # (B,)
            for group in optimizer.param_groups:
                group["lr"] = rate(tally.step)
            with autocast(device, precision):
                logits = model(images)  # (B, 2)
                loss = cross_entropy(logits.float(), labels)
            value = loss.item()
            if not math.isfinite(value):
                raise DataError(not_finite(value, epoch, tally.step, batch, dataset, optimizer))
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

            tally.step += 1
            tally.n += len(labels)
            tally.loss += value * len(labels)
            tally.correct += int((logits.argmax(1) == labels).sum())
            tally.seconds = time.monotonic() - started
            progress.update(loss=tally.loss / tally.n, images=len(labels))
            after_step()
    return summary(tally)


@torch.inference_mode()
def evaluate(
    model: nn.Module,
    batches: Iterable[Batch],
    n_steps: int,
    size: int,
    preprocess: Preprocess,
    device: torch.device,
    *,
    precision: str,
    memory_format: torch.memory_format,
    after_step: Callable[[], None],
) -> dict[str, float]:
    """Metrics of `frame_metrics` over all processes' samples, faces preprocessed as scoring does it.

    batches: this process's aligned faces, uint8 (B, 320, 320, 3); size: samples of the whole set;
    after_step may raise to stop.
    """
    model.eval()
    tally, seen = Tally(), []
    with Progress("validation", n_steps) as progress:
        for batch in batches:
            check_crops(batch, tally, size)
            images = preprocess.batch(batch.images.to(device)).to(memory_format=memory_format)
            with autocast(device, precision):
                logits = model(images)  # (B, 2)
            fake = logits.float().softmax(1)[:, 1].cpu()
            seen.append(np.stack([batch.indices, batch.labels, fake], axis=1))  # (B, 3)
            progress.update(images=len(fake))
            after_step()
    table = np.concatenate(distributed.gather(np.concatenate([np.empty((0, 3)), *seen])))
    table = table[table[:, 0].argsort()]
    return frame_metrics(table[:, 1], table[:, 2])


def check_crops(batch: Batch, tally: Tally, size: int) -> None:
    """Name the batch's broken crops; DataError if they pass 1% of `size` samples, or one has no stand-in."""
    for line in batch.broken:
        tqdm.write(f"broken crop, replaced: {line}", file=sys.stderr)
    tally.broken += len(batch.broken)
    if batch.images is None:
        raise DataError(f"no readable crop of this video nor of others like it: {batch.broken[-1]}")
    if tally.broken > MAX_BROKEN * size:
        raise DataError(
            f"{tally.broken} broken crops, more than {MAX_BROKEN:.0%} of {size} samples; "
            f"the last: {batch.broken[-1]}; extract the faces again (make_dataset.py)"
        )


def not_finite(value: float, epoch: int, step: int, batch: Batch, dataset: FaceDataset, optimizer) -> str:
    """What to say of a loss that is no number."""
    names = ", ".join(dataset.name(int(index)) for index in batch.indices)
    rate = optimizer.param_groups[0]["lr"]
    return (
        f"the loss is {value} at epoch {epoch + 1}, step {step + 1} (learning rate {rate:.3g}); stopped. "
        f"Lower learning_rate, or try precision=fp32. Videos of the batch: {names}"
    )


class Progress:
    """A bar on a terminal, else a line every half minute: share done, loss, images/s, time left."""

    def __init__(self, what: str, total: int, done: int = 0):
        self.what, self.total, self.done, self.first = what, total, done, done
        self.images, self.loss = 0, None
        self.started = self.said = time.monotonic()
        self.bar = None
        if distributed.is_main() and sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, desc=what, unit="step", dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, images: int, loss: float | None = None) -> None:
        """One step of so many images is done; loss: mean so far."""
        self.done, self.images, self.loss = self.done + 1, self.images + images, loss
        rate = self.images / max(time.monotonic() - self.started, 1e-9) * distributed.world_size()
        shown = f"{rate:.1f} images/s" if loss is None else f"loss {loss:.4f}, {rate:.1f} images/s"
        if self.bar is not None:
            self.bar.set_postfix_str(shown, refresh=False)
            self.bar.update()
        elif distributed.is_main() and time.monotonic() - self.said >= LINE_SECONDS:
            self.said = time.monotonic()
            left = (self.said - self.started) / (self.done - self.first) * (self.total - self.done)
            minutes = f"{left / 60:.1f} min left"
            print(f"{self.what}: {self.done}/{self.total}, {shown}, {minutes}", file=sys.stderr, flush=True)
