"""What a network expects of an aligned face: the one place where it is stated and done.

Scoring (`Preprocess.batch`) and training (`Preprocess.resize`, augmentation between, `Preprocess.normalised`)
give the same pixels to within a grey level.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from utils.core.errors import DataError, WeightsError

if TYPE_CHECKING:  # configs need the numbers here, not torch
    import numpy as np
    import torch

FACE_SIZE = 320  # side of an aligned face, in pixels
SMALLEST, LARGEST = 71, 2048  # sides of a network's input: Xception needs 71 pixels
PREPROCESS_KEY = "preprocess"


@dataclass(frozen=True)
class Preprocess:
    """Window of the aligned face -> size x size, bilinear (half-pixel centres, no antialias) -> normalised.

    size: side of the network's input in pixels; mean, std: of R, G, B in 0..1; window: x1, y1, x2, y2 in
    pixels of the 320x320 aligned face, end exclusive, None = all of it.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    window: tuple[int, int, int, int] | None = None

    def batch(self, faces: torch.Tensor) -> torch.Tensor:
        """Aligned RGB faces, uint8 (B, 320, 320, 3) -> the network's input, float32 (B, 3, size, size)."""
        from torch.nn.functional import interpolate

        x1, y1, x2, y2 = self._bounds(*faces.shape[1:3])
        images = faces[:, y1:y2, x1:x2].permute(0, 3, 1, 2).float() / 255  # (B, 3, h, w)
        mean, std = (on_device(tuple(values), faces.device) for values in (self.mean, self.std))
        images = (images - mean) / std
        if images.shape[-2:] == (self.size, self.size):
            return images
        return interpolate(images, size=(self.size, self.size), mode="bilinear", align_corners=False)

    def resize(self, image: np.ndarray) -> np.ndarray:
        """An aligned face, uint8 (320, 320, 3) -> its window, uint8 (size, size, 3), colour order kept."""
        import cv2

        x1, y1, x2, y2 = self._bounds(*image.shape[:2])
        return cv2.resize(image[y1:y2, x1:x2], (self.size, self.size), interpolation=cv2.INTER_LINEAR)

    def normalised(self, images: torch.Tensor, layout: torch.memory_format | None = None) -> torch.Tensor:
        """Resized RGB faces, uint8 (B, size, size, 3) -> the network's input, float32 (B, 3, size, size).

        layout: of the result in memory, None = as the faces'.
        """
        import torch

        layout = torch.preserve_format if layout is None else layout
        scaled = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=layout)
        mean, std = (on_device(tuple(values), images.device) for values in (self.mean, self.std))
        return scaled.div_(255).sub_(mean).div_(std)

    @classmethod
    def of_training(cls, config: Mapping[str, Any]) -> Preprocess:
        """What a training config, as a checkpoint of ours holds it, had the network fed with.

        Raises KeyError where it says nothing of it, and WeightsError, TypeError or ValueError for what no
        network could be fed with.
        """
        size, window = config["image_size"], config["window"]
        size = size if isinstance(size, int) else size[0]
        window = None if window is None else tuple(window)
        stated = cls(size, tuple(config["mean"]), tuple(config["std"]), window)
        return cls.from_metadata(stated.to_metadata())

    def to_metadata(self) -> str:
        """As JSON, for the metadata of a weights file."""
        return json.dumps({**asdict(self), "interpolation": "bilinear"})

    @classmethod
    def from_metadata(cls, text: str) -> Preprocess:
        """The value that `to_metadata` wrote; WeightsError if the text is something else."""
        try:
            entries = json.loads(text)
            window = entries["window"]
            value = cls(
                int(entries["size"]),
                _floats(entries["mean"]),
                _floats(entries["std"]),
                None if window is None else tuple(int(edge) for edge in window),
            )
            if entries.get("interpolation", "bilinear") != "bilinear" or not value._is_usable():
                raise ValueError
            return value
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            raise WeightsError(f"its metadata's {PREPROCESS_KEY!r} can't be understood: {text!r}") from None

    def _is_usable(self) -> bool:
        """Whether a network could be fed by it; a weights file may say anything."""
        x1, y1, x2, y2 = self.window or (0, 0, FACE_SIZE, FACE_SIZE)
        inside = 0 <= x1 < x2 <= FACE_SIZE and 0 <= y1 < y2 <= FACE_SIZE
        numbers = all(map(math.isfinite, (*self.mean, *self.std))) and min(self.std) > 0
        return bool(inside and numbers and SMALLEST <= self.size <= LARGEST)

    def _bounds(self, height: int, width: int) -> tuple[int, int, int, int]:
        if self.window is None:
            return 0, 0, width, height
        if (height, width) != (FACE_SIZE, FACE_SIZE):
            raise DataError(
                f"a crop of {width}x{height} pixels, but the window {self.window} is one of an aligned face, "
                f"{FACE_SIZE}x{FACE_SIZE}; extract the crops with make_dataset.py"
            )
        return self.window


@lru_cache(maxsize=64)
def on_device(values: tuple[float, ...], device: torch.device) -> torch.Tensor:
    """A number of each channel, (3, 1, 1) float32, copied to a device once. Not to be changed in place."""
    import torch

    with torch.inference_mode(False):  # so that training can use what scoring asked for first
        return torch.tensor(values, dtype=torch.float32, device=device).view(-1, 1, 1)


def _floats(values: list) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


_HALF = (0.5, 0.5, 0.5)
_WSDAN_MEAN = (0.4479, 0.3744, 0.3473)
_WSDAN_STD = (0.2537, 0.2502, 0.2424)
# What the published weights were trained on and are scored with.
PUBLISHED = {
    "xception": Preprocess(299, _HALF, _HALF),
    "wsdan-xception": Preprocess(320, _WSDAN_MEAN, _WSDAN_STD),
    "wsdan-efficientnet-b3": Preprocess(300, _WSDAN_MEAN, _WSDAN_STD),
}


def preprocess_of(network: str, metadata: Mapping[str, str]) -> Preprocess:
    """What these weights expect: their own metadata where they state it, else the published value."""
    if PREPROCESS_KEY in metadata:
        return Preprocess.from_metadata(metadata[PREPROCESS_KEY])
    return PUBLISHED[network]
