"""A picture of what WS-DAN training sees: faces after augmentation, their attention crops and drops."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from models.attention import CROP_PADDING, CROP_THETA, DROP_THETA, attention_crop, attention_drop
from utils.core.device import autocast, pick_device
from utils.core.errors import DataError
from utils.core.files import write_whole
from utils.data.datasets import collate
from utils.training import trainer as engine
from utils.training.config import WSDANConfig
from utils.training.engine import seed_step
from utils.training.optim import AveragedWeights
from utils.training.run import resume_path
from utils.training.wsdan import draw_theta
from utils.training.wsdan_recipe import WSDANTask
from utils.weights.preprocess import Preprocess

MAX_FACES = 8


def show_batch(config: WSDANConfig, path: Path) -> str:
    """Write the first faces of the first batch as a picture; returns what it shows.

    A row each: the face as the network sees it, then its crop, then its drop. By the weights that the run
    would start from or go on with. Errors as of `trainer.train`; nothing but the picture is written.
    """
    device = pick_device(config.device)
    torch.manual_seed(config.seed)
    checkpoint = None
    if config.resume is not None:
        checkpoint = resume_path(config.save_dir, config.resume, config.resume_key)
    task = WSDANTask(config, device, checkpoint is None)
    if checkpoint is not None:
        optimizer = engine.build_optimizer(task.model, config)
        scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        averaged = AveragedWeights(task.model, config.ema)
        engine.go_on(checkpoint, task, averaged, optimizer, scaler, config, config.total_batch(1))
    order = first_faces(task.epoch_order(0), min(config.batch_size, MAX_FACES), len(task.train_set))
    keys = [(0, int(index)) for index in order]
    batch = collate([task.train_set[key] for key in keys])
    if batch.images is None:
        raise DataError(f"no readable crop of this video nor of others like it: {batch.broken[-1]}")
    seed_step(config.seed, 0, 0)
    images = batch.images.to(device)
    with autocast(device, config.precision):
        crops, drops = crops_and_drops(task.model, images)
    write_rows([images, crops, drops], config.preprocess, path)
    blended = np.flatnonzero(order >= len(task.train_set)) + 1
    of_these = f" (self-blended: row {', '.join(map(str, blended))})" if len(blended) else ""
    return f"{len(images)} faces{of_these}, their crops and drops"


def first_faces(order: np.ndarray, count: int, size: int) -> np.ndarray:
    """The first samples of an epoch; if none is self-blended, the first such one stands for the last of them.

    order: as of `epoch_order`; size: of the data set.
    """
    first, blended = order[:count].copy(), order[order >= size]
    if len(blended) and not (first >= size).any():
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
