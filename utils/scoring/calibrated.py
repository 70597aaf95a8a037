"""A calibration of clips' scores, as `evaluate.py scores --fit` writes it: scale and offset of the logit.

The networks' own calibration lies in their weights; this one is for who has labelled clips of the kind that
is to be judged. It changes no order of clips, so no AUC; the verdict's limits move along.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

import numpy as np

from utils.core.errors import ConfigError
from utils.scoring.aggregate import Result
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import to_logits, to_probabilities


@dataclass(frozen=True)
class ScoreCalibration:
    """p -> sigmoid(scale * logit(p) + offset); files: how many it was fitted to, fitted_on: which."""

    scale: float
    offset: float
    files: int = 0
    fitted_on: str = ""

    @classmethod
    def read(cls, path: str) -> ScoreCalibration:
        """What `to_json` wrote. ConfigError naming the file for another."""
        try:
            with open(path, encoding="utf-8") as file:
                entries = json.load(file)
            found = cls(float(entries["scale"]), float(entries["offset"]), int(entries.get("files", 0)),
                        str(entries.get("fitted_on", "")))  # fmt: skip
            if not (0 < found.scale < np.inf and np.isfinite(found.offset)):
                raise ValueError
            return found
        except OSError as error:
            raise ConfigError(f"calibration: {path} can't be read ({error.strerror})") from None
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ConfigError(f"calibration: {path} is no file that evaluate.py scores --fit wrote") from None

    def to_json(self) -> str:
        """For the file that `calibration=` names."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def of(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities in [0, 1] as they are once calibrated."""
        return to_probabilities(self.scale * to_logits(np.asarray(probabilities, np.float64)) + self.offset)

    def result(self, result: Result) -> Result:
        """A result with its probability calibrated; one that wasn't judged stays undecided."""
        if result.reason:
            return result
        persons = tuple(
            replace(person, probability=float(self.of(np.array(person.probability))))
            for person in result.persons
        )
        return replace(result, probability=float(self.of(np.array(result.probability))), persons=persons)


def calibration_of(config: SubmissionConfig) -> ScoreCalibration | None:
    """The calibration that a config names, if any. ConfigError."""
    return None if config.calibration is None else ScoreCalibration.read(config.calibration)
