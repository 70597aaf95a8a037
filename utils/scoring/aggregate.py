"""What the networks say of a clip's faces, put together to what is said of the clip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

UNDECIDED = 0.5


@dataclass(frozen=True)
class Evidence:
    """What a score stands on: standard deviation and range of the faces' probabilities, and their size.

    eyes: median distance between the eyes in the frames, in pixels.
    """

    spread: float
    lowest: float
    highest: float
    eyes: float


@dataclass(frozen=True)
class SeenFace:
    """Where a face that was scored is seen.

    frame: its number in the clip; seconds: when that is seen, None = unknown; box: x1, y1, x2, y2 in pixels
    of the frame, maybe outside it; eyes: pixels between them.
    """

    frame: int
    seconds: float | None
    box: tuple[float, float, float, float]
    eyes: float


@dataclass
class Detail:
    """What is kept of each face of a clip where that is asked for: memory for 2 * `most` crops at a time.

    most: of so many faces with the highest probabilities, and of so many with the lowest, crops are kept.
    faces, probabilities (the ensemble's): in the order in which they were scored. crops: {place in it:
    (320, 320, 3) uint8 RGB}. looked_at: frames that were searched; missed: seconds at which those without a
    face are seen, None = unknown.
    """

    most: int = 0
    faces: list[SeenFace] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    crops: dict[int, np.ndarray] = field(default_factory=dict)
    looked_at: int = 0
    missed: list[float | None] = field(default_factory=list)

    def add(self, probability: float, crop: np.ndarray) -> None:
        """The next face's probability, and its crop, which stays only as long as it is among the extreme."""
        self.crops[len(self.probabilities)] = crop
        self.probabilities.append(probability)
        lowest, highest = self.extremes()
        self.crops = {place: self.crops[place] for place in sorted({*lowest, *highest})}

    def extremes(self) -> tuple[list[int], list[int]]:
        """Places of the faces with a crop: at most `most` of the lowest, and as many of the highest, each
        list beginning with the most extreme; a face is in one of them only."""
        order = sorted(self.crops, key=self.probabilities.__getitem__)
        count = min(self.most, (len(order) + 1) // 2)
        highest = order[::-1][:count]
        return order[: min(self.most, len(order) - count)], highest


@dataclass(frozen=True)
class Result:
    """What came of one video or image.

    probability: in [0, 1], of being fake; 0.5 where `reason` (why it could not be judged) is not empty.
    faces: how many were scored. warning: it was judged, but not whole (truncated). first, last: seconds at
    which the first and the last of them are seen; duration: seconds of the clip; None = unknown. people: how
    many were seen at once, of whom the one with the largest face was judged; 0 = nobody.
    by_network: (faces, networks) float64, each network's probability of each face; None where only the
    result is known, as from a record. evidence: None where nothing was judged, or it isn't known. detail:
    None unless it is asked for.
    """

    path: Path
    probability: float
    faces: int
    reason: str = ""
    warning: str = ""
    first: float | None = None
    last: float | None = None
    duration: float | None = None
    people: int = 0
    by_network: np.ndarray | None = field(default=None, compare=False, repr=False)
    evidence: Evidence | None = field(default=None, compare=False)
    detail: Detail | None = field(default=None, compare=False, repr=False)

    @property
    def judged(self) -> str:
        """What was judged, in words: "25 faces from 0:00 to 0:08 of 1:00"."""
        text = f"{self.faces} face{'s' * (self.faces != 1)}"
        if self.first is None or self.last is None or self.duration is None:
            return text
        whole = "" if self.duration - self.last < 1 else f" of {clock(self.duration)}"
        return f"{text} from {clock(self.first)} to {clock(self.last)}{whole}"

    @property
    def remark(self) -> str:
        """What must be said of a clip that was judged, or ""."""
        return f"{self.people} people seen, the one with the largest face judged" if self.people > 1 else ""


def clock(seconds: float) -> str:
    """0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def people_in(counts: Sequence[int]) -> int:
    """How many people a clip shows, from how many faces some of its frames show.

    So many must be seen in two frames, and in a fifth of them: one may be a false alarm, or a passer-by.
    """
    needed = max(min(2, len(counts)), len(counts) / 5)
    return max((most for most in set(counts) if sum(count >= most for count in counts) >= needed), default=0)


@dataclass(eq=False)
class FaceScores:
    """The scores of one clip's faces, as they come in.

    reason: why it could not be judged; warning: what is missing of it; complete: no more faces are to come,
    and all that came have been scored.
    """

    path: Path
    reason: str = ""
    warning: str = ""
    duration: float | None = None
    expected: int | None = None  # faces, once that is known
    seconds: list[float] = field(default_factory=list)  # at which they are seen, where that is known
    people: list[int] = field(default_factory=list)  # in frames that were searched as a whole
    probabilities: list[float] = field(default_factory=list)
    by_network: list[np.ndarray] = field(default_factory=list)
    eyes: list[float] = field(default_factory=list)  # of each face found, pixels between them
    detail: Detail | None = None

    @property
    def complete(self) -> bool:
        return len(self.probabilities) == self.expected

    def note(self, seconds: float | None, people: int | None) -> None:
        """When a face is seen, and with how many others; None = unknown."""
        if seconds is not None:
            self.seconds.append(seconds)
        if people is not None:
            self.people.append(people)

    def add(self, probability: float, by_network: Sequence[float], crop: np.ndarray) -> None:
        """One face's weighted mean, what each network says (networks,), and the face (320, 320, 3)."""
        self.probabilities.append(float(probability))
        self.by_network.append(np.asarray(by_network, np.float64))
        if self.detail is not None:
            self.detail.add(float(probability), crop)

    def result(self, not_finite: str) -> Result:
        """The mean over the faces; undecided without a face, and, for the reason `not_finite`, with NaN."""
        count = len(self.probabilities)
        if not count:
            return Result(self.path, UNDECIDED, 0, self.reason, self.warning, detail=self.detail)
        mean = float(np.mean(self.probabilities))
        reason = "" if np.isfinite(mean) else not_finite
        return Result(
            self.path, UNDECIDED if reason else mean, count, reason, self.warning,
            min(self.seconds, default=None), max(self.seconds, default=None), self.duration,
            people_in(self.people) or 1, np.stack(self.by_network), None if reason else self.evidence(),
            self.detail,
        )  # fmt: skip

    def evidence(self) -> Evidence:
        """Of the faces scored; eyes NaN where their distance isn't known."""
        eyes = float(np.median(self.eyes)) if self.eyes else float("nan")
        probabilities = np.array(self.probabilities)
        return Evidence(
            float(probabilities.std()), *map(float, (probabilities.min(), probabilities.max())), eyes
        )
