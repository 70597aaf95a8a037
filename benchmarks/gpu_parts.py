"""The parts of `benchmarks/gpu.py`: forwards, clips, extraction and training steps on one device."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.inputs import (
    EXACT,
    FAST,
    build_ours,
    bundled,
    bundled_or_random,
    cut_clip,
    hd_clip,
    our_detector,
    published,
    randomised,
)
from benchmarks.speed import build_net, extraction_settings, optimizer_of
from benchmarks.timing import say
from utils.augment.alike import Alike
from utils.core.device import autocast, choose_by_trial
from utils.data.crops import Job, crop_name
from utils.data.datasets import FaceDataset
from utils.data.extraction import Extractor
from utils.data.lists import Videos
from utils.faces.stream import Clip, face_stream
from utils.faces.video import FrameReader
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import score_media
from utils.training.config import TrainingConfig, WSDANConfig, XceptionConfig
from utils.training.engine import Step, train_one_epoch
from utils.training.position import EpochSums
from utils.training.trainer import CheckpointForm, Trainer, begin
from utils.training.wsdan import FeatureCenters, training_losses
from utils.weights.networks import build_network
from utils.weights.runtime import fold_batch_norms

LAYOUTS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
# The combinations that are used come first, in case that time runs out.
WAYS = (
    ("NCHW", "fp32"), ("channels_last", "bf16"), ("channels_last", "fp16"), ("NCHW", "bf16"),
    ("NCHW", "fp16"), ("channels_last", "fp32"),
)  # fmt: skip
BETA = 5e-2


@dataclass(frozen=True)
class Plan:
    """Sizes. frames: (height, width) of the detectors' frames, and the side of a window; faces: images that
    the classifiers get at once; clip: frames of the clip, and its width and height, None = the whole of it.
    batches: images a step of Xception and of WS-DAN; steps: of an epoch with the loader.
    """

    frames: tuple[int, int] = (1080, 1920)
    window: int = 512
    detect: int = 8
    faces: int = 25
    clip: tuple[int, tuple[int, int]] | None = None
    image: int = 224
    batches: tuple[int, int] = (128, 64)
    steps: int = 200
    workers: int = 15


TINY = Plan((96, 160), 64, 2, 2, (30, (480, 270)), 96, (4, 2), 2, 1)


@dataclass(frozen=True)
class Row:
    """A line of the table: what was measured, the figure, its unit, and more of what there is to say."""

    part: str
    name: str
    value: float | None
    unit: str
    more: dict


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of a call, all of it done on the device."""
    wait(device)
    started = time.perf_counter()
    call()
    wait(device)
    return time.perf_counter() - started


# Forwards


def shapes(plan: Plan) -> dict[str, list[tuple[int, ...]]]:
    """Of each network the shapes of its input (B, 3, H, W)."""
    whole, window = (plan.detect, 3, *plan.frames), (plan.detect, 3, plan.window, plan.window)
    faces = plan.faces
    return {
        "retinaface-mobilenet0.25": [whole, (1, *whole[1:])],
        "retinaface-resnet50": [whole, window],
        "xception": [(faces, 3, plan.image, plan.image)],
        "wsdan-xception": [(faces, 3, 320, 320)],
        "wsdan-efficientnet-b3": [(faces, 3, 300, 300)],
    }


def forward_rows(device: torch.device, plan: Plan, is_time: Callable[[], bool]) -> Iterator[Row]:
    """Milliseconds of the first and of later forwards, by network, layout, precision and shape."""
    nets, skipped = {}, 0
    for (layout, precision), (name, inputs) in itertools.product(WAYS, shapes(plan).items()):
        if name not in nets:
            try:
                nets[name] = fold_batch_norms(randomised(build_network(name))).to(device)
            except ImportError as error:
                say(f"{name} is left out: {error}")
                nets[name] = None
        if nets[name] is None:
            continue
        net = nets[name].to(memory_format=LAYOUTS[layout])
        for shape in inputs:
            if not is_time():
                skipped += 1
                continue
            yield forward_row(net, name, layout, precision, shape, device)
    if skipped:
        yield Row("forward", f"{skipped} more, for which there was no time", None, "ms", {})


