"""What is compared: the configs, their exact and fast settings, and networks without trained weights.

`FAST` is the one place where the benchmarks say what the fast setting is.
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.reference_procedure import Reference, load_reference
from models import RetinaFace
from utils.core.config import ROOT, load_config
from utils.data.crops import Settings
from utils.faces.detector import FaceDetector
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import Ensemble
from utils.scoring.scorer import BUNDLED, build
from utils.weights.checkpoint import save_weights
from utils.weights.networks import build_network

PUBLISHED = ROOT / "submission-conf" / "wm.py"
WORK = ROOT / "output" / "bench"  # git-ignored; made clips and weights are kept here
# key=value, on top of any config
EXACT = ("detect_size=None", "precision=fp32", "track=False")
FAST = ("speed=fast",)
ONNX = ("runtime=onnxruntime",)
SETTINGS = {"exact": EXACT, "fast": FAST}
SHARES = {"xception": 0.2, "wsdan-xception": 0.7, "wsdan-efficientnet-b3": 0.1}


def bundled(*overrides: str) -> SubmissionConfig:
    """What works at once, changed by key=value."""
    return load_config(BUNDLED, SubmissionConfig, overrides)


def published(*overrides: str) -> SubmissionConfig:
    """The published ensemble with files of random numbers in the place of its weights."""
    folder = WORK / "random-weights"
    ensemble = [(name, str(random_file(folder, name)), share) for name, share in SHARES.items()]
    detector = random_file(folder, "retinaface-resnet50")
    return load_config(
        PUBLISHED, SubmissionConfig, [f"detector_weights={detector}", f"ensemble={ensemble!r}", *overrides]
    )


def random_file(folder: Path, network: str) -> Path:
    """A weights file of random numbers, the same ones wherever it is made; made if it isn't there."""
    path = folder / f"{network}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        net = RetinaFace("resnet50") if network == "retinaface-resnet50" else build_network(network)
        save_weights(randomised(net), path)
    return path


def randomised(net: nn.Module, seed: int = 0) -> nn.Module:
    """The network with kernels that keep the size of what runs through it (He et al. 2015), as new BNs."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                scale = (2 / parameter[0].numel()) ** 0.5
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)
    return net.eval()


class StandIn(nn.Module):
    """Computes a detector's outputs and gives those of another one, which has trained weights.

    So an untrained ResNet-50 takes its time and finds the faces that MobileNet finds. MobileNet's own time
    is in the measured one as well, on both sides.
    """

    def __init__(self, timed: nn.Module, trusted: nn.Module):
        super().__init__()
        self.timed, self.trusted = timed, trusted

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.timed(frames)
        return self.trusted(frames)


def trusted_detector(config: SubmissionConfig) -> SubmissionConfig:
    """The bundled config, its trained MobileNet set up as `config` has its own detector."""
    keys = ("detect_size", "precision", "track", "score_threshold", "runtime")
    return bundled(*(f"{key}={getattr(config, key)}" for key in keys))


def build_ours(config: SubmissionConfig) -> tuple[FaceDetector, Ensemble]:
    """The repository's detector and ensemble on the CPU, a ResNet-50 as a `StandIn`."""
    detector, ensemble = build(config, "cpu")
    if config.detector == "resnet50":
        trusted, _ = build(trusted_detector(config), "cpu")
        for part in parts_of(detector):
            part.net = StandIn(part.net, parts_of(trusted)[0].net)
    return detector, ensemble


def parts_of(detector) -> list[FaceDetector]:
    """The detector itself, or the two of a tracker: for whole frames, and for the window around a face."""
    return [detector] if isinstance(detector, FaceDetector) else [detector.whole, detector.near]


def build_reference(config: SubmissionConfig) -> Reference:
    """The reference's networks, a ResNet-50 as a `StandIn`."""
    reference = load_reference(config)
    if config.detector == "resnet50":
        trusted = load_reference(bundled()).detector
        return Reference(StandIn(reference.detector, trusted), reference.members)
    return reference


def extraction_settings(config: SubmissionConfig, every: int) -> Settings:
    """What the extractor notes beside the crops."""
    names = {field.name for field in fields(Settings)} - {"every"}
    return Settings(every=every, **{name: getattr(config, name) for name in names})


def fixed_images(n: int, size: int, seed: int = 0) -> np.ndarray:
    """n made images, (n, 3, size, size) float32, about as bright as normalised faces."""
    return np.random.default_rng(seed).standard_normal((n, 3, size, size)).astype(np.float32)
