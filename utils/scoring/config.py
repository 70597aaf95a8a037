"""The keys of scoring's config files (`submission-conf/*.py`), their types, published values and ranges."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from utils.core.config import check_choice, check_range
from utils.core.errors import ConfigError
from utils.faces.config import FaceConfig
from utils.weights.networks import NETWORK_NAMES

FRAME_CHOICES = ("stride", "spread")
FACE_CHOICES = ("largest", "all")
COMBINATIONS = ("probabilities", "logits")


@dataclass(frozen=True, kw_only=True)
class SubmissionConfig(FaceConfig):
    """How faces are found (`FaceConfig`) and which networks judge them.

    frames: "stride", as published: frames n-1, 2n-1, ... (frame_stride n) are judged, until face_limit faces
    are found, so a long clip's start; "spread": as many frames over all of the clip, at the same cost.
    faces: "largest", as published: of each frame the largest face is judged; "all": of each person seen in
    enough frames a share of face_limit, and the highest of their scores is the clip's.
    flip: mean of the probabilities of a face and of its mirror image, at twice the time. attention_crop: of
    WS-DAN members, mean of the logits of the raw forward and of its attention crop, at twice their time, as
    published validation has it. Published scoring has neither.
    combine: what the ensemble's weighted mean is of, "probabilities" as published, or "logits".
    ensemble: (network, weights file, weight) each; the weights sum to 1. Only scoring needs it.
    calibration: a file that `evaluate.py scores --fit` wrote, which scales and moves the logit of each clip's
    score; None, as published: none.
    time_budget_s: seconds for all files, the loading of the networks included; as they run short, fewer
    faces of each clip are judged, down to 5. None, as published: all the time it takes.
    """

    frames: str = "stride"
    frame_stride: int = 10
    face_limit: int = 25
    faces: str = "largest"
    flip: bool = False
    attention_crop: bool = False
    combine: str = "probabilities"
    ensemble: list[tuple[str, str, float]] = field(default_factory=list, metadata={"path_at": 1})
    calibration: str | None = field(default=None, metadata={"path": True})
    time_budget_s: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "frames", FRAME_CHOICES)
        check_choice(self, "faces", FACE_CHOICES)
        check_range(self, "frame_stride face_limit time_budget_s", 1)
        check_choice(self, "combine", COMBINATIONS)
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
