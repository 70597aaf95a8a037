"""How an ensemble's answers on labelled faces hold under corruptions: figures, and their Markdown table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from utils.corruptions import CORRUPTIONS
from utils.ensemble import NOT_FINITE, Ensemble
from utils.errors import WeightsError
from utils.labelled import LabelledFaces
from utils.metrics import frame_metrics
from utils.progress import Progress

FIGURES = ("auc", "log_loss", "balanced_log_loss", "accuracy")
HEADINGS = ("AUC", "log loss", "balanced", "accuracy")


def probabilities(
    ensemble: Ensemble, faces: LabelledFaces, batch_size: int, kinds: Sequence[str], seed: int
) -> dict[str, np.ndarray]:
    """p(fake) (N,) of all faces: by "plain", and by the name of each kind at each of its three strengths.

    A face's damage depends on seed, kind and the face's place alone. DataError for an unreadable crop,
    WeightsError where a probability isn't finite.
    """
    variants = [("plain", None, 0)]
    variants += [(CORRUPTIONS[kind].name(level), kind, level) for kind in kinds for level in range(3)]
    answers = {name: np.empty(len(faces)) for name, _, _ in variants}
    with Progress("measuring", -(-len(faces) // batch_size)) as progress:
        for batch, places in faces.batches(batch_size):
            for name, kind, level in variants:
                answers[name][places] = ensemble.predict(
                    batch if kind is None else corrupted(batch, places, kind, level, seed)
                )
                if not np.isfinite(answers[name][places]).all():
                    raise WeightsError(f"{name} faces: {NOT_FINITE}")
            progress.update(images=len(batch) * len(variants))
    return answers


def corrupted(batch: np.ndarray, places: Sequence[int], kind: str, level: int, seed: int) -> np.ndarray:
    """Faces (B, 320, 320, 3) damaged, each by its own draw."""
    number = list(CORRUPTIONS).index(kind)
    pairs = zip(batch, places, strict=True)
    return np.stack([CORRUPTIONS[kind](face, level, (seed, number, place)) for face, place in pairs])


def figures(labels: np.ndarray, answers: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Metrics of each variant, and how many of the real faces it calls fake (`false_alarms`)."""
    rows = {}
    for name, probability in answers.items():
        row = frame_metrics(labels, probability)
        reals = probability[labels == 0]
        row["false_alarms"] = float((reals > 0.5).mean()) if len(reals) else float("nan")
        rows[name] = row
    return rows


def markdown(rows: dict[str, dict[str, float]]) -> str:
    """A row a variant."""
    lines = [f"| corruption | {' | '.join(HEADINGS)} | reals called fake |", "|---" * 6 + "|"]
    for name, row in rows.items():
        cells = [f"{row[figure]:.4f}" for figure in FIGURES]
        lines.append(f"| {name} | {' | '.join(cells)} | {row['false_alarms']:.1%} |")
    return "\n".join(lines)
