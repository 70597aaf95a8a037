"""Parts (a), (b), (c): extraction, a ten-second clip, a training step; each in seconds of both."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.inputs import (
    EXACT,
    FAST,
    ONNX,
    build_ours,
    build_reference,
    bundled,
    cut_clip,
    hd_clip,
    our_detector,
    published,
)
from benchmarks.reference import (
    FACE_LIMIT,
    Reference,
    extract_clip,
    score_clip,
    take_step,
    wsdan_losses,
)
from benchmarks.timing import Row, has_bf16, interleaved, medians, say
from models import WSDAN, xception
from utils.core.device import autocast
from utils.data.crops import Job, Settings
from utils.data.extraction import Extractor
from utils.faces.detector import FaceDetector
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import score_media
from utils.training.wsdan import training_losses

BETA = 5e-2
Step = Callable[[], float]


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
            tasks[setting] = extraction_task(config, our_detector(config), clip)
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
        done = extractor.run(jobs, lambda done: None)
    finally:
        cv2.setNumThreads(threads)
    if done.failures:
        raise AssertionError(f"{done.failures[0]}")


def extraction_settings(config: SubmissionConfig, every: int) -> Settings:
    """What the extractor notes beside the crops."""
    names = {field.name for field in fields(Settings)} - {"every"}
    return Settings(every=every, **{name: getattr(config, name) for name in names})


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


@dataclass(frozen=True)
class TrainingPlan:
    """Rounds; the networks, side of their images in pixels, and images a step."""

    runs: int = 3
    networks: tuple[tuple[str, int, int], ...] = (
        ("wsdan-xception", 224, 4), ("wsdan-efficientnet-b3", 300, 2), ("xception", 224, 8),
    )  # fmt: skip


def training_rows(plan: TrainingPlan) -> list[Row]:
    """Seconds an image of the plain step and of ours, in float32 and, where the processor has it, bf16."""
    rows = []
    for name, size, batch in plan.networks:
        say(f"(c) training, {name}: {batch} images of {size} pixels a step")
        torch.manual_seed(0)
        net = build_net(name)
        images = torch.from_numpy(fixed_images(batch, size))
        labels = torch.arange(batch) % 2
        tasks = {"reference": plain_step(name, copy.deepcopy(net), images, labels)}
        for precision in ("fp32", "bf16") if has_bf16() else ("fp32",):
            tasks[precision] = our_step(name, copy.deepcopy(net), images, labels, precision)
        times = medians(interleaved(tasks, plan.runs, warm_up=False))  # the median drops a slow first
        for precision in list(tasks)[1:]:
            reference_s, ours_s = times["reference"] / batch, times[precision] / batch
            more = {"unit": "image", "batch": batch, "pixels": size,
                    "reference_per_s": 1 / reference_s, "ours_per_s": 1 / ours_s}  # fmt: skip
            rows.append(Row(f"training {name} {precision}", reference_s, ours_s, more))
    return rows


def fixed_images(n: int, size: int, seed: int = 0) -> np.ndarray:
    """n made images, (n, 3, size, size) float32, about as bright as normalised faces."""
    return np.random.default_rng(seed).standard_normal((n, 3, size, size)).astype(np.float32)


def build_net(name: str) -> nn.Module:
    """The network in train mode, with random weights."""
    if name == "xception":
        return xception().train()
    net = WSDAN(2, 8, name.removeprefix("wsdan-")).train()
    if net.net == "efficientnet-b3":
        net.EFN._fc.requires_grad_(False)
    return net


def optimizer_of(net: nn.Module, momentum: float = 0.9) -> torch.optim.Optimizer:
    """SGD, as published for both; a rate at which random networks stay finite."""
    return torch.optim.SGD((value for value in net.parameters() if value.requires_grad), 1e-4, momentum)


def plain_step(name: str, net: nn.Module, images: Tensor, labels: Tensor) -> Step:
    """A call that does one plain step; nothing of the images' layout or the precision is changed."""
    optimizer = optimizer_of(net)
    if name == "xception":
        return lambda: take_step(lambda: cross_entropy(net(images), labels), optimizer)
    centers = [torch.zeros(2, net.fc.in_features)]

    def losses() -> Tensor:
        values = wsdan_losses(net, images, labels, centers[0], BETA)
        centers[0] = values["centers"]
        return values["total"]

    return lambda: take_step(losses, optimizer)


def our_step(name: str, net: nn.Module, images: Tensor, labels: Tensor, precision: str) -> Step:
    """A call that does the same step as `utils.training.engine.train_one_epoch` does it."""
    net = net.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    optimizer = optimizer_of(net)
    centers = [] if name == "xception" else [torch.zeros(2, net.fc.in_features)]

    def step() -> float:
        with autocast("cpu", precision):
            if name == "xception":
                loss = cross_entropy(net(images).float(), labels)
            else:
                values = training_losses(net, images, labels, centers[0], BETA)
                centers[0], loss = values["centers"], values["total"]
        value = loss.item()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return value

    return step
