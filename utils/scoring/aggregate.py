"""What the networks say of a clip's faces, put together to what is said of the clip."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
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
    of the frame, maybe outside it; eyes: pixels between them; person: whose it is, from 1 on, None = people
    weren't told apart.
    """

    frame: int
    seconds: float | None
    box: tuple[float, float, float, float]
    eyes: float
    person: int | None = None


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
class Person:
    """One of the people of a clip, by `number` from 1 on: the mean over so many `faces`, seen from `first` to
    `last` (seconds, None = unknown), and what it stands on."""

    number: int
    probability: float
    faces: int
    first: float | None
    last: float | None
    evidence: Evidence


@dataclass(frozen=True)
class Result:
    """What came of one video or image.

    probability: in [0, 1], of being fake; 0.5 where `reason` (why it could not be judged) is not empty.
    faces: how many were scored. warning: it was judged, but not whole (truncated). first, last: seconds at
    which the first and the last of them are seen; duration: seconds of the clip; None = unknown. people: how
    many were seen at once, of whom the one with the largest face was judged; 0 = nobody. persons: those who
    were judged, where people are told apart; probability, faces, first, last and evidence are then those of
    the one who counts, with the highest probability.
    by_network: (faces, networks) float64, each network's probability of each face, of all persons; None where
    only the result is known, as from a record. evidence: None where nothing was judged, or it isn't known.
    detail: None unless it is asked for.
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
    persons: tuple[Person, ...] = ()
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
        judged = len(self.persons)
        if not judged:
            seen = f"{self.people} people seen"
            return f"{seen}, the one with the largest face judged" if self.people > 1 else ""
        parts = [f"{judged} people judged, the {'higher' if judged == 2 else 'highest'} counts"]
        if self.people > judged:
            parts = parts if judged > 1 else []
            parts.append(f"{self.people} people seen, of whom {judged} large and long enough to be judged")
        return "; ".join(parts) if max(judged, self.people) > 1 else ""

    def of(self, person: Person) -> Result:
        """What came of one of its persons alone."""
        return replace(
            self, probability=person.probability, faces=person.faces, first=person.first, last=person.last,
            evidence=person.evidence, people=1, persons=(),
        )  # fmt: skip


def clock(seconds: float) -> str:
    """0:07, 12:34 or 1:02:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def people_in(counts: Sequence[int]) -> int:
    """How many people a clip shows, from how many faces some of its frames show.

    So many must be seen in two frames, and in a fifth of them: less may be a false alarm, or a passer-by.
    """
    seen = {most: sum(count >= most for count in counts) for most in set(counts)}
    return max((most for most in seen if is_seen_enough(seen[most], len(counts))), default=0)


def is_seen_enough(frames: int, of: int) -> bool:
    """Whether who is seen in so many frames of a clip's frames with faces is one of its people."""
    return frames >= max(min(2, of), of / 5)


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
    seconds: list[float | None] = field(default_factory=list)  # at which each face is seen; None = unknown
    people: list[int] = field(default_factory=list)  # in frames that were searched as a whole
    persons: list[int | None] = field(default_factory=list)  # whose each face is, where that is told
    probabilities: list[float] = field(default_factory=list)
    by_network: list[np.ndarray] = field(default_factory=list)
    eyes: list[float] = field(default_factory=list)  # of each face found, pixels between them
    detail: Detail | None = None

    @property
    def complete(self) -> bool:
        return len(self.probabilities) == self.expected

    def note(self, seconds: float | None, eyes: float, person: int | None = None) -> None:
        """A face to come: when it is seen, None = unknown, the pixels between its eyes, and whose it is."""
        self.seconds.append(seconds)
        self.eyes.append(eyes)
        self.persons.append(person)

    def add(self, probability: float, by_network: Sequence[float], crop: np.ndarray) -> None:
        """One face's weighted mean, what each network says (networks,), and the face (320, 320, 3)."""
        self.probabilities.append(float(probability))
        self.by_network.append(np.asarray(by_network, np.float64))
        if self.detail is not None:
            self.detail.add(float(probability), crop)

    def result(self, not_finite: str) -> Result:
        """The mean over the faces, of several persons the highest; undecided without a face, and, for the
        reason `not_finite`, with NaN."""
        count = len(self.probabilities)
        if not count:
            return Result(self.path, UNDECIDED, 0, self.reason, self.warning, detail=self.detail)
        by_network, people = np.stack(self.by_network), people_in(self.people) or 1
        if not np.isfinite(self.probabilities).all():
            seconds = self._seconds(range(count))
            return Result(
                self.path, UNDECIDED, count, not_finite, self.warning, *seconds, self.duration, people,
                by_network=by_network, detail=self.detail,
            )  # fmt: skip
        persons = tuple(self._person(number) for number in sorted(set(self.persons), key=str))
        best = max(persons, key=lambda person: person.probability)
        return Result(
            self.path, best.probability, best.faces, "", self.warning, best.first, best.last, self.duration,
            people, persons if best.number else (), by_network, best.evidence, self.detail,
        )  # fmt: skip

    def _seconds(self, places: Iterable[int]) -> tuple[float | None, float | None]:
        known = [self.seconds[place] for place in places if self.seconds[place] is not None]
        return min(known, default=None), max(known, default=None)

    def _person(self, number: int | None) -> Person:
        """One person of those scored; None: the faces that are nobody's."""
        places = [place for place, whose in enumerate(self.persons) if whose == number]
        probabilities = np.array(self.probabilities)[places]
        eyes = float(np.median(np.array(self.eyes)[places]))
        evidence = Evidence(
            float(probabilities.std()), float(probabilities.min()), float(probabilities.max()), eyes
        )
        mean = float(np.mean(probabilities))
        return Person(number or 0, mean, len(places), *self._seconds(places), evidence)
