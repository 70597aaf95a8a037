"""A picture of what WS-DAN training sees: faces after augmentation, their attention crops and drops."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from models.attention import CROP_PADDING, CROP_THETA, DROP_THETA, attention_crop, attention_drop
from utils.core.device import autocast
from utils.core.errors import DataError
from utils.core.files import write_whole
from utils.data.batches import collate
from utils.data.datasets import FaceDataset
from utils.data.sampling import Kind, keys_of
from utils.training.engine import seed_step
from utils.training.trainer import Trainer
from utils.training.wsdan import draw_theta
from utils.weights.preprocess import Preprocess

MAX_FACES = 8


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
    images = batch.images[:MAX_FACES].to(trainer.device)
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
    mean, std = np.float32(preprocess.mean), np.float32(preprocess.std)
    pixels = [column.float().permute(0, 2, 3, 1).cpu().numpy() * std + mean for column in columns]
    rows = [np.concatenate(row, axis=1) for row in zip(*pixels, strict=True)]
    picture = (np.concatenate(rows).clip(0, 1) * 255).round().astype(np.uint8)
    encoded = cv2.imencode(".png", picture[..., ::-1])[1]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, encoded.tobytes())
