"""Scoring as a work that this process, a worker or a cluster does: a file in, its result out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from utils.core.device import one_of_several
from utils.scoring import scorer
from utils.scoring.aggregate import UNDECIDED, Detail, Result
from utils.scoring.budget import Budget
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import Ensemble, build_ensemble

Show = Callable[[Detail, Ensemble, Sequence[str]], list[dict[str, Any]]]


@dataclass(frozen=True)
class Scored:
    """A file's result, in which no crops are left, the seconds that it took, and pictures of its faces."""

    result: Result
    took: float = 0.0
    shown: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True)
class About:
    """What judges: the weights, and a remark on those that don't say how they are fed; on what machine."""

    lines: tuple[str, ...]
    machine: str


class Scoring:
    """keep: of each result, a `Detail` with the crops of so many faces either way; None = none of it.
    show: what makes pictures of them, a function of a module; None = no pictures. budget: of time, which one
    process keeps."""

    def __init__(
        self,
        config: SubmissionConfig,
        device: str = "auto",
        keep: int | None = None,
        show: Show | None = None,
        budget: Budget | None = None,
    ):
        self.config, self.device, self.keep, self.show, self.budget = config, device, keep, show, budget

    def open(self, number: int = 0, threads: int | None = None) -> None:
        """Load the networks. Raises ConfigError, WeightsError."""
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        self.detector, self.ensemble = scorer.build(self.config, one_of_several(self.device, number))
        self.shown_by = self.ensemble
        if self.show is not None and self.config.runtime == "onnxruntime":
            # ONNX Runtime's networks give answers alone, no maps.
            self.shown_by = build_ensemble(replace(self.config, runtime="torch"), self.ensemble.device)

    @property
    def about(self) -> About:
        members = self.ensemble.members
        lines = ["weights: " + ", ".join(f"{member.file} of {member.date}" for member in members)]
        lines += [
            f"{member.file} doesn't say how its network sees a face: fed as the published weights are"
            for member in members
            if not member.states_preprocess and not member.is_published
        ]
        by = f"classifiers in {self.ensemble.precision} by {self.config.runtime}"
        machine = f"on {self.ensemble.device}, {by}, detector in {self.detector.precision}"
        return About(tuple(lines), machine)

    def session(self, files: Sequence[Path], heard) -> Iterator[tuple[Path, Scored]]:
        done, last = 0, time.monotonic()

        def progress(through: float) -> None:
            heard.part(through - done, 0)

        results = scorer.score_media(
            files, self.detector, self.ensemble, self.config, progress, self.keep, self.budget,
            heard.begun,
        )  # fmt: skip
        for result in results:
            done += 1
            shown = self._shown(result)
            now = time.monotonic()
            kept = None if result.detail is None else replace(result.detail, crops={})
            yield result.path, Scored(replace(result, detail=kept), now - last, shown)
            last = now

    def _shown(self, result: Result) -> list[dict[str, Any]]:
        if self.show is None or result.detail is None or result.reason:
            return []
        networks = [network for network, _, _ in self.config.ensemble]
        return self.show(result.detail, self.shown_by, networks)

    def lost(self, path: Path, reason: str) -> Scored:
        detail = None if self.keep is None else Detail()
        return Scored(Result(path, UNDECIDED, 0, reason, detail=detail))
