"""`report.html`: what a scoring run found, in one file that asks for nothing from anywhere.

Its text is escaped by Jinja2, its only script is named by its hash in the page's content security policy, and
its pictures lie in it: nothing in a file's name can do more than be read.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from utils.core.files import write_whole
from utils.report.overlays import activation_colours, activation_scale, attention_colours, placed, png_link
from utils.report.words import STYLES, Answer, duration, rates, readable, sentence
from utils.scoring.aggregate import Result, clock
from utils.scoring.details import Details, FaceRow, Kept, network_columns
from utils.scoring.verdict import Limits, verdicts_on_persons

TEMPLATES = Path(__file__).with_name("templates")
CHART_HEIGHT = 140  # pixels
MANY = 120  # files, beyond which a network's attention maps are not shown one by one


@dataclass(frozen=True)
class About:
    """What a run was: when, with what and how long.

    weights: {"file", "network", "share", "date", "sha256"} of each network, and of the detector;
    settings: (key, value) as text; seconds: of work on all files. networks: kinds, in the ensemble's order.
    calibration: the file of clips' calibration, "" = none. faces: of which people, as in the config.
    """

    made: str
    plan: str
    machine: str
    seconds: float
    networks: Sequence[str]
    weights: Sequence[Mapping[str, str]]
    settings: Sequence[tuple[str, str]]
    calibration: str = ""
    faces: str = "largest"


def write_page(
    path: Path, files: Sequence[Answer], limits: Limits | None, details: Details, about: About
) -> None:
    """Write the page of these files, in their order. Raises OSError where the disk fails."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # here: it takes time to import

    templates = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    script = (TEMPLATES / "report.js").read_text(encoding="utf-8")
    columns = network_columns(about.networks)
    videos = [
        {"number": number} | video_of(file, limits, details.of(file.name), columns)
        for number, file in enumerate(files, 1)
    ]
    words = Counter(video["word"] for video in videos)
    page = templates.get_template("report.html").render(
        videos=videos, words=[(word, style, words[word]) for word, style in STYLES.items() if words[word]],
        limits=limits, about=about, columns=columns, script=script, script_hash=content_hash(script),
        clock=clock, duration=duration, height=CHART_HEIGHT, many=MANY,
    )  # fmt: skip
    write_whole(path, page)


def content_hash(text: str) -> str:
    """As a content security policy names a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def video_of(
    file: Answer, limits: Limits | None, kept: Kept | None, columns: Sequence[str]
) -> dict[str, Any]:
    """One video or image as the page shows it."""
    result = file.result
    return {
        "name": readable(file.name), "word": file.word, "style": STYLES[file.word],
        "probability": None if result.reason else result.probability,
        "spread": result.evidence.spread if result.evidence else 0.0,
        "said": sentence(file, limits), "rates": rates(result, limits),
        "persons": persons_of(result, limits) if len(result.persons) > 1 else [],
        "judged": result.judged, "remark": result.remark, "warning": result.warning, "kept": kept is not None,
        "took": kept.took if kept else None,
        "looked_at": kept.looked_at if kept else 0, "missed": len(kept.missed) if kept else 0,
        "chart": chart_of(kept, result.duration) if kept else None,
        "faces": faces_of(kept, columns) if kept else [],
    }  # fmt: skip


def chart_of(kept: Kept, length: float | None) -> dict[str, Any] | None:
    """The scores over time: places across in percent, down in pixels; None for fewer than two faces."""
    if len(kept.faces) < 2:
        return None
    faces = sorted(enumerate(kept.faces), key=lambda item: item[1].seconds or 0)
    is_timed = length is not None and all(face.seconds is not None for _, face in faces)
    end = length if is_timed else len(faces) - 1
    at = [face.seconds if is_timed else number for number, (_, face) in enumerate(faces)]
    across = [round(100 * min(place / end, 1), 2) if end else 50.0 for place in at]
    shown = {shown["place"] for shown in kept.shown}
    missed = [at for at in kept.missed if is_timed and end and at is not None]
    return {
        "points": [
            (x, down(face.probability), face, place in shown)
            for x, (place, face) in zip(across, faces, strict=True)
        ],
        "lines": lines_of([face for _, face in faces], across),
        "missed": [round(100 * min(at / end, 1), 2) for at in missed],
        "ends": (clock(0), clock(end)) if is_timed else ("first face", "last face"),
    }  # fmt: skip


def persons_of(result: Result, limits: Limits | None) -> list[dict[str, Any]]:
    """What is said of each person of a file alone."""
    rows = []
    for person, verdict in zip(result.persons, verdicts_on_persons(result, limits), strict=True):
        alone = Answer("", result.of(person), verdict)
        rows.append({
            "number": person.number, "word": alone.word, "style": STYLES[alone.word],
            "probability": person.probability, "judged": alone.result.judged,
            "said": sentence(alone, limits), "counts": person.probability == result.probability,
        })  # fmt: skip
    return rows


def lines_of(faces: Sequence[FaceRow], across: Sequence[float]) -> list[tuple[int, str]]:
    """A line a network and person: the network's place, and points x, y in percent. across: of each face."""
    lines = []
    for network in range(len(faces[0].by_network)):
        for person in dict.fromkeys(face.person for face in faces):
            points = [
                f"{x},{round(100 * (1 - face.by_network[network]), 1)}"
                for x, face in zip(across, faces, strict=True)
                if face.person == person
            ]
            lines.append((network, " ".join(points)))
    return lines


