"""What the report says of a file, in words."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from utils.scoring.aggregate import Result
from utils.scoring.verdict import FAKE, OPEN, REAL, WIDE, Limits, Verdict, doubts_of, rate

NOT_JUDGED, NO_WORD = "not judged", "no verdict"
# Each word's class in the style, in the order in which they are counted.
STYLES = {FAKE: "fake", OPEN: "open", REAL: "real", NO_WORD: "none", NOT_JUDGED: "lost"}
BIDIRECTIONAL = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@dataclass(frozen=True)
class Answer:
    """A file, by its name in the table of scores: what came of it, and what is said of it."""

    name: str
    result: Result
    verdict: Verdict

    @property
    def word(self) -> str:
        """One of STYLES."""
        return self.verdict.word or (NOT_JUDGED if self.result.reason else NO_WORD)


def readable(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8, control characters, and those that turn the direction
    of writing, stand there as what they are, such as \\x1b."""
    name = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(char.encode("unicode-escape").decode() if is_hidden(char) else char for char in name)


def is_hidden(char: str) -> bool:
    """Whether a character isn't seen itself, but changes how others are."""
    return char in BIDIRECTIONAL or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")


def sentence(file: Answer, limits: Limits | None) -> str:
    """The answer behind its word: the probability, how far the faces agree, and what stands behind it."""
    result = file.result
    if result.reason:
        return result.reason
    parts, evidence = [f"{result.probability:.2f}"], result.evidence
    if evidence is not None and result.faces > 1 and evidence.spread <= WIDE:
        parts.append(f"{result.faces} faces, {evidence.lowest:.2f} to {evidence.highest:.2f}")
    parts.append(file.verdict.why)
    if limits is not None and doubts_of(result):
        parts.append(rate(limits.reals, limits.reals.share_above(result.probability), "high"))
    return "; ".join(filter(None, parts))


def rates(result: Result, limits: Limits | None) -> list[str]:
    """How often reals and fakes of known origin score as this one does."""
    if limits is None or result.reason:
        return []
    return [
        rate(limits.reals, limits.reals.share_above(result.probability), "high"),
        rate(limits.fakes, limits.fakes.share_below(result.probability), "low"),
    ]


def duration(seconds: float) -> str:
    """3.2 s, 45 s, 2 min 5 s or 1 h 3 min."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
