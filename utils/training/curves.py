"""The course of a training as a picture: loss, AUC and learning rate over the epochs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

WIDTH, HEIGHT, MARGIN, TOP = 420, 320, 46, 62  # pixels of a panel, and around its curves for words
INK, GRID, BLUE, RED = (40, 40, 40), (225, 225, 225), (180, 90, 30), (50, 50, 200)  # BGR
FONT, SIZE = cv2.FONT_HERSHEY_SIMPLEX, 0.42


class Curve(NamedTuple):
    """A key of the log, its name in the picture, and its colour."""

    key: str
    name: str
    colour: tuple[int, int, int]


PANELS = (
    ("log loss", (Curve("train_loss", "train loss", BLUE), Curve("val_log_loss", "val log loss", RED))),
    ("AUC on val", (Curve("val_auc", "AUC", RED),)),
    ("learning rate at the epoch's end", (Curve("lr", "rate", BLUE),)),
)


def draw_curves(rows: Sequence[dict[str, Any]]) -> bytes:
    """The rows of a log, one an epoch, as a PNG of three panels; what is missing or null leaves a gap."""
    panels = [draw_panel(title, curves, rows) for title, curves in PANELS]
    return cv2.imencode(".png", np.concatenate(panels, axis=1))[1].tobytes()


def draw_panel(title: str, curves: Sequence[Curve], rows: Sequence[dict[str, Any]]) -> np.ndarray:
    """One panel, uint8 (HEIGHT, WIDTH, 3)."""
    picture = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    epochs = [row["epoch"] for row in rows]
    lines = {curve: [number_of(row.get(curve.key)) for row in rows] for curve in curves}
    known = [value for values in lines.values() for value in values if math.isfinite(value)]
    across, up = Axis(epochs, MARGIN + 12, WIDTH - 16), Axis(known, HEIGHT - MARGIN, TOP)
    for value in up.marks():
        y = up.place(value)
        cv2.line(picture, (MARGIN + 12, y), (WIDTH - 16, y), GRID, 1)
        cv2.putText(picture, f"{value:.3g}", (4, y + 4), FONT, SIZE, INK, 1, cv2.LINE_AA)
    for epoch in sorted({round(value) for value in across.marks()}):
        place = (across.place(epoch) - 6, HEIGHT - MARGIN + 18)
        cv2.putText(picture, str(epoch), place, FONT, SIZE, INK, 1, cv2.LINE_AA)
    cv2.putText(picture, title, (MARGIN + 12, 18), FONT, 0.5, INK, 1, cv2.LINE_AA)
    cv2.putText(picture, "epoch", (WIDTH // 2, HEIGHT - 8), FONT, SIZE, INK, 1, cv2.LINE_AA)
    for place, (curve, values) in enumerate(lines.items()):
        points = [(across.place(x), up.place(y)) if math.isfinite(y) else None
                  for x, y in zip(epochs, values, strict=True)]  # fmt: skip
        draw_line(picture, points, curve.colour)
        last = next((value for value in reversed(values) if math.isfinite(value)), math.nan)
        words = f"{curve.name} {last:.4g}"
        cv2.putText(picture, words, (WIDTH - 170, 34 + 14 * place), FONT, SIZE, curve.colour, 1, cv2.LINE_AA)
    return picture


def draw_line(picture: np.ndarray, points: Sequence[tuple[int, int] | None], colour) -> None:
    """Join the points, in place; None is a gap."""
    for start, end in zip(points, points[1:], strict=False):
        if start is not None and end is not None:
            cv2.line(picture, start, end, colour, 2, cv2.LINE_AA)
    for point in points:
        if point is not None:
            cv2.circle(picture, point, 3, colour, -1, cv2.LINE_AA)


class Axis:
    """Where values from `low` to `high`, the range of those known, lie among pixels from `start` to `end`."""

    def __init__(self, known: Sequence[float], start: int, end: int):
        low, high = (min(known), max(known)) if known else (0.0, 1.0)
        if high == low:
            low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
        self.low, self.high, self.start, self.end = low, high, start, end

    def place(self, value: float) -> int:
        """The pixel of a value."""
        return round(self.start + (self.end - self.start) * (value - self.low) / (self.high - self.low))

    def marks(self) -> list[float]:
        """Five values at even distances."""
        return [float(value) for value in np.linspace(self.low, self.high, 5)]


def number_of(value: Any) -> float:
    """A number of the log; NaN for null, words and what is missing."""
    return float(value) if isinstance(value, int | float) else math.nan
