"""Parts (a) and (b): extraction in frames a second, and seconds for a ten-second clip."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from benchmarks.clips import cut_clip, hd_clip
from benchmarks.reference_procedure import FACE_LIMIT, Reference, extract_clip, score_clip
from benchmarks.settings import (
    EXACT,
    FAST,
    ONNX,
    build_ours,
    build_reference,
    bundled,
    extraction_settings,
    published,
)
from benchmarks.timing import Row, interleaved, medians, say
from utils.data.crops import Job
from utils.data.extraction import Extractor
from utils.faces.detector import FaceDetector
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import score_media


@dataclass(frozen=True)
class SpeedPlan:
    """How much is timed: rounds; frames of 1080p video that each detector looks at in the reference and at
    the exact setting, and at the fast one; faces from which the slow runs of a clip are scaled up to 25, and
    the fast ones of the published ensemble (8: of these one frame is searched as a whole, of 25 four).
    """

    runs: int = 3
    detectors: tuple[str, ...] = ("mobilenet0.25", "resnet50")
    reference_frames: tuple[int, ...] = (10, 2)
    fast_frames: tuple[int, ...] = (60, 16)
    some_faces: int = 1
    more_faces: int = 8
    size: tuple[int, int] | None = None  # of the frames, None = 1920x1080


def extraction_rows(plan: SpeedPlan) -> list[Row]:
    """Seconds a frame from video to PNG, every frame, for each detector, exact and fast."""
    rows = []
    for name, n_frames, n_fast in zip(plan.detectors, plan.reference_frames, plan.fast_frames, strict=True):
        say(f"(a) extraction, {name}: {n_frames} frames a round, {n_fast} at the fast setting")
        make = published if name == "resnet50" else bundled
        few, many = cut_clip(n_frames, plan.size), cut_clip(n_fast, plan.size)
        reference = build_reference(make())
        tasks = {"reference": lambda few=few, net=reference.detector: reference_extraction(few, net)}
        settings = {"exact": (EXACT, few), "fast": (FAST, many), "fast onnxruntime": ((*FAST, *ONNX), many)}
        for setting, (overrides, clip) in settings.items():
            config = make(*overrides)
            tasks[setting] = extraction_task(config, build_ours(config)[0], clip)
        times = medians(interleaved(tasks, plan.runs, warm_up=False))  # the median drops a slow first
        reference_s = times["reference"] / n_frames
        for setting in settings:
            count = n_frames if setting == "exact" else n_fast
            ours_s = times[setting] / count
            more = {"unit": "frame", "reference_per_s": 1 / reference_s, "ours_per_s": 1 / ours_s,
                    "frames": {"reference": n_frames, "ours": count}}  # fmt: skip
            rows.append(Row(f"extraction {name} {setting}", reference_s, ours_s, more))
    return rows


def reference_extraction(clip: Path, detector) -> None:
    with tempfile.TemporaryDirectory() as folder:
        extract_clip(clip, detector, Path(folder))


def extraction_task(config: SubmissionConfig, detector: FaceDetector, clip: Path) -> Callable[[], None]:
    """A call that extracts the clip as make_dataset.py does."""

    def extract() -> None:
        with tempfile.TemporaryDirectory() as folder:
            run_extractor(config, detector, [Job(clip, Path(folder) / "crops")], every=1)

    return extract


def run_extractor(config: SubmissionConfig, detector: FaceDetector, jobs: list[Job], every: int) -> None:
    """make_dataset.py's work in this process, OpenCV on one thread as there; AssertionError if one fails."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        extractor = Extractor(detector, extraction_settings(config, every), 2, config.batch_size)
        tally = extractor.run(jobs, lambda tally: None)
    finally:
        cv2.setNumThreads(threads)
    if tally.failures:
        raise AssertionError(f"{tally.failures[0]}")


def clip_rows(plan: SpeedPlan) -> list[Row]:
    """Seconds for a ten-second clip: the bundled config, then the published ensemble."""
    clip, what = (hd_clip()) if plan.size is None else (cut_clip(60, plan.size), "a small clip")
    some = plan.some_faces
    say(f"(b) {what}: the bundled config")
    rows = one_clip_rows(
        "bundled", clip, plan.runs, build_reference(bundled()),
        {"as shipped": (bundled(), None), "onnxruntime": (bundled(*ONNX), None),
         "exact": (bundled(*EXACT), None)},
    )  # fmt: skip
    if "resnet50" in plan.detectors:
        more = plan.more_faces
        say(f"(b) the published ensemble on {some} faces, fast on {more}, scaled to {FACE_LIMIT}")
        rows += one_clip_rows(
            "published", clip, plan.runs, build_reference(published()),
            {"fast": (published(*FAST), more), "fast onnxruntime": (published(*FAST, *ONNX), more),
             "exact": (published(*EXACT), some)}, some,
        )  # fmt: skip
    return [Row(row.name, row.reference_s, row.ours_s, {**row.more, "clip": what}) for row in rows]


def one_clip_rows(
    name: str,
    clip: Path,
    runs: int,
    reference: Reference,
    ours: dict[str, tuple[SubmissionConfig, int | None]],
    reference_faces: int | None = None,
) -> list[Row]:
    """Rows of one ensemble; a number of faces says that as many are scored, and the time scaled to 25."""
    faces = {"reference": reference_faces} | {setting: some for setting, (_, some) in ours.items()}
    tasks = {"reference": lambda: score_clip(clip, reference, reference_faces or FACE_LIMIT)}
    for setting, (config, some) in ours.items():
        tasks[setting] = scoring_task(config, clip, some)
    times = medians(interleaved(tasks, runs, warm_up=False))  # a slow first round: the median leaves it out
    scaled = {setting: times[setting] * FACE_LIMIT / (faces[setting] or FACE_LIMIT) for setting in times}
    return [
        Row(f"10-s clip {name} {setting}", scaled["reference"], scaled[setting],
            {"unit": "clip", "scaled_from_faces": {"reference": reference_faces, "ours": faces[setting]}})
        for setting in ours
    ]  # fmt: skip


def scoring_task(config: SubmissionConfig, clip: Path, some: int | None) -> Callable[[], None]:
    """A call that scores the clip as best-submission.py does, of `some` faces if it is not None."""
    if some is not None:
        config = replace(config, face_limit=some)
    detector, ensemble = build_ours(config)
    return lambda: list(score_media([clip], detector, ensemble, config))