def down(probability: float) -> float:
    """Pixels from the chart's upper edge."""
    return round(CHART_HEIGHT * (1 - probability), 1)


def faces_of(kept: Kept, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The faces that are shown, with what each network looked at; the scale of activations is the video's."""
    scale, half = activation_scale(kept.shown), (len(kept.shown) + 1) // 2
    is_shared = len({face.person for face in kept.faces}) > 1
    return [
        {
            "caption": caption(kept.faces[shown["place"]], number < half, is_shared),
            "each": list(zip(columns, kept.faces[shown["place"]].by_network, strict=True)),
            "picture": f"data:image/jpeg;base64,{shown['picture']}",
            "region": box_of(shown["region"]),
            "views": [
                shown_view(view, column, scale)
                for view, column in zip(shown["views"], columns, strict=True)
            ],
        }
        for number, shown in enumerate(kept.shown)
    ]  # fmt: skip


def caption(face: FaceRow, is_high: bool, is_shared: bool) -> str:
    frame, seconds = face.place[:2]
    when = "" if seconds is None else f" at {clock(seconds)}"
    whose = f"person {face.person}, " if is_shared else ""
    extreme = "highest" if is_high else "lowest"
    return f"{whose}{face.probability:.2f}{when}, frame {frame:.0f}: one of the {extreme}"


def shown_view(view: Mapping[str, Any], column: str, scale: float) -> dict[str, Any]:
    """One network's maps as pictures to lay over the face."""
    seen = {"kind": view["kind"], "network": column, "window": box_of(view["window"])}
    if view["kind"] == "activation":
        values = np.array(view["map"])
        return seen | {"map": layer(activation_colours(values, scale), view["window"])}
    maps = np.array(view["maps"])
    return seen | {
        "mean": layer(attention_colours(maps.mean(axis=0)), view["window"]),
        "maps": [layer(attention_colours(one), view["window"]) for one in maps],
        "peak": view["peak"] + 1, "crop": box_of(view["crop"]),
        "drop": " ".join(f"M{' '.join(f'{x},{y}' for x, y in line)}Z" for line in view["drop"]),
    }  # fmt: skip


def layer(colours: np.ndarray, window: Sequence[float]) -> dict[str, Any]:
    x, y, width, height = (round(value, 2) for value in placed(window, *colours.shape[:2]))
    return {"link": png_link(colours), "x": x, "y": y, "width": width, "height": height}


def box_of(corners: Sequence[float]) -> str:
    """x1, y1, x2, y2 -> an SVG view box."""
    x1, y1, x2, y2 = corners
    return f"{x1:g} {y1:g} {x2 - x1:g} {y2 - y1:g}"
