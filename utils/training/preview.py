"""Pictures of what training sees: a new run's first samples; of WS-DAN also attention crops and drops."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from models.attention import CROP_PADDING, CROP_THETA, DROP_THETA, attention_crop, attention_drop
from utils.core.device import autocast
from utils.core.errors import DataError
from utils.core.files import write_whole
from utils.data.batches import Batch, collate
from utils.data.datasets import FaceDataset
from utils.data.sampling import Kind, keys_of
from utils.training.engine import seed_step
from utils.training.trainer import Trainer
from utils.training.wsdan import draw_theta
from utils.weights.preprocess import Preprocess

MAX_FACES = 8
FIRST_BATCH = "first-batch.png"
COLUMNS = 4  # of faces that stand alone
WORDS, INK = ("real", "fake"), ((90, 200, 90), (80, 80, 240))  # by label; BGR


def show_first(trainer: Trainer, dataset: Dataset) -> None:
    """Before a new run's first step: its first samples as the network sees them, `first-batch.png`.

    A group's members side by side, a row a group; faces that stand alone four in a row; real or fake is
    written on each. Samples without a readable crop are left out, and told when training meets them. Nothing
    of the run changes. In the main process alone, of a run that is not gone on with. OSError.
    """
    if trainer.folder is None or trainer.path is not None:
        return
    config = trainer.config
    order = first_faces(dataset.epoch_order(0)[: config.epoch_samples], MAX_FACES)
    # By the loader, a sample at a time: a disk that hangs must not keep a run from being stopped.
    with closing(trainer.load(dataset, [[key] for key in keys_of(order, epoch=0)])) as batches:
        samples = [batch for batch in batches if batch.images is not None]
    if not samples:
        return
    members = max(len(sample.labels) for sample in samples)
    tiles = [tile for sample in samples for tile in labelled(sample, members)]
    across = members if members > 1 else COLUMNS
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % across)
    rows = [np.concatenate(tiles[start : start + across], axis=1) for start in range(0, len(tiles), across)]
    path = Path(config.save_dir) / FIRST_BATCH
    write_whole(path, cv2.imencode(".png", np.concatenate(rows))[1].tobytes())
    what = f"{len(samples)} groups, a row each" if members > 1 else f"{len(samples)} faces"
    trainer.folder.say(f"{path}: {what}, as the network sees them")


def labelled(sample: Batch, members: int) -> list[np.ndarray]:
    """A sample's faces with real or fake written on them, uint8 BGR, and white for members that it lacks."""
    tiles = []
    for image, label in zip(sample.images.numpy(), sample.labels.tolist(), strict=True):
        tile = np.ascontiguousarray(image[..., ::-1])
        cv2.putText(tile, WORDS[label], (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 3, cv2.LINE_AA)
        cv2.putText(tile, WORDS[label], (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.5, INK[label], 1, cv2.LINE_AA)
        tiles.append(tile)
    return tiles + [np.full_like(tiles[0], 255)] * (members - len(tiles))


def show_batch(trainer: Trainer, dataset: FaceDataset, path: Path) -> str:
    """Write the first faces of the first batch as a picture; returns what it shows.

    A row each: the face as the network sees it, then its crop, then its drop. By the weights that the run
    would start from or go on with. DataError if no crop can be read, OSError if the picture can't be written.
    """
    config = trainer.config
    count = min(config.batch_size, MAX_FACES)
    order = first_faces(dataset.epoch_order(0)[: config.epoch_samples], count)
    batch = collate([dataset[key] for key in keys_of(order, epoch=0)])
    if batch.images is None:
        raise DataError(f"no readable crop of this video nor of others like it: {batch.broken[-1]}")
    seed_step(config.seed, 0, 0)
    images = config.preprocess.normalised(batch.images[:MAX_FACES].to(trainer.device))
    with autocast(trainer.device, config.precision):
        crops, drops = crops_and_drops(trainer.model, images)
    write_rows([images, crops, drops], config.preprocess, path)
    blended = np.flatnonzero(order["kind"] == Kind.SELF_BLENDED) + 1
    of_these = f" (self-blended: row {', '.join(map(str, blended))})" if len(blended) else ""
    return f"{len(images)} faces{of_these}, their crops and drops"


def first_faces(order: np.ndarray, count: int) -> np.ndarray:
    """The first samples of an epoch; if none is self-blended, the first such one stands for the last of them.

    order: (N,) of dtype ORDER, as of `epoch_order`.
    """
    first, blended = order[:count].copy(), order[order["kind"] == Kind.SELF_BLENDED]
    if len(blended) and Kind.SELF_BLENDED not in first["kind"]:
        first[-1] = blended[0]
    return first


@torch.no_grad()
def crops_and_drops(model: torch.nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    """What the second and third forward of a training step see: images (B, 3, S, S) -> two of the same."""
    model.train()
    maps = model(images)[2]
    crops = attention_crop(images, maps[:, :1], draw_theta(CROP_THETA, images), CROP_PADDING)
    return crops, attention_drop(images, maps[:, 1:], draw_theta(DROP_THETA, images))


def write_rows(columns: list[Tensor], preprocess: Preprocess, path: Path) -> None:
    """Normalised images (B, 3, S, S) of each column -> one picture of B rows; OSError if it can't be."""
    pixels = [pixels_of(column, preprocess) for column in columns]
    picture = np.concatenate([np.concatenate(row, axis=1) for row in zip(*pixels, strict=True)])
    encoded = cv2.imencode(".png", picture[..., ::-1])[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, encoded.tobytes())


def pixels_of(images: Tensor, preprocess: Preprocess) -> np.ndarray:
    """Normalised images (B, 3, S, S) as pictures again, uint8 RGB (B, S, S, 3)."""
    mean, std = np.float32(preprocess.mean), np.float32(preprocess.std)
    pixels = images.float().permute(0, 2, 3, 1).cpu().numpy() * std + mean
    return (pixels.clip(0, 1) * 255).round().astype(np.uint8)
