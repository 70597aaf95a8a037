"""One epoch of training and one of validation, whatever is trained.

What differs between networks comes in as functions: a step gives a `Step` (loss and figures of a batch), a
prediction the logits of one or more predictors.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable
from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from utils.core import distributed
from utils.core.console import Progress
from utils.core.device import autocast
from utils.core.errors import ConfigError, DataError
from utils.core.metrics import frame_metrics
from utils.data.batches import Batch
from utils.data.datasets import FaceDataset
from utils.data.sampling import EpochBatches, validation_batches
from utils.training.position import EpochSums
from utils.training.trainer import Trainer

MAX_BROKEN = 0.01  # share of an epoch's samples whose crops may be broken


class Step(NamedTuple):
    """What a batch gave: the loss () to minimise, and figures () to report by name, means over the batch."""

    loss: Tensor
    figures: dict[str, Tensor]


def train_one_epoch(
    trainer: Trainer,
    take_step: Callable[[nn.Module, Tensor, Tensor], Step],
    dataset: FaceDataset,
    order: np.ndarray,
    drop_last: bool,
) -> dict[str, float]:
    """Train on what is left of the epoch; its means over all processes.

    take_step: the network in train mode, images (B, 3, S, S), labels (B,) -> `Step`; dataset: gives `Sample`s
    by `SampleKey`; order: the epoch's samples (N,) of dtype ORDER; drop_last: leave out those that fill no
    batch; in WS-DAN's published training they make a smaller one. DataError in all processes if the loss
    isn't finite in one (naming the batch's files), or more than 1% of its crops are broken; ConfigError if
    the epoch began with other samples. `Stopped`, once all is saved, if the run is asked to stop.
    """
    epoch, seen = trainer.position.epoch, trainer.position.seen
    if not trainer.position.train_on(digest_of(dataset.content(), order.tobytes())):
        raise ConfigError(
            f"{trainer.path} is inside an epoch of other samples: the lists or the crops have changed since; "
            f"give {trainer.config.resume_key} the checkpoint of an epoch's end instead"
        )
    rank, world = distributed.rank(), distributed.world_size()
    batches = EpochBatches(order, epoch, trainer.batch, rank, world, seen.step, drop_last)
    n_steps = len(batches.batches)
    if n_steps == 0:
        raise DataError(f"{len(order)} training samples are too few for {world} processes")
    trainer.model.train()
    started = time.monotonic() - seen.seconds
    with (
        Progress(f"epoch {epoch + 1}", n_steps, seen.step) as progress,
        closing(trainer.load(dataset, batches)) as loaded,
    ):
        for batch in loaded:
            reason = bad_crops(batch, seen, batches.size)
            images, labels = trainer.to_device(batch)  # (B, 3, S, S), (B,)
            rate = trainer.set_rate(epoch * n_steps + seen.step, n_steps)
            seed_step(trainer.config.seed, epoch, seen.step)
            with autocast(trainer.device, trainer.config.precision):
                loss, figures = take_step(trainer.parallel, images, labels)
            said = tell_all(loss, figures, trainer.request(), reason)
            if said.failed:
                fail_together(reason or not_finite(said.values["loss"], rate, batch, trainer, dataset))
            trainer.descend(loss)
            seen.add(said.values, len(labels))
            seen.seconds = time.monotonic() - started
            progress.update(loss=seen.sums["loss"] / seen.n, images=len(labels))
            trainer.heed(said.request)
    if seen.step < n_steps:
        trainer.stop_waiting()
    return seen.means()


def evaluate(
    trainer: Trainer, predict: Callable[[nn.Module, Tensor], dict[str, Tensor]], dataset: FaceDataset
) -> dict[str, float]:
    """Metrics of `frame_metrics` over all processes' samples, faces preprocessed as scoring does it.

    predict: the network in eval mode, with averaged weights if there are some, and images (B, 3, S, S) ->
    logits (B, 2) of each predictor, by the prefix of its metrics ("" is the one that is scored with);
    dataset: gives aligned faces, uint8 (1, 320, 320, 3). Where the run is asked to stop the metrics are those
    of fewer samples, maybe none, and not to be used.
    """
    if not trainer.position.judge_on(digest_of(dataset.content())) and distributed.is_main():
        print("validated on other faces than before: the best log loss so far doesn't count")
    model, device = trainer.averaged.model, trainer.device
    distributed.share_buffers(model)
    model.eval()
    indices, rank, world = dataset.distinct(0), distributed.rank(), distributed.world_size()
    size = trainer.batch // world
    batches = validation_batches(indices, size, rank, world)
    seen, rows, prefixes, reason = EpochSums(), [np.empty((0, 2))], (), None
    with (
        torch.inference_mode(),
        Progress("validation", len(batches)) as progress,
        closing(trainer.load(dataset, batches)) as loaded,
    ):
        for batch in loaded:
            reason = bad_crops(batch, seen, len(indices))
            if reason is not None or trainer.is_stopping():
                break
            images = trainer.aligned_to_device(batch, size)
            with autocast(device, trainer.config.precision):
                logits = predict(model, images)
            prefixes = tuple(logits)
            fake = torch.stack([value.float().softmax(1)[:, 1] for value in logits.values()]).cpu()
            fake = fake[:, : len(batch.labels)]
            rows.append(np.stack([[key.index for key in batch.keys], batch.labels, *fake], axis=1))
            progress.update(images=len(batch.labels))
    fail_together(reason)
    return metrics_of(distributed.gather((prefixes, [part for part in rows if len(part)])))


def digest_of(*parts: bytes) -> str:
    """16 hex digits of these bytes."""
    return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


def metrics_of(parts: list[tuple[tuple[str, ...], list[np.ndarray]]]) -> dict[str, float]:
    """Metrics of what all processes predicted: prefixes of the predictors, and rows (B, 2 + predictors).

    A row is a sample's index, label and probabilities. DataError for those that are no numbers.
    """
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
    for column, prefix in enumerate(max((prefixes for prefixes, _ in parts), key=len), start=2):
        values = frame_metrics(table[:, 1], table[:, column])
        metrics |= {prefix + name: value for name, value in values.items()}
    return metrics


def seed_step(seed: int, epoch: int, step: int) -> None:
    """Make what a step draws (dropout, maps, thresholds) depend on its number and process alone.

    So a resumed run draws what an unbroken one would have, without random states in the checkpoint.
    """
    entropy = np.random.SeedSequence((seed, epoch, step, distributed.rank()))
    torch.manual_seed(int(entropy.generate_state(1, np.uint64)[0] >> 1))


class Said(NamedTuple):
    """The highest request of all processes, whether one of them failed, and this one's loss and figures."""

    request: int
    failed: bool
    values: dict[str, float]