@torch.inference_mode()
def forward_row(
    net: nn.Module, name: str, layout: str, precision: str, shape: tuple[int, ...], device: torch.device
) -> Row:
    """Of one combination; what fails is a row, too."""
    label = f"{name} {layout} {precision} {'x'.join(map(str, shape))}"
    try:
        images = torch.randn(shape, device=device).to(memory_format=LAYOUTS[layout])

        def forward() -> None:
            with autocast(device, precision):
                net(images)

        first = timed(forward, device)
        later = [timed(forward, device) for _ in range(2 if first > 1 else 7)]
    except RuntimeError as error:
        return Row("forward", label, None, "ms", {"failed": " ".join(str(error).split())[:200]})
    middle = statistics.median(later)
    more = {"first_ms": 1000 * first, "images_per_s": shape[0] / middle}
    return Row("forward", label, 1000 * middle, "ms", more)


# Clips


def ten_seconds(plan: Plan) -> Path:
    return hd_clip()[0] if plan.clip is None else cut_clip(*plan.clip)


def clip_rows(
    device: torch.device, plan: Plan, seconds: Callable[[str], float], rows: tuple[str, ...]
) -> Iterator[Row]:
    """Clips a second of an endless folder of one clip, scored by each config for some seconds."""
    clip = ten_seconds(plan)
    configs = {
        "bundled": lambda: bundled_or_random(),
        "bundled exact": lambda: bundled_or_random(*EXACT),
        "published exact": lambda: published(),
        "published fast": lambda: published(*FAST),
    }
    for name in rows:
        try:
            config = configs[name]()
            loading = time.perf_counter()
            detector, ensemble = build_ours(config, device)
            loading = time.perf_counter() - loading
        except (ImportError, ValueError) as error:  # a network's package isn't installed
            yield Row("clips", name, None, "clips/s", {"failed": str(error)})
            continue
        rate, more = scoring_rate(clip, detector, ensemble, config, seconds(name))
        yield Row("clips", name, rate, "clips/s", more | {"loading_s": loading, "clip": clip.name})


def scoring_rate(clip: Path, detector, ensemble, config: SubmissionConfig, seconds: float):
    """Clips a second after the first one, and what there is to say of it."""
    started, times = time.perf_counter(), []
    with closing(score_media(itertools.repeat(clip, 10_000), detector, ensemble, config)) as results:
        for result in results:
            times.append(time.perf_counter() - started)
            more = {"probability": result.probability, "faces": result.faces}
            if times[-1] > seconds:
                break
    more |= {"clips": len(times), "first_s": times[0]}
    whole = max(len(times) - 1, 1)
    return (whole / (times[-1] - times[0]) if len(times) > 1 else 1 / times[0]), more


class _TimeUpError(Exception):
    """Raised out of the extractor."""


def extraction_row(device: torch.device, plan: Plan, seconds: float, workers: int) -> Row:
    """Frames a second from videos to PNG, every frame, MobileNet at the fast setting."""
    clip, config = ten_seconds(plan), bundled("speed=fast", "turn=False")
    detector = our_detector(config, device)
    started, done = time.perf_counter(), [(0.0, 0)]

    def progress(extracted) -> None:
        done.append((time.perf_counter() - started, extracted.frames))
        if done[-1][0] > seconds:
            raise _TimeUpError

    with tempfile.TemporaryDirectory() as folder:
        jobs = (Job(clip, Path(folder) / str(number)) for number in range(1000))
        extractor = Extractor(detector, extraction_settings(config, 1), workers, config.batch_size)
        try:
            extractor.run(jobs, progress)
        except _TimeUpError:
            pass
    begun = [entry for entry in done[:-1] if entry[0] <= done[-1][0] / 3][-1]  # after the start
    rate = (done[-1][1] - begun[1]) / (done[-1][0] - begun[0])
    more = {"frames": done[-1][1]}
    return Row("extraction", f"mobilenet0.25 fast on {device.type}", rate, "frames/s", more)


# Training


