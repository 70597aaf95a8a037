"""How far a training run is."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from utils.core import distributed


@dataclass
class EpochSums:
    """What one process has seen of the current epoch: steps, samples, and sums over these by name."""

    step: int = 0
    n: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    broken: int = 0

    def add(self, figures: dict[str, float], n: int) -> None:
        """A step of n samples with these means."""
        self.step, self.n = self.step + 1, self.n + n
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * n

    def means(self) -> dict[str, float]:
        """Means over the samples that all processes have seen in this epoch; to be called in all of them."""
        parts = distributed.gather(self)
        n = max(sum(part.n for part in parts), 1)
        names = dict.fromkeys(name for part in parts for name in part.sums)  # in order
        means = {f"train_{name}": sum(part.sums.get(name, 0.0) for part in parts) / n for name in names}
        return means | {
            "seconds": self.seconds,
            "images_per_second": n / max(self.seconds, 1e-9),
            "broken_crops": sum(part.broken for part in parts),
        }


@dataclass
class Position:
    """Epochs done, what the current one has seen, the best validation log loss, and the last metrics.

    passing: epochs whose checkpoints lie in the run's folder for a while. samples, judged_on: digests of what
    the current epoch trains on, and of what is validated on; "" = not known.
    """

    epoch: int = 0
    seen: EpochSums = field(default_factory=EpochSums)
    best: float = math.inf
    metrics: dict[str, float] = field(default_factory=dict)
    passing: list[int] = field(default_factory=list)
    samples: str = ""
    judged_on: str = ""

    def train_on(self, samples: str) -> bool:
        """Note the samples of the current epoch; False where it began with others."""
        before, self.samples = self.samples, samples
        return not self.seen.step or before in ("", samples)

    def judge_on(self, faces: str) -> bool:
        """Note what is validated on; False where the best so far was of others: it is forgotten."""
        before, self.judged_on = self.judged_on, faces
        if before in ("", faces):
            return True
        self.best = math.inf
        return False

    def state(self) -> dict[str, Any]:
        """For a checkpoint, of all processes; to be called in all of them."""
        return {
            "epoch": self.epoch,
            "tallies": distributed.gather(asdict(self.seen)),
            "best": self.best,
            "metrics": self.metrics,
            "passing": self.passing,
            "samples": self.samples,
            "judged_on": self.judged_on,
        }

    @classmethod
    def of_checkpoint(cls, checkpoint: dict[str, Any]) -> Position:
        """This process's position in a checkpoint of ours; LookupError, TypeError or the like if damaged."""
        return cls(
            int(checkpoint["epoch"]),
            own_part(checkpoint["tallies"]),
            float(checkpoint["best"]),
            dict(checkpoint["metrics"]),
            [int(epoch) for epoch in checkpoint.get("passing", ())],
            str(checkpoint.get("samples", "")),
            str(checkpoint.get("judged_on", "")),
        )


def own_part(tallies: list[dict[str, Any]]) -> EpochSums:
    """This process's part of what an epoch has seen; of another number of processes, the first takes all."""
    parts = [EpochSums(**part) for part in tallies]
    if len(parts) == distributed.world_size():
        return parts[distributed.rank()]
    whole = EpochSums(step=parts[0].step, seconds=parts[0].seconds)
    if distributed.is_main():
        for part in parts:
            whole.n, whole.broken = whole.n + part.n, whole.broken + part.broken
            for name, value in part.sums.items():
                whole.sums[name] = whole.sums.get(name, 0.0) + value
    return whole
