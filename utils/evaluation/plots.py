"""The field's plots as inline SVG: ROC, precision and recall, reliability, histograms.

Drawn here and not by matplotlib: they are lines and bars, an SVG of ours is a tenth of its size, takes its
colours from the page (light and dark), keeps its words as words, and no package more is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from sklearn.metrics import precision_recall_curve, roc_curve

from utils.core.names import shown
from utils.evaluation.scores import Judged, reliability

SIDE, LEFT, BOTTOM, TOP = 300, 58, 40, 12  # pixels of the square, and around it for words
MOST_POINTS = 400  # of a curve
COLOURS = 8  # that the page's style has, s0 to s7
BARS = 20  # of a histogram
Point = tuple[float, float]


def _text(words: str) -> str:
    """Words for an SVG: on one line, and nothing but words."""
    return escape(shown(words))


def roc_plot(judged: Sequence[Judged]) -> str:
    """Share of fakes found over share of reals called fake; a dot at the threshold 0.5."""
    marks = [_line([(0, 0), (1, 1)], "chance")]
    for number, one in enumerate(judged):
        if _has_both(one):
            alarms, found, _ = roc_curve(one.labels, one.scores)
            marks.append(_line(_thinned(alarms, found), _colour(number), one.name))
            reals, fakes = (one.scores[one.labels == label] > 0.5 for label in (0, 1))
            said = f"{one.name} at 0.5: {reals.mean():.1%} of reals called fake, {fakes.mean():.1%} found"
            marks.append(_dot((reals.mean(), fakes.mean()), _colour(number), said))
    return _plot("ROC", "reals called fake", "fakes found", marks, _undefined(judged))


def precision_plot(judged: Sequence[Judged]) -> str:
    """Share of fakes among those called fake, over the share of fakes found."""
    marks = []
    for number, one in enumerate(judged):
        if _has_both(one):
            precision, recall, _ = precision_recall_curve(one.labels, one.scores)
            marks.append(_line(_thinned(recall, precision), _colour(number), one.name))
    return _plot("Precision and recall", "fakes found", "fakes among called", marks, _undefined(judged))


def reliability_plot(judged: Sequence[Judged]) -> str:
    """Share of fakes among scores that are alike, over their mean; larger dots stand for more files."""
    marks = [_line([(0, 0), (1, 1)], "chance")]
    for number, one in enumerate(judged):
        bins = reliability(one.labels, one.scores)
        marks.append(_line([(part.mean, part.fakes) for part in bins], _colour(number), one.name))
        for part in bins:
            said = f"{one.name}, {part.low:.1f} to {part.high:.1f}: {part.count} files, {part.fakes:.1%} fake"
            radius = 2 + 5 * (part.count / len(one.labels)) ** 0.5
            marks.append(_dot((part.mean, part.fakes), _colour(number), said, radius))
    return _plot("Reliability", "mean score", "share of fakes", marks)


def histogram(one: Judged) -> str:
    """How the scores of reals and of fakes lie: shares of each class by bar, side by side."""
    edges = np.linspace(0, 1, BARS + 1)
    shares = {}
    for label, name in ((0, "real"), (1, "fake")):
        scores = one.scores[one.labels == label]
        if len(scores):
            shares[name] = np.histogram(scores, edges)[0] / len(scores), len(scores)
    most = max(float(bars.max()) for bars, _ in shares.values())
    marks = []
    for name, (bars, count) in shares.items():
        for k, bar in enumerate(bars.tolist()):
            if bar:
                x = edges[k] + (name == "fake") / (2 * BARS)
                said = f"{edges[k]:.2f} to {edges[k + 1]:.2f}: {round(bar * count)} of {count} {name}"
                marks.append(_bar(float(x), 1 / (2 * BARS), bar / most, name, said))
    return _plot(f"Scores: {one.name}", "score", "share of the class", marks, top=most)


def _has_both(one: Judged) -> bool:
    return len(np.unique(one.labels)) == 2


def _undefined(judged: Sequence[Judged]) -> str:
    """What to say in a plot that needs both classes, and has none."""
    return "" if any(map(_has_both, judged)) else "undefined: one class only"


def _colour(number: int) -> str:
    """The style's class of a curve; after COLOURS of them they come again, dashed."""
    return f"s{number % COLOURS}" + " dashed" * (number >= COLOURS)


def _thinned(across: np.ndarray, up: np.ndarray) -> list[Point]:
    """At most MOST_POINTS points of a curve, its ends among them."""
    places = np.unique(np.linspace(0, len(across) - 1, min(len(across), MOST_POINTS)).round().astype(int))
    return list(zip(across[places].tolist(), up[places].tolist(), strict=True))


def _x(value: float) -> str:
    return f"{LEFT + SIDE * value:.1f}"


def _y(value: float) -> str:
    return f"{TOP + SIDE * (1 - value):.1f}"


def _line(points: Sequence[Point], style: str, title: str = "") -> str:
    path = " ".join(f"{_x(x)},{_y(y)}" for x, y in points)
    return f'<polyline class="line {style}" points="{path}"><title>{_text(title)}</title></polyline>'


def _dot(point: Point, style: str, title: str, radius: float = 4) -> str:
    where = f'cx="{_x(point[0])}" cy="{_y(point[1])}" r="{radius:.1f}"'
    return f'<circle class="dot {style}" {where}><title>{_text(title)}</title></circle>'


def _bar(x: float, width: float, height: float, style: str, title: str) -> str:
    where = f'x="{_x(x)}" y="{_y(height)}" width="{SIDE * width:.1f}" height="{SIDE * height:.1f}"'
    return f'<rect class="{style}" {where}><title>{_text(title)}</title></rect>'


def _plot(name: str, across: str, up: str, marks: Sequence[str], words: str = "", top: float = 1.0) -> str:
    """A square from 0 to 1, and to `top` upwards, with its marks; words: in its middle."""
    parts = []
    for k in range(6):
        at = k / 5
        parts.append(f'<line class="grid" x1="{_x(at)}" x2="{_x(at)}" y1="{_y(0)}" y2="{_y(1)}"/>')
        parts.append(f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{_y(at)}" y2="{_y(at)}"/>')
        parts.append(f'<text x="{_x(at)}" y="{TOP + SIDE + 16}" text-anchor="middle">{at:g}</text>')
        parts.append(f'<text x="{LEFT - 6}" y="{float(_y(at)) + 4}" text-anchor="end">{at * top:.2g}</text>')
    middle, low = LEFT + SIDE / 2, TOP + SIDE + 34
    parts.append(f'<text x="{middle}" y="{low}" text-anchor="middle">{_text(across)}</text>')
    side = f'transform="translate(12 {TOP + SIDE / 2}) rotate(-90)" text-anchor="middle"'
    parts.append(f"<text {side}>{_text(up)}</text>")
    if words:
        parts.append(f'<text x="{middle}" y="{TOP + SIDE / 2}" text-anchor="middle">{_text(words)}</text>')
    box = f'viewBox="0 0 {LEFT + SIDE + 12} {TOP + SIDE + BOTTOM}"'
    svg = f'<svg {box} role="img" aria-label="{_text(name)}">{"".join([*parts, *marks])}</svg>'
    return f"<figure><figcaption>{_text(name)}</figcaption>{svg}</figure>"