def tell_all(loss: Tensor, figures: dict[str, Tensor], request: int, reason: str | None) -> Said:
    """All that processes tell each other in a step, and all that a step asks of the device, at one wait.

    request: what this process asks for; reason: why it can't go on, or None; a loss that isn't finite is one.
    """
    values = torch.stack([loss.detach(), *(figure.detach() for figure in figures.values())]).float()
    # `full` fills on the device; a tensor made of a list would be copied to it, and waited for.
    asked, failed = (values.new_full((), float(value)) for value in (request, reason is not None))
    flags = distributed.highest(torch.stack([asked, failed, 1 - values[0].isfinite().float()]))
    asked, failed, infinite, *numbers = torch.cat([flags, values]).tolist()
    return Said(int(asked), bool(failed or infinite), dict(zip(("loss", *figures), numbers, strict=True)))


def fail_together(reason: str | None) -> None:
    """DataError in every process if one of them has a reason: none must wait for another that has left."""
    reasons = [text for text in distributed.gather(reason) if text is not None]
    if reasons:
        raise DataError(reasons[0])


def bad_crops(batch: Batch, seen: EpochSums, size: int) -> str | None:
    """Name the batch's broken crops; the reason to stop if they pass 1% of `size`, or one has no stand-in."""
    for line in batch.broken:
        tqdm.write(f"broken crop, replaced: {line}", file=sys.stderr)
    seen.broken += len(batch.broken)
    if batch.images is None:
        return f"no readable crop of this video nor of others like it: {batch.broken[-1]}"
    if seen.broken > MAX_BROKEN * size:
        return (
            f"{seen.broken} broken crops, more than {MAX_BROKEN:.0%} of {size} samples; "
            f"the last: {batch.broken[-1]}; extract the faces again (make_dataset.py)"
        )
    return None


def not_finite(value: float, rate: float, batch: Batch, trainer: Trainer, dataset: FaceDataset) -> str | None:
    """What to say of a loss that is no number; None of one that is."""
    if np.isfinite(value):
        return None
    files = ", ".join(dataset.file(key) for key in batch.keys)
    at = f"epoch {trainer.position.epoch + 1}, step {trainer.position.seen.step + 1}"
    return (
        f"the loss is {value} at {at} (learning rate {rate:.3g}); stopped. "
        f"Lower learning_rate, or try precision=fp32. Crops of the batch: {files}"
    )