def network_row(name: str, device: torch.device, plan: Plan, batch: int, seconds: float) -> Row:
    """Images a second of the training step alone, in bf16 and channels_last, data on the device."""
    choose_by_trial(True)  # as in training
    net = build_net(name).to(device, memory_format=torch.channels_last)
    images = torch.randn(batch, 3, plan.image, plan.image, device=device)
    images = images.to(memory_format=torch.channels_last)
    labels = torch.arange(batch, device=device) % 2
    optimizer, step = optimizer_of(net), step_of(name, net, device)

    def descend() -> None:
        with autocast(device, "bf16"):
            loss = step(net, images, labels).loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    first = timed(descend, device)
    timed(descend, device)
    started, count = time.perf_counter(), 0
    while count == 0 or time.perf_counter() - started < seconds:
        count += 5
        timed(lambda: [descend() for _ in range(5)], device)
    rate = batch * count / (time.perf_counter() - started)
    return Row("training", f"{name} network alone", rate, "images/s", {"batch": batch, "first_s": first})


def step_of(name: str, net: nn.Module, device: torch.device) -> Callable[[nn.Module, Tensor, Tensor], Step]:
    """The training step of the scripts."""
    if name == "xception":
        def plain(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
            logits = model(images)
            figures = {"accuracy": (logits.argmax(1) == labels).float().mean()}
            return Step(cross_entropy(logits.float(), labels), figures)

        return plain
    centers = FeatureCenters(2, net.fc.in_features, device)

    def attentive(model: nn.Module, images: Tensor, labels: Tensor) -> Step:
        losses = training_losses(model, images, labels, centers.values, BETA)
        centers.values = losses["centers"]
        return Step(losses["total"], {name: losses[name] for name in ("raw", "crop", "drop", "center")})

    return attentive


def loader_row(name: str, device: torch.device, plan: Plan, batch: int, folder: Path, steps: int) -> Row:
    """Images a second of a whole epoch, loader included, after one that warms up."""
    config = training_config(name, device, plan, batch, folder)
    begin(config)
    net = build_net(name).to(device)
    trainer = Trainer(config, device, net, CheckpointForm(name, "{epoch}", (), lambda *_: {}), None)
    dataset = FaceDataset(written_faces(folder, plan), np.full(16, 8), config.preprocess, 0, Alike())
    step, means, first = step_of(name, net, device), {}, 0.0
    with trainer:
        for epoch, count in enumerate((3, steps)):
            orders = [dataset.epoch_order(number) for number in range(-(-count * batch // len(dataset)))]
            trainer.position.epoch, trainer.position.seen = epoch, EpochSums()
            order = np.concatenate(orders)[: count * batch]
            means = train_one_epoch(trainer, step, dataset, order, drop_last=True)
            first = means["seconds"] if epoch == 0 else first
    more = {"batch": batch, "workers": plan.workers, "first_epoch_s": first, "steps": steps}
    return Row("training", f"{name} with loader", means["images_per_second"], "images/s", more)


def training_config(name: str, device: torch.device, plan: Plan, batch: int, folder: Path) -> TrainingConfig:
    common = {
        "save_dir": str(folder / "run"), "image_size": plan.image, "batch_size": batch, "precision": "bf16",
        "window": (76, 100, 244, 268), "ema": 0.99, "optimizer": "adamw", "learning_rate": 1e-4,
        "device": str(device), "tensorboard": False, "augmentation": "alike",
    }  # fmt: skip
    if name == "xception":
        return XceptionConfig(data_root=str(folder), num_workers=plan.workers, **common)
    return WSDANConfig(datapath=str(folder), workers=plan.workers, **common)


def written_faces(folder: Path, plan: Plan) -> Videos:
    """Sixteen "videos" of eight crops, from the first faces of the clip; every second one counts as fake."""
    numbers = np.arange(8)
    names = [f"video{number:02d}" for number in range(16)]
    if not (folder / names[-1]).is_dir():
        detector, _ = build_ours(bundled_or_random(*EXACT), "cpu")
        with closing(face_stream([Clip(FrameReader(ten_seconds(plan)))], detector, 8)) as stream:
            crops = [found.crop for step in stream for _, found in step.faces]
        for k, name in enumerate(names):
            (folder / name).mkdir(parents=True)
            for number in numbers:
                crop = np.roll(crops[number % len(crops)], k, axis=1)
                cv2.imwrite(str(folder / name / crop_name(number)), crop, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    folders = [str(folder / name) for name in names]
    return Videos(folders, names, np.arange(16) % 2, np.full(16, 8), [numbers] * 16)


def with_workers(plan: Plan, cores: int) -> Plan:
    """The plan with a loading process less than there are cores."""
    return replace(plan, workers=max(1, min(plan.workers, cores - 1)))
