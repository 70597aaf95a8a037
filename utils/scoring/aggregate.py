"""What the networks say of a clip's faces, put together to what is said of the clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

UNDECIDED = 0.5


@dataclass(frozen=True)
class Result:
    """What came of one video or image.

    probability: in [0, 1], of being fake; 0.5 where `reason` (why it could not be judged) is not empty.
    faces: how many were scored. warning: it was judged, but not whole (truncated).
    by_network: (faces, networks) float64, each network's probability of each face; None where only the
    result is known, as from a record.
    """

    path: Path
    probability: float
    faces: int
    reason: str = ""
    warning: str = ""
    by_network: np.ndarray | None = field(default=None, compare=False, repr=False)


@dataclass(eq=False)
class FaceScores:
    """The scores of one clip's faces, as they come in.

    reason: why it could not be judged; warning: what is missing of it; complete: no more faces are to come,
    and all that came have been scored.
    """

    path: Path
    reason: str = ""
    warning: str = ""
    expected: int | None = None  # faces, once that is known
    probabilities: list[float] = field(default_factory=list)
    by_network: list[np.ndarray] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return len(self.probabilities) == self.expected

    def add(self, probability: float, by_network: Sequence[float]) -> None:
        """One face's weighted mean, and what each network says (networks,)."""
        self.probabilities.append(float(probability))
        self.by_network.append(np.asarray(by_network, np.float64))

    def result(self, not_finite: str) -> Result:
        """The mean over the faces; undecided without a face, and, for the reason `not_finite`, with NaN."""
        count = len(self.probabilities)
        if not count:
            return Result(self.path, UNDECIDED, 0, self.reason, self.warning)
        by_network = np.stack(self.by_network)
        mean = float(np.mean(self.probabilities))
        if not np.isfinite(mean):
            return Result(self.path, UNDECIDED, count, not_finite, self.warning, by_network)
        return Result(self.path, mean, count, "", self.warning, by_network)
