"""What came of one video or image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

UNDECIDED = 0.5


@dataclass(frozen=True)
class Result:
    """What came of one video or image.

    probability: in [0, 1], of being fake; 0.5 where `reason` (why it could not be judged) is not empty.
    faces: how many were scored. warning: it was judged, but not whole (truncated).
    """

    path: Path
    probability: float
    faces: int
    reason: str = ""
    warning: str = ""
