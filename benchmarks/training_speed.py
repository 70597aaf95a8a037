"""Part (c): one training step of WS-DAN and of Xception, in images a second."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.reference_training import take_step, wsdan_losses
from benchmarks.settings import fixed_images
from benchmarks.timing import Row, has_bf16, interleaved, medians, say
from models import WSDAN, xception
from utils.core.device import autocast
from utils.training.wsdan import training_losses

BETA = 5e-2
Step = Callable[[], float]


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
