"""A verdict in words: likely real, can't tell, likely fake. Its limits are in the weights' metadata.

They come from measured error rates: how real faces and clips score that were not trained on, and how fakes
do, by the names of their sets. They hold for the ensemble that was measured alone: these networks, shares and
means. Weights that state none, as the published ones, give no verdict. A picture that is too small, too few
faces and faces that disagree leave it open, whatever the score.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from utils.core.errors import WeightsError
from utils.faces.video import VIDEO_SUFFIXES
from utils.scoring.aggregate import Result
from utils.scoring.calibrated import ScoreCalibration, calibration_of
from utils.scoring.config import SubmissionConfig
from utils.weights.checkpoint import read_metadata, tensors_digest

VERDICT_KEY = "verdict"
REAL, OPEN, FAKE = "likely real", "can't tell", "likely fake"
LEAST_EYES = 25.0  # pixels between the eyes, in the frame; below, an enlarged face has no detail to judge by
FEW_FACES = 5  # of a video: below, one blurred frame decides
WIDE = 0.3  # standard deviation of a video's faces: some say real, others fake
ALARMS, MISSES = 0.03, 0.05  # shares of the reals above fake_at, and of the fakes below real_at


@dataclass(frozen=True)
class Measured:
    """How files of known label scored, and of which sets they are.

    sets: how many files each has, and what they are in words. scores: the probabilities of all of them, from
    the lowest to the highest; files of before have 201 quantiles instead, whose shares are near the files'.
    """

    sets: tuple[tuple[int, str], ...]
    scores: tuple[float, ...]

    @classmethod
    def of(cls, sets: Mapping[str, np.ndarray]) -> Measured:
        """Of the scores (N,) of each set, by what its files are in words."""
        scores = np.sort(np.concatenate([*sets.values()])).round(6)
        return cls(tuple((len(part), what) for what, part in sets.items()), tuple(scores.tolist()))

    @property
    def count(self) -> int:
        """How many files there are of all sets."""
        return sum(count for count, _ in self.sets)

    @property
    def name(self) -> str:
        """Such as "240 real faces of UTKFace and 11 real clips"."""
        return " and ".join(f"{count} {what}" for count, what in self.sets)

    def share_above(self, probability: float) -> float:
        """The share that scores as high as this or higher."""
        return float((np.array(self.scores) >= probability).mean())

    def share_below(self, probability: float) -> float:
        """The share that scores as low as this or lower."""
        return float((np.array(self.scores) <= probability).mean())


@dataclass(frozen=True)
class Limits:
    """At most real_at: likely real; at least fake_at: likely fake. reals, fakes: what they were set by.

    of: the ensemble that they hold for, as of `ensemble_of`; None: not stated, so that they hold for none.
    """

    real_at: float
    fake_at: float
    reals: Measured
    fakes: Measured
    of: dict | None = None

    def shares(self, measured: Measured) -> list[float]:
        """Of what was measured, the shares that are likely real, open and likely fake by the score alone."""
        real, fake = measured.share_below(self.real_at), measured.share_above(self.fake_at)
        return [real, 1 - real - fake, fake]

    def calibrated(self, calibration: ScoreCalibration) -> Limits:
        """Those that hold for calibrated scores: the same clips stay on the same sides."""

        def of(measured: Measured) -> Measured:
            return replace(measured, scores=tuple(calibration.of(measured.scores).tolist()))

        real_at, fake_at = calibration.of([self.real_at, self.fake_at]).tolist()
        return replace(self, real_at=real_at, fake_at=fake_at, reals=of(self.reals), fakes=of(self.fakes))

    def to_metadata(self) -> str:
        """As JSON, for the metadata of each weights file of the ensemble."""
        return json.dumps(asdict(self))

    @classmethod
    def from_metadata(cls, text: str) -> Limits:
        """What `to_metadata` wrote; WeightsError for another text."""
        try:
            entries = json.loads(text)
            reals, fakes = (_measured(entries[key]) for key in ("reals", "fakes"))
            at = float(entries["real_at"]), float(entries["fake_at"])
            limits = cls(*at, reals, fakes, entries.get("of"))
            if not 0 <= limits.real_at < limits.fake_at <= 1:
                raise ValueError
            return limits
        except (KeyError, TypeError, ValueError):
            raise WeightsError(
                f"the metadata entry {VERDICT_KEY!r} can't be understood: {text[:80]!r}"
            ) from None


def _measured(entries: Mapping) -> Measured:
    if "quantiles" in entries:  # a file of before
        entries = {"sets": [[entries["count"], entries["what"]]], "scores": entries["quantiles"]}
    scores = tuple(float(value) for value in entries["scores"])
    if not scores or list(scores) != sorted(scores):
        raise ValueError
    return Measured(tuple((int(count), str(what)) for count, what in entries["sets"]), scores)


def limits_for(config: SubmissionConfig) -> Limits | None:
    """The limits of a config's ensemble: those that all of its files state for it; else None.

    Says so where the files state some, but for another ensemble. With a calibration of clips they are moved
    along. WeightsError for a file or an entry of no use.
    """
    files = [read_metadata(path, "ensemble") for _, path, _ in config.ensemble]
    stated = {metadata.get(VERDICT_KEY) for metadata in files}
    if stated <= {None}:
        return None
    limits = None if len(stated) > 1 else Limits.from_metadata(stated.pop())
    shares = [(path, share) for _, path, share in config.ensemble]
    stated_as = ensemble_of(shares, config.combine, config.flip, config.attention_crop)
    if limits is None or limits.of != stated_as:
        reason = "the limits that the weights state were measured for another ensemble (files, shares, mean)"
        print(f"no verdict in words: {reason}; `evaluate.py dev --limits` measures this one", file=sys.stderr)
        return None
    calibration = calibration_of(config)
    return limits if calibration is None else limits.calibrated(calibration)


def ensemble_of(
    shares: Sequence[tuple[str | Path, float]], combine: str, flip: bool, crop: bool = False
) -> dict:
    """What an ensemble is, as plain data: networks by content, not by where they lie, and their mean.

    shares: (weights file, share) each; crop: as `attention_crop` of the config. WeightsError.
    """
    networks = sorted([tensors_digest(path), round(share, 6)] for path, share in shares)
    combine = combine if len(networks) > 1 or flip or crop else "probabilities"  # the mean of one is itself
    return {"networks": networks, "combine": combine, "flip": flip, "crop": crop}


def limits_from(reals: Mapping[str, np.ndarray], fakes: Mapping[str, np.ndarray]) -> Limits:
    """Limits by the scores (N,) of sets of real faces and clips and of fakes, as of `Measured.of`.

    ALARMS of the reals are above fake_at, MISSES of the fakes below real_at. Neither goes beyond 0.5: what
    is called likely fake scores at least that, what is called likely real at most.
    """
    real, fake = Measured.of(reals), Measured.of(fakes)
    fake_at = max(float(np.quantile(real.scores, 1 - ALARMS)), 0.5)
    real_at = min(float(np.quantile(fake.scores, MISSES)), 0.5 - 1e-3)
    return Limits(round(real_at, 4), round(fake_at, 4), real, fake)


@dataclass(frozen=True)
class Verdict:
    """A word of REAL, OPEN, FAKE, "" without limits; why: what leaves it open, or what stands behind it."""

    word: str
    why: str = ""


def verdict_on(result: Result, limits: Limits | None) -> Verdict:
    """The verdict on one video or image."""
    if result.reason:
        return Verdict(OPEN, result.reason)
    if limits is None:
        return Verdict("", "the weights state no limits for this ensemble")
    doubts = doubts_of(result)
    if doubts:
        return Verdict(OPEN, "; ".join(doubts))
    high = rate(limits.reals, limits.reals.share_above(result.probability), "high")
    if result.probability >= limits.fake_at:
        return Verdict(FAKE, high)
    if result.probability <= limits.real_at:
        return Verdict(REAL, rate(limits.fakes, limits.fakes.share_below(result.probability), "low"))
    return Verdict(OPEN, f"between the limits {limits.real_at:.2f} and {limits.fake_at:.2f}; {high}")


def verdicts_on_persons(result: Result, limits: Limits | None) -> list[Verdict]:
    """The verdict on each of a result's persons alone."""
    return [verdict_on(result.of(person), limits) for person in result.persons]


def doubts_of(result: Result) -> list[str]:
    """Why a score should not be relied on, whatever it is."""
    doubts, evidence = [], result.evidence
    if evidence is not None and evidence.eyes < LEAST_EYES:
        doubts.append(f"small face: eyes {evidence.eyes:.0f} pixels apart")
    is_video = result.duration is not None or result.path.suffix.lower() in VIDEO_SUFFIXES
    if is_video and result.faces < FEW_FACES:
        doubts.append(f"few faces: {result.faces}")
    if evidence is not None and evidence.spread > WIDE:
        disagree = f"{evidence.lowest:.2f} to {evidence.highest:.2f}"
        doubts.append(f"its {result.faces} faces disagree: {disagree}")
    return doubts


def rate(measured: Measured, share: float, side: str) -> str:
    """Such as "of 240 real faces of UTKFace and 11 real clips 1 in 9 scores as high"."""
    often = "none" if round(share * measured.count) < 1 else f"1 in {1 / share:.0f}"
    return f"of {measured.name} {often} scores as {side}"
