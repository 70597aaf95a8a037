"""Pictures of one clip for a notebook: its faces, its scores over time, and where the networks looked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.report.overlays import activation_colours, attention_colours, blended
from utils.scoring.details import ENSEMBLE
from utils.scoring.verdict import Limits

if TYPE_CHECKING:
    import pandas as pd

SIDE, SMALL, GAP, WORDS = 168, 84, 6, 18  # pixels: a panel, a small one, between them, a caption's height
ACROSS = 9  # small pictures in a row
INK, GROUND = (28, 29, 32), (255, 255, 255)
WIDTH, HEIGHT, EDGE = 720, 220, 34  # pixels of the chart, and around it for words
LINES = ("#0b5cad", "#b3123e", "#7a5b00")  # colours of networks
PERSON = "person"  # the table's column
Panel = tuple[str, np.ndarray]  # caption, (H, W, 3) uint8 RGB


@dataclass(frozen=True)
class Svg:
    """A drawing that a notebook shows as part of its page."""

    text: str

    def _repr_html_(self) -> str:
        return self.text


def draw_faces(
    crops: Sequence[np.ndarray], probabilities: Sequence[float], persons: Sequence[int] | None = None
) -> Image.Image:
    """Aligned faces (320, 320, 3) uint8 RGB in rows, each with its probability, and whose it is."""
    captions = [f"{probability:.2f}" for probability in probabilities]
    if persons is not None:
        captions = [f"{said}, person {person}" for said, person in zip(captions, persons, strict=True)]
    panels = [(said, shrunk(crop, SMALL)) for said, crop in zip(captions, crops, strict=True)]
    rows = [panels[start : start + ACROSS] for start in range(0, len(panels), ACROSS)]
    return stacked([row_of(row) for row in rows])


def draw_views(
    crop: np.ndarray, views: Sequence[Mapping[str, Any]], probabilities: Sequence[float]
) -> Image.Image:
    """A face (320, 320, 3) uint8 RGB, and below it a row or two for each network's view, see `view_of`.

    probabilities: of each network.
    """
    rows = [row_of([("the aligned face", shrunk(crop, SIDE))])]
    for view, probability in zip(views, probabilities, strict=True):
        seen = cut_out(crop, view["window"])
        first = (f"{view['network']}: {probability:.2f}", seen)
        if view["kind"] == "activation":
            values = np.array(view["map"])
            over = blended(seen, activation_colours(values, np.abs(values).max()))
            rows.append(row_of([first, ("red: towards fake, blue: real", over)]))
            continue
        maps, peak = np.array(view["maps"]), view["peak"]
        mean = blended(seen, attention_colours(maps.mean(axis=0)))
        rows.append(row_of([
            first, (f"attention, mean of {len(maps)}", mean),
            (f"crop by map {peak + 1}", cut_out(crop, view["crop"])),
            (f"drop by map {peak + 1}", dropped(seen, view)),
        ]))  # fmt: skip
        small = shrunk(seen, SMALL)
        each = [(f"map {n}", blended(small, attention_colours(one))) for n, one in enumerate(maps, 1)]
        rows.append(row_of(each))
    return stacked(rows)


def cut_out(crop: np.ndarray, box: Sequence[float]) -> np.ndarray:
    """The part x1, y1, x2, y2 of a face, as a panel."""
    x1, y1, x2, y2 = (round(edge) for edge in box)
    return shrunk(crop[max(y1, 0) : max(y2, y1 + 1), max(x1, 0) : max(x2, x1 + 1)], SIDE)


def dropped(seen: np.ndarray, view: Mapping[str, Any]) -> np.ndarray:
    """What is left of a network's panel after the drop."""
    x1, y1, x2, y2 = view["window"]
    scale = SIDE / np.array([x2 - x1, y2 - y1])
    outlines = [((np.array(line) - (x1, y1)) * scale).round().astype(np.int32) for line in view["drop"]]
    return cv2.fillPoly(seen.copy(), outlines, (0, 0, 0)) if outlines else seen


def shrunk(picture: np.ndarray, side: int) -> np.ndarray:
    """A square of so many pixels."""
    return cv2.resize(np.ascontiguousarray(picture), (side, side), interpolation=cv2.INTER_AREA)


