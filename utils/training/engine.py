"""One epoch of training and one of validation, whatever is trained.

What differs between networks comes in as functions: a step gives a `Step` (loss and figures of a batch), a
prediction the logits of one or more predictors.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from utils.core import distributed
from utils.core.console import Progress
from utils.core.device import autocast
from utils.core.errors import DataError
from utils.core.metrics import frame_metrics
from utils.data.datasets import Batch, FaceDataset
from utils.weights.preprocess import Preprocess

MAX_BROKEN = 0.01  # share of an epoch's samples whose crops may be broken


class Step(NamedTuple):
    """What a batch gave: the loss () to minimise, and figures () to report by name, means over the batch."""

    loss: Tensor
    figures: dict[str, Tensor]


@dataclass
class Tally:
    """What an epoch has seen so far in one process: sums over samples; kept in checkpoints in an epoch."""

    step: int = 0
    n: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    broken: int = 0

    def add(self, figures: dict[str, float], n: int) -> None:
        """A step of n samples with these means."""
        self.step, self.n = self.step + 1, self.n + n
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * n

    def plain(self) -> dict:
        """As plain data, for a checkpoint."""
        return asdict(self)


def summary(tally: Tally) -> dict[str, float]:
    """Means over the samples that all processes have seen in this epoch."""
    parts = distributed.gather(tally)
    n = max(sum(part.n for part in parts), 1)
    names = dict.fromkeys(name for part in parts for name in part.sums)  # in order
    means = {f"train_{name}": sum(part.sums.get(name, 0.0) for part in parts) / n for name in names}
    return means | {
        "seconds": tally.seconds,
        "images_per_second": n / max(tally.seconds, 1e-9),
        "broken_crops": sum(part.broken for part in parts),
    }


def train_one_epoch(
    take_step: Callable[[Tensor, Tensor], Step],
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
    seed: int,
    epoch: int,
    n_steps: int,
    size: int,
    tally: Tally,
    after_step: Callable[[], None],
) -> dict[str, float]:
    """Train on the batches that are left of the epoch, and return the epoch's means over all processes.

    take_step: images (B, 3, S, S), labels (B,) -> `Step`; rate: learning rate at a step of this epoch;
    epoch: counted from 0; n_steps, size: steps and this process's samples of the whole epoch; tally: what it
    has seen, brought up to date in place; after_step may raise to stop. DataError in all processes if the
    loss isn't finite in one (naming the batch's files), or more than 1% of its crops are broken.
    """
    model.train()
    with Progress(f"epoch {epoch + 1}", n_steps, tally.step) as progress:
        started = time.monotonic() - tally.seconds
        for batch in batches:
            fail_together(bad_crops(batch, tally, size), device)
            images = batch.images.to(device, memory_format=memory_format, non_blocking=True)  # (B, 3, S, S)
            labels = batch.labels.to(device, non_blocking=True)  # (B,)
            for group in optimizer.param_groups:
                group["lr"] = rate(tally.step)
            seed_step(seed, epoch, tally.step)
            with autocast(device, precision):
                loss, figures = take_step(images, labels)
            values = torch.stack([loss.detach(), *(figure.detach() for figure in figures.values())]).tolist()
            fail_together(not_finite(values[0], epoch, tally.step, batch, dataset, optimizer), device)
            optimizer.zero_grad(set_to_none=True)
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()

            tally.add(dict(zip(("loss", *figures), values, strict=True)), len(labels))
            tally.seconds = time.monotonic() - started
            progress.update(loss=tally.sums["loss"] / tally.n, images=len(labels))
            after_step()
    return summary(tally)


@torch.inference_mode()
def evaluate(
    predict: Callable[[Tensor], dict[str, Tensor]],
    model: nn.Module,
    batches: Iterable[Batch],
    n_steps: int,
    size: int,
    preprocess: Preprocess,
    device: torch.device,
    *,
    precision: str,
    memory_format: torch.memory_format,
    stopping: Callable[[], bool],
) -> dict[str, float]:
    """Metrics of `frame_metrics` over all processes' samples, faces preprocessed as scoring does it.

    predict: images (B, 3, S, S) -> logits (B, 2) of each predictor, by the prefix of its metrics; batches:
    this process's aligned faces, uint8 (B, 320, 320, 3); size: samples of the whole set. If `stopping` says
    so in one process, the metrics are those of fewer samples, maybe none, and not to be used.
    """
    model.eval()
    tally, rows, prefixes, reason = Tally(), [np.empty((0, 2))], (), None
    with Progress("validation", n_steps) as progress:
        for batch in batches:
            reason = bad_crops(batch, tally, size)
            if reason is not None or stopping():
                break
            images = preprocess.batch(batch.images.to(device)).to(memory_format=memory_format)
            with autocast(device, precision):
                logits = predict(images)
            prefixes = tuple(logits)
            fake = [value.float().softmax(1)[:, 1].cpu() for value in logits.values()]
            rows.append(np.stack([batch.indices, batch.labels, *fake], axis=1))  # (B, 2 + predictors)
            progress.update(images=len(batch.labels))
    fail_together(reason, device)
    parts = distributed.gather((prefixes, [part for part in rows if len(part)]))
    rows = [part for _, process in parts for part in process]
    if not rows:
        return {}
    table = np.concatenate(rows)
    table = table[table[:, 0].argsort()]
    bad = int((~np.isfinite(table[:, 2:])).any(axis=1).sum())
    if bad:
        raise DataError(
            f"validation: {bad} of {len(table)} samples got no finite probability, the weights are useless; "
            "train from an earlier checkpoint with a lower learning_rate, or with precision=fp32"
        )
    metrics = {}
    for column, prefix in enumerate(max((part[0] for part in parts), key=len), start=2):
        values = frame_metrics(table[:, 1], table[:, column])
        metrics |= {prefix + name: value for name, value in values.items()}
    return metrics


def seed_step(seed: int, epoch: int, step: int) -> None:
    """Make what a step draws (dropout, maps, thresholds) depend on its number and process alone.

    So a resumed run draws what an unbroken one would have, without random states in the checkpoint.
    """
    entropy = np.random.SeedSequence((seed, epoch, step, distributed.rank()))
    torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))


def fail_together(reason: str | None, device: torch.device) -> None:
    """DataError in every process if one of them has a reason: none must wait for another that has left."""
    if distributed.highest(int(reason is not None), device):
        raise DataError(next(text for text in distributed.gather(reason) if text is not None))


def bad_crops(batch: Batch, tally: Tally, size: int) -> str | None:
    """Name the batch's broken crops; the reason to stop if they pass 1% of `size`, or one has no stand-in."""
    for line in batch.broken:
        tqdm.write(f"broken crop, replaced: {line}", file=sys.stderr)
    tally.broken += len(batch.broken)
    if batch.images is None:
        return f"no readable crop of this video nor of others like it: {batch.broken[-1]}"
    if tally.broken > MAX_BROKEN * size:
        return (
            f"{tally.broken} broken crops, more than {MAX_BROKEN:.0%} of {size} samples; "
            f"the last: {batch.broken[-1]}; extract the faces again (make_dataset.py)"
        )
    return None


def not_finite(value: float, epoch: int, step: int, batch: Batch, dataset: FaceDataset, optimizer):
    """What to say of a loss that is no number; None of one that is."""
    if math.isfinite(value):
        return None
    files = ", ".join(dataset.file(epoch, int(index)) for index in batch.indices)
    rate = optimizer.param_groups[0]["lr"]
    return (
        f"the loss is {value} at epoch {epoch + 1}, step {step + 1} (learning rate {rate:.3g}); stopped. "
        f"Lower learning_rate, or try precision=fp32. Crops of the batch: {files}"
    )
