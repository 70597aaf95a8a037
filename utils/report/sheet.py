"""The report as a picture, for where there is no browser: a tile a file, its answer and two of its faces."""

from __future__ import annotations

import base64
import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from utils.core.files import write_whole
from utils.report.overlays import activation_colours, activation_scale, attention_colours, blended
from utils.report.words import STYLES, Answer, readable, sentence
from utils.scoring.details import Details, Kept
from utils.scoring.verdict import Limits

MOST = 400  # files; a picture of more could hardly be opened
DOWN = 20  # tiles below each other, before there is a second column, and so on up to four
EDGE, SIDE, GAP = 16, 104, 6  # pixels: a tile's margin, a face, between faces
TOP, BOTTOM = 88, 26  # pixels of a tile above and below its faces
LETTER = 6.0  # pixels, the width of most letters of the answer
INK, MINOR, GROUND, LINE = (28, 29, 32), (92, 95, 102), (255, 255, 255), (217, 218, 214)
COLOURS = {"fake": (179, 18, 62), "open": (122, 91, 0), "real": (11, 92, 173)}
LEGEND = "A network's opinion, not proof. Red and blue: spoke for fake and for real; turquoise: attention."


def write_sheet(
    path: Path, files: Sequence[Answer], limits: Limits | None, details: Details, networks: int
) -> int:
    """Write the picture of the first MOST files, each judged by so many networks; returns how many that are.

    Raises OSError where the disk fails.
    """
    shown = files[:MOST]
    columns = max(1, min(4, ceil(len(shown) / DOWN)))
    down = ceil(len(shown) / columns)
    width = max(640, 2 * (1 + networks) * (SIDE + GAP) + 2 * EDGE)
    height = TOP + SIDE + BOTTOM
    sheet = Image.new("RGB", (columns * width, down * height + 32), GROUND)
    ImageDraw.Draw(sheet).text((EDGE, 8), LEGEND, MINOR, font=ImageFont.load_default(14))
    for number, file in enumerate(shown):
        tile = Image.new("RGB", (width, height), GROUND)
        draw_answer(tile, file, limits)
        draw_faces(tile, details.of(file.name))
        sheet.paste(tile, (number // down * width, number % down * height + 32))
    data = io.BytesIO()
    sheet.save(data, "PNG")
    write_whole(path, data.getvalue())
    return len(shown)


def draw_answer(tile: Image.Image, file: Answer, limits: Limits | None) -> None:
    """A file's name, the answer in words, and a line from 0 to 1 with the limits and the probability."""
    draw, right = ImageDraw.Draw(tile), tile.width - EDGE
    draw.line((EDGE, 0, right, 0), LINE)
    # The font has the letters of western Europe alone: others stand there by their numbers.
    letters = readable(file.name).encode("latin-1", "backslashreplace").decode("latin-1")
    draw.text((EDGE, 6), cut(letters, 16, right - EDGE), INK, font=ImageFont.load_default(16))
    most = int((right - EDGE) / LETTER)
    said = textwrap.wrap(f"{file.word}: {sentence(file, limits)}", most)
    said = "\n".join([said[0], cut(" ".join(said[1:]), 13, right - EDGE)]) if len(said) > 1 else said[0]
    draw.text((EDGE, 28), said, COLOURS.get(STYLES[file.word], MINOR), font=ImageFont.load_default(13))
    if file.result.reason:
        return

    def at(probability: float) -> float:
        return EDGE + probability * (right - EDGE)

    draw.rectangle((EDGE, 72, right, 76), LINE)
    if limits is not None:
        draw.rectangle((EDGE, 72, at(limits.real_at), 76), (158, 190, 222))
        draw.rectangle((at(limits.fake_at), 72, right, 76), (222, 160, 178))
    mark = at(file.result.probability)
    draw.rectangle((mark - 2, 68, mark + 2, 80), INK)


def cut(text: str, size: int, width: float) -> str:
    """As much of a line of text, in a font of this size, as so many pixels hold."""
    font = ImageFont.load_default(size)
    if font.getlength(text) <= width:
        return text
    fits = (end for end in range(len(text), 0, -1) if font.getlength(f"{text[:end]} ...") <= width)
    return f"{text[: next(fits, 0)]} ..."


def draw_faces(tile: Image.Image, kept: Kept | None) -> None:
    """The faces with the highest and the lowest probability, and beside each what the networks looked at."""
    if kept is None or not kept.shown:
        return
    persons = {face.person for face in kept.faces}
    draw, x, scale = ImageDraw.Draw(tile), EDGE, activation_scale(kept.shown)
    font = ImageFont.load_default(13)
    for shown in [kept.shown[0], *kept.shown[1:][-1:]]:
        face = kept.faces[shown["place"]]
        whose = "" if face.person is None or len(persons) < 2 else f"person {face.person}, "
        said = f"{whose}{face.probability:.2f}, frame {face.place[0]}"
        draw.text((x, TOP + SIDE + 2), said, MINOR, font=font)
        for picture in pictures_of(shown, scale):
            tile.paste(Image.fromarray(picture), (x, TOP))
            x += SIDE + GAP


def pictures_of(shown: Mapping[str, Any], scale: float) -> Iterable[np.ndarray]:
    """The face, then what each network saw of it under its map, (SIDE, SIDE, 3) uint8 RGB."""
    data = np.frombuffer(base64.b64decode(shown["picture"]), np.uint8)
    picture = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]
    yield cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    left, top, right, bottom = shown["region"]
    for view in shown["views"]:
        x1, y1, x2, y2 = view["window"]
        height, width = picture.shape[:2]
        across, down = width / (right - left), height / (bottom - top)
        seen = picture[
            round((y1 - top) * down) : round((y2 - top) * down),
            round((x1 - left) * across) : round((x2 - left) * across),
        ]
        seen = cv2.resize(seen, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        if view["kind"] == "activation":
            yield blended(seen, activation_colours(np.array(view["map"]), scale))
        else:
            yield blended(seen, attention_colours(np.array(view["maps"]).mean(axis=0)))