def row_of(panels: Sequence[Panel]) -> Image.Image:
    """Panels beside each other, their captions below."""
    height = max(picture.shape[0] for _, picture in panels) + WORDS
    row = Image.new("RGB", (sum(picture.shape[1] + GAP for _, picture in panels), height), GROUND)
    x, font = 0, ImageFont.load_default(12)
    for caption, picture in panels:
        row.paste(Image.fromarray(picture), (x, 0))
        ImageDraw.Draw(row).text((x, picture.shape[0] + 2), caption, INK, font=font)
        x += picture.shape[1] + GAP
    return row


def stacked(rows: Sequence[Image.Image]) -> Image.Image:
    """Rows below each other; without any, an empty picture."""
    size = max((row.width for row in rows), default=1), max(sum(row.height + GAP for row in rows), 1)
    picture, y = Image.new("RGB", size, GROUND), 0
    for row in rows:
        picture.paste(row, (0, y))
        y += row.height + GAP
    return picture


def draw_chart(table: pd.DataFrame, networks: Sequence[str], limits: Limits | None) -> Svg:
    """Each network's probability as a line, one a person, and the ensemble's as dots, over seconds, or frames
    where their times aren't known; the limits of the verdict as bands."""
    axis = "frame" if table["seconds"].isna().any() else "seconds"
    times = table[axis].to_numpy(float)
    first, last = (times.min(), times.max()) if len(times) else (0.0, 0.0)
    across = EDGE + (WIDTH - 2 * EDGE) * (times - first) / ((last - first) or 1)
    parts = ground(limits)
    for place, anchor in ((first, "start"), (last, "end")):
        at = EDGE if anchor == "start" else WIDTH - EDGE
        parts.append(f'<text x="{at}" y="{HEIGHT - 8}" text-anchor="{anchor}">{place:g} {axis}</text>')
    for number, network in enumerate(networks):
        colour, left = LINES[number % len(LINES)], EDGE + 170 * number
        for _, one in table.assign(x=across).groupby(PERSON):
            points = " ".join(f"{x:.1f},{down(p):.1f}" for x, p in zip(one["x"], one[network], strict=True))
            parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}"/>')
        parts.append(f'<text x="{left}" y="{HEIGHT + 12}" fill="{colour}">{escape(network)}</text>')
    dots = zip(table.index, table[PERSON], across, table[ENSEMBLE], strict=True)
    for place, person, x, probability in dots:
        said = f"<title>place {place}, person {person}: {probability:.3f}</title>"
        parts.append(f'<circle cx="{x:.1f}" cy="{down(probability):.1f}" r="4">{said}</circle>')
    parts.append(f'<text x="{EDGE + 170 * len(networks)}" y="{HEIGHT + 12}">dots: {ENSEMBLE}</text>')
    size = f'width="{WIDTH}" height="{HEIGHT + EDGE}" viewBox="0 0 {WIDTH} {HEIGHT + EDGE}"'
    style = 'font-family="sans-serif" font-size="12"'
    return Svg(f'<svg {size} {style}>{"".join(parts)}</svg>')


def ground(limits: Limits | None) -> list[str]:
    """What lies below a chart's lines: the verdict's bands, and the probabilities 0, 0.5 and 1."""
    parts = [f'<rect width="{WIDTH}" height="{HEIGHT + EDGE}" fill="white"/>']
    if limits is not None:
        for low, high, colour in ((0, limits.real_at, "#dbe8f5"), (limits.fake_at, 1, "#f5dbe3")):
            top, height = f"{down(high):.1f}", f"{down(low) - down(high):.1f}"
            box = f'x="{EDGE}" y="{top}" width="{WIDTH - 2 * EDGE}" height="{height}"'
            parts.append(f'<rect {box} fill="{colour}"/>')
    for value in (0, 0.5, 1):
        y = down(value)
        parts.append(f'<line x1="{EDGE}" x2="{WIDTH - EDGE}" y1="{y}" y2="{y}" stroke="#ccc"/>')
        parts.append(f'<text x="4" y="{y + 4}">{value:g}</text>')
    return parts


def down(probability: float) -> float:
    """Pixels from the chart's upper edge."""
    return EDGE / 2 + (HEIGHT - 1.5 * EDGE) * (1 - probability)
