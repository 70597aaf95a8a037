"""A small but whole submission config for tests: the real detector, Xception with made-up weights."""

from pathlib import Path

import torch
from fill import fill

from models import xception
from utils.weights.checkpoint import save_weights
from utils.weights.preprocess import PREPROCESS_KEY, Preprocess

SMALL = Preprocess(71, (0.5,) * 3, (0.5,) * 3)


def write_weights(path: Path, sign: float = 1.0) -> Path:
    """Weights of Xception; with sign=-1 those that answer 1 - p where the others answer p."""
    net = fill(xception(num_classes=2))
    with torch.no_grad():
        net.last_linear.weight *= sign
        net.last_linear.bias *= sign
    save_weights(net, path, {PREPROCESS_KEY: SMALL.to_metadata()})
    return path


def write_config(path: Path, weights: Path, **keys) -> Path:
    keys = {"detector": "mobilenet0.25", "frame_stride": 30, "face_limit": 2, "batch_size": 4} | keys
    keys["ensemble"] = [("xception", str(weights), 1.0)]
    path.write_text("".join(f"{key} = {value!r}\n" for key, value in keys.items()))
    return path
