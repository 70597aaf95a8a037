"""The classifiers of a submission, and the weighted mean of what they say about a face.

Published: 0.2 Xception + 0.7 WS-DAN/Xception + 0.1 WS-DAN/EfficientNet-b3, each the softmax of class 1
(fake) of the plain forward, without attention cropping. Two more views of a face are ours to ask for: its
mirror image, and WS-DAN's attention crop.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from models import WSDAN
from models.attention import logits_with_crop
from utils.core.device import autocast, is_gpu, layout, pick_precision, to_device
from utils.core.errors import ConfigError, WeightsError
from utils.core.shortage import is_short
from utils.scoring.config import SubmissionConfig
from utils.weights.checkpoint import load_weights
from utils.weights.networks import build_network
from utils.weights.preprocess import PREPROCESS_KEY, Preprocess, preprocess_of
from utils.weights.runtime import OnnxNet, check_device, fold_batch_norms

PUBLISHED_FILES = ("xception-hg-2.pth", "ckpt_x.pth", "ckpt_e.pth")
FAKE = 1  # the class whose probability is asked for
# Faces of a forward pass on a CPU, or as many as it has threads: 25 take a gigabyte, and no less time each.
AT_ONCE = 4
NOT_FINITE = "the networks gave no finite number: damaged weights, or try precision=fp32"


@dataclass(frozen=True)
class Member:
    """One classifier: its network, what the network expects of a face, and its share of the mean.

    file: its weights' name; date: of when they are; states_preprocess: whether they say what the network
    expects, else it is what the published weights of the network do; is_published: they have their name.
    """

    net: nn.Module
    preprocess: Preprocess
    weight: float
    file: str = ""
    date: str = ""
    states_preprocess: bool = True

    @property
    def is_published(self) -> bool:
        return self.file in PUBLISHED_FILES


class Ensemble:
    """Judges aligned faces: `predict` is the weighted mean over the members' probabilities.

    members: their weights sum to 1, else ConfigError; device: where the networks are moved to;
    precision: "fp32", or "bf16" | "fp16" for autocast, or "auto" (see `utils.core.device.pick_precision`);
    flip: mean of the probabilities of a face and of its mirror image; attention_crop: a WS-DAN member's
    logits are the mean of its raw forward's and its attention crop's, as in published validation;
    combine: what all these means are of, "probabilities" or "logits".
    """

    def __init__(
        self,
        members: Sequence[Member],
        device: torch.device | str = "cpu",
        precision: str = "fp32",
        flip: bool = False,
        attention_crop: bool = False,
        combine: str = "probabilities",
    ) -> None:
        total = sum(member.weight for member in members)
        if abs(total - 1) > 1e-6:
            raise ConfigError(f"ensemble: the weights of its networks must sum to 1; they sum to {total:g}")
        self.device = torch.device(device)
        self.precision = pick_precision(self.device, precision)
        self.flip, self.attention_crop, self.combine = flip, attention_crop, combine
        self.members, self.layout = list(members), layout(self.device, self.precision)
        self.most = 1  # faces of a batch so far
        for member in self.members:
            member.net.eval().to(self.device, memory_format=self.layout)

    def predict(self, faces: np.ndarray) -> np.ndarray:
        """(B, 320, 320, 3) uint8 aligned faces, RGB -> (B,) float64 probability in [0, 1] of being fake.

        A probability is NaN where a network overflowed (damaged weights, or "fp16" beyond its range).
        """
        return self.mean(self.predict_each(faces))

    def predict_each(self, faces: np.ndarray) -> np.ndarray:
        """The probabilities of each network by itself: (B, 320, 320, 3) uint8, RGB -> (B, M) float64."""
        if len(faces) == 0:
            return np.zeros((0, len(self.members)))
        if is_gpu(self.device):
            return self._predict_batch(faces)
        count = max(AT_ONCE, torch.get_num_threads())
        starts = range(0, len(faces), count)
        return np.concatenate([self._predict_batch(faces[start : start + count]) for start in starts])

    @torch.inference_mode()
    def _predict_batch(self, faces: np.ndarray) -> np.ndarray:
        """`predict_each` in one forward pass of each network."""
        pixels = to_device(np.ascontiguousarray(self._filled_up(faces)), self.device)  # (B, 320, 320, 3)
        views = [pixels, pixels.flip(2)] if self.flip else [pixels]
        answers = [self._fake_probability(member, view) for member in self.members for view in views]
        table = torch.stack(answers, dim=1).cpu().numpy()[: len(faces)]  # one copy, one wait
        table = table.reshape(len(faces), len(self.members), len(views))
        shares = [1 / len(views)] * len(views)
        return np.stack([self._mean(table[:, member], shares) for member in range(len(self.members))], axis=1)

    def _filled_up(self, faces: np.ndarray) -> np.ndarray:
        """The faces, on a GPU filled up to as many as came at most: it plans anew for each shape."""
        self.most = max(self.most, len(faces))
        if not is_gpu(self.device):
            return faces
        return np.concatenate([faces, np.repeat(faces[:1], self.most - len(faces), axis=0)])

    def mean(self, by_network: np.ndarray) -> np.ndarray:
        """The weighted mean over the networks: (B, M) -> (B,)."""
        return self._mean(by_network, [member.weight for member in self.members])

    def _mean(self, probabilities: np.ndarray, weights: Sequence[float]) -> np.ndarray:
        """The mean over columns (B, N) -> (B,), as `combine` says."""
        return mean_of(probabilities, weights, self.combine)

    def _fake_probability(self, member: Member, pixels: Tensor) -> Tensor:
        """(B, 320, 320, 3) uint8 -> (B,) float64, softmax of class 1 of one network."""
        images = member.preprocess.batch(pixels).contiguous(memory_format=self.layout)  # (B, 3, S, S)
        with autocast(self.device, self.precision):
            if self.attention_crop and _attends(member.net):
                logits = logits_with_crop(member.net, images)[1]
            else:
                output = member.net(images)
                logits = output[0] if isinstance(output, tuple) else output  # WS-DAN has features as well
        return logits.double().softmax(dim=1)[:, FAKE]


def to_logits(probabilities: np.ndarray) -> np.ndarray:
    """log p / (1 - p); within +-34.5, so that a sure network counts no more than that. NaN stays."""
    clipped = probabilities.clip(1e-15, 1 - 1e-15)
    return np.log(clipped) - np.log1p(-clipped)


def to_probabilities(logits: np.ndarray) -> np.ndarray:
    """What `to_logits` undoes."""
    return 1 / (1 + np.exp(-logits))


def mean_of(probabilities: np.ndarray, weights: Sequence[float], combine: str) -> np.ndarray:
    """The weighted mean over columns (B, N) -> (B,) of "probabilities" or of their "logits"."""
    if combine == "probabilities":
        return sum(weight * column for weight, column in zip(weights, probabilities.T, strict=True))
    logits = sum(weight * to_logits(column) for weight, column in zip(weights, probabilities.T, strict=True))
    return to_probabilities(logits)


def _attends(net: nn.Module) -> bool:
    """Whether it is a WS-DAN, which gives an attention map; the other networks give logits alone."""
    return isinstance(net, WSDAN) or (isinstance(net, OnnxNet) and net.is_tuple)


def date_of(file: str) -> str:
    """The day on which a file was changed last."""
    return datetime.fromtimestamp(os.path.getmtime(file)).date().isoformat()


def build_ensemble(config: SubmissionConfig, device: torch.device | str = "cpu") -> Ensemble:
    """The networks of `config.ensemble`, their weights loaded strictly.

    A weights file that states its preprocessing, as exported ones and our training checkpoints do, is fed by
    it; others get the published one of their network. Raises WeightsError, and ConfigError where no network
    is named or `config.runtime` doesn't run on the device.
    """
    onnx = config.runtime == "onnxruntime"
    if onnx:
        check_device(device)
    if not config.ensemble:
        raise ConfigError("ensemble is empty; submission-conf/bundled.py shows how to name networks")
    members = []
    for network, weights, weight in config.ensemble:
        try:
            net = build_network(network)
        except ImportError as error:
            if is_short(error):
                raise
            raise ConfigError(f"ensemble: {network} can't be built: {error}") from None
        metadata = load_weights(net, weights, config_key="ensemble")
        try:
            preprocess = preprocess_of(network, metadata)
        except WeightsError as error:
            raise WeightsError(f"{weights}: {error}") from None
        net = fold_batch_norms(net)
        if onnx:
            net = OnnxNet(net, torch.zeros(1, 3, preprocess.size, preprocess.size))
        date = metadata.get("date") or date_of(weights)
        members.append(Member(net, preprocess, weight, Path(weights).name, date, PREPROCESS_KEY in metadata))
    precision = "fp32" if onnx else config.precision
    return Ensemble(members, device, precision, config.flip, config.attention_crop, config.combine)
