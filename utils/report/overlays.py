"""Maps as colours to lay over a face: turquoise for attention, red towards fake and blue towards real."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import cv2
import numpy as np

ATTENTION, TOWARDS_FAKE, TOWARDS_REAL = (0, 214, 190), (226, 0, 70), (0, 96, 255)
MOST_OPAQUE = 0.75  # where a map reaches its scale


def attention_colours(values: np.ndarray) -> np.ndarray:
    """An attention map (h, w), by its own maximum -> (h, w, 4) uint8 RGBA."""
    return coloured(values, values.max(), ATTENTION, ATTENTION)


def activation_colours(values: np.ndarray, scale: float) -> np.ndarray:
    """A class-activation map (h, w), full at +-scale -> (h, w, 4) uint8 RGBA."""
    return coloured(values, scale, TOWARDS_FAKE, TOWARDS_REAL)


def activation_scale(faces: Iterable[Mapping[str, Any]]) -> float:
    """The furthest from 0 of all class-activation maps of a file's faces, as of `utils.report.maps`."""
    views = [view for face in faces for view in face["views"] if view["kind"] == "activation"]
    return max((float(np.abs(view["map"]).max()) for view in views), default=1.0)


def coloured(values: np.ndarray, scale: float, above: Sequence[int], below: Sequence[int]) -> np.ndarray:
    """(h, w) -> (h, w, 4) uint8 RGBA: one colour above 0, one below, the more opaque the further from 0."""
    share = np.abs(values) / max(scale, 1e-9)
    alpha = (share.clip(0, 1) * MOST_OPAQUE * 255)[..., None]
    colours = np.where(values[..., None] >= 0, np.array(above), np.array(below))
    return np.concatenate([colours, alpha], axis=-1).round().astype(np.uint8)


def placed(window: Sequence[float], height: int, width: int) -> tuple[float, float, float, float]:
    """Where a map of height x width cells lies over its network's window: x, y, width, height.

    The middles of its outermost cells lie on the window's edges, as where WS-DAN crops by it; so it reaches
    beyond the window by half a cell.
    """
    x1, y1, x2, y2 = window
    across, down = (x2 - x1) / max(width - 1, 1), (y2 - y1) / max(height - 1, 1)
    return x1 - across / 2, y1 - down / 2, across * width, down * height


def png_link(pixels: np.ndarray) -> str:
    """(h, w, 4) uint8 RGBA -> a data: address."""
    data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))[1].tobytes()
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


def blended(picture: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """A face (H, W, 3) uint8 RGB with a map (h, w, 4) uint8 RGBA over all of it."""
    height, width = picture.shape[:2]
    rows = np.linspace(0, colours.shape[0] - 1, height, dtype=np.float32)
    columns = np.linspace(0, colours.shape[1] - 1, width, dtype=np.float32)
    across, down = np.meshgrid(columns, rows)
    over = cv2.remap(colours, across, down, cv2.INTER_LINEAR).astype(np.float32)
    alpha = over[..., 3:] / 255
    return (picture * (1 - alpha) + over[..., :3] * alpha).round().astype(np.uint8)
