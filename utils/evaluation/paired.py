"""Two sets of scores of the same files: by how much one is better, and how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from utils.core.metrics import CLIP
from utils.evaluation.bootstrap import DRAWS, auc_of_draws, interval, mean_of_draws, weights_drawn
from utils.evaluation.report_tables import Table
from utils.evaluation.scores import TINY, checked

BETTER_ABOVE = {"AUC": True, "log loss, clipped": False, "the same, both classes alike": False,
                "accuracy at 0.5": True}  # fmt: skip

@dataclass(frozen=True)
class Difference:
    """A figure of the second scores less that of the first, and the bootstrap's interval; NaN = undefined."""

    figure: str
    value: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """better, worse, or not told apart where the interval holds 0."""
        if not (self.low > 0 or self.high < 0):
            return "undefined" if self.value != self.value else "not told apart"
        return "better" if (self.low > 0) == BETTER_ABOVE[self.figure] else "worse"


def differences(
    labels: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    owners: Sequence | None = None,
    clip: tuple[float, float] = CLIP,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Difference]:
    """Of N files, each draw of the bootstrap taking the same files for both: labels, first, second (N,).

    owners: whose each is, drawn together; None = each its own. ValueError for what is no score.
    """
    labels, first = checked(labels, first)
    second = checked(labels, second)[1]
    values = _gaps(labels, first, second, clip, np.ones((1, len(labels))))
    parts = [_gaps(labels, first, second, clip, part)
             for part in weights_drawn(owners, len(labels), draws, seed)]  # fmt: skip
    return [
        Difference(name, float(value[0]), *interval(np.concatenate([part[name] for part in parts])))
        for name, value in values.items()
    ]


def _gaps(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray, clip: tuple[float, float], weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Each figure of the second less that of the first, in each draw (D, N): arrays (D,)."""
    figures = []
    for scores in (first, second):
        clipped = scores.clip(*clip).clip(TINY, 1 - TINY)
        loss = -np.log(np.where(labels == 1, clipped, 1 - clipped))
        by_class = [mean_of_draws(loss[labels == label], weights[:, labels == label]) for label in (0, 1)]
        right = ((scores > 0.5) == labels).astype(float)
        values = (
            auc_of_draws(labels, scores, weights), mean_of_draws(loss, weights), sum(by_class) / 2,
            mean_of_draws(right, weights),
        )  # fmt: skip
        figures.append(dict(zip(BETTER_ABOVE, values, strict=True)))
    return {name: figures[1][name] - figures[0][name] for name in BETTER_ABOVE}


def difference_table(name: str, base: str, count: int, found: Sequence[Difference]) -> Table:
    """name less base, over so many files."""
    rows = [
        [part.figure, *("undefined" if value != value else f"{value:+.4f}"
                        for value in (part.value, part.low, part.high)), part.verdict]
        for part in found
    ]  # fmt: skip
    title = f"{name} less {base}, of the {count} files that both judge"
    return Table(["figure", "difference", "95% interval from", "to", "so it is"], rows, title)
