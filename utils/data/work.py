"""Extraction as a work that this process, a worker or a cluster does: a video in, its folder of crops out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2

from utils.core.device import one_of_several, pick_device
from utils.core.errors import DataError
from utils.core.shortage import reserve_memory
from utils.data.crops import FACES_FILE, Job, Settings, is_complete, read_faces_csv
from utils.data.extraction import Extractor
from utils.data.failures import Outcome
from utils.faces.upright import detector_of


class Extraction:
    """config: of submission; its detector's keys count. writers: threads that encode and write."""

    def __init__(self, config, settings: Settings, device: str = "auto", writers: int = 2):
        self.config, self.settings, self.device, self.writers = config, settings, device, writers

    def open(self, number: int = 0, threads: int | None = None) -> None:
        """Load the detector. Raises ConfigError, WeightsError."""
        import torch

        if threads is not None:
            torch.set_num_threads(threads)
        reserve_memory()
        cv2.setNumThreads(1)  # the pool of writers is the parallelism
        device = pick_device(one_of_several(self.device, number))
        self.detector = detector_of(self.config, device, largest_alone=True)

    @property
    def about(self) -> str:
        weights = Path(self.config.detector_weights).name
        where = f"{self.detector.device}, in {self.detector.precision}"
        return f"{self.config.detector} with {weights} on {where}; every {self.settings.every}th frame"

    def session(self, jobs: Sequence[Job], heard) -> Iterator[tuple[Job, Outcome]]:
        missing = {}
        for job in jobs:
            known = self._known(job)
            if known is None:
                missing[job.path] = job
            else:
                yield job, known
        extractor = Extractor(self.detector, self.settings, self.writers, self.config.frames_at_once)
        for outcome in extractor.stream(list(missing.values()), heard.part, heard.begun):
            yield missing[outcome.path], outcome

    def _known(self, job: Job) -> Outcome | None:
        """What came of a job that a worker finished just before it was lost; None = it is to do."""
        try:
            if is_complete(job, self.settings):
                return Outcome(job.path, len(read_faces_csv(job.folder / FACES_FILE)))
        except DataError as error:
            return Outcome(job.path, failure=str(error))
        return None

    def lost(self, job: Job, reason: str) -> Outcome:
        return Outcome(job.path, failure=reason)
