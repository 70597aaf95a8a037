"""What a config says of whole clips, as they are and as they look after being passed on: face by face.

Real clips of the installed packages, and labelled ones of a folder. A clip's frames are changed before the
face is searched for, so that detection and alignment suffer as well.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from utils.augment.codecs import jpeg
from utils.augment.effects import darken, shrink
from utils.core.config import ROOT
from utils.core.errors import DataError, MediaError, WeightsError
from utils.data.label_files import METADATA_FILE, read_label_files
from utils.evaluation.sample_clips import REAL_CLIPS, frame_rate, package_file, write_video
from utils.faces.frames import SpreadFrames, StrideFrames
from utils.faces.people import PeopleDetector
from utils.faces.prefetch import Frames
from utils.faces.stream import Clip, Detector, FoundFace, face_stream
from utils.faces.video import FrameReader, find_media
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import NOT_FINITE, Ensemble
from utils.scoring.people import faces_to_judge
from utils.scoring.scorer import frames_of

LABELS = "labels.csv"


Frame = np.ndarray  # (H, W, 3) uint8 BGR


def in_rgb(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Frame], Frame]:
    """A change of RGB pictures as one of BGR frames."""
    return lambda frame: np.ascontiguousarray(change(frame[..., ::-1])[..., ::-1])


# What is done to each frame by itself.
CHANGES: dict[str, Callable[[Frame], Frame]] = {
    "plain": lambda frame: frame,
    "jpeg 50": in_rgb(lambda image: jpeg(image, 50)),
    "jpeg 20": in_rgb(lambda image: jpeg(image, 20)),
    "half size": lambda frame: shrink(frame, 0.5, least=32),
    "quarter size": lambda frame: shrink(frame, 0.25, least=32),
    "1/4 of the light": lambda frame: darken(frame, 0.25),
    "1/10 of the light": lambda frame: darken(frame, 0.1),
}
# What is done to the clip, from its first frame on: real H.264 of these rate factors, and OpenCV's MPEG-4.
H264 = {"h264 32": 32, "h264 38": 38}
MPEG4 = "mpeg4"  # at the bit rate that OpenCV chooses
VARIANTS = (*CHANGES, *H264, MPEG4)


@dataclass(frozen=True)
class LabelledClip:
    """A file, its label (1 = fake), its name in tables, and what it was made of ("": a file as it is)."""

    path: Path
    label: int
    name: str
    made_of: str = ""


def shared_folder() -> Path | None:
    """The folder of shared data that DFDC_SHARED names (default ../shared), if there is one."""
    folder = Path(os.environ.get("DFDC_SHARED", ROOT.parent / "shared"))
    return folder if folder.is_dir() else None


def shared_clips() -> Path | None:
    """The folder of labelled clips of the shared data, if there is one."""
    folder = shared_folder()
    return folder / "videos" if folder and (folder / "videos" / LABELS).is_file() else None


def package_clips(places: Sequence[tuple[str, str]] = REAL_CLIPS) -> list[LabelledClip]:
    """The real clips with a face that installed packages hold; DataError if one isn't installed.

    places: (module of the package, file inside it).
    """
    clips = [(relative, package_file(package, relative)) for package, relative in places]
    return [LabelledClip(path, 0, path.name) for relative, path in clips if "no_face." not in relative]


def labelled_clips(folder: Path, labels: Sequence[Path] = ()) -> list[LabelledClip]:
    """The clips of a folder that label files name, by default its labels.csv or metadata.json.

    A name without a suffix stands for the one clip that has it. DataError where a clip isn't there.
    """
    own = [folder / name for name in (LABELS, METADATA_FILE) if (folder / name).is_file()][:1]
    table = read_label_files(labels or own or [folder / LABELS])
    if table["name"].duplicated().any():
        raise DataError(
            f"{folder}: {table.loc[table['name'].duplicated(), 'name'].iloc[0]} is labelled twice"
        )
    stems = {path.stem: path for path in find_media(folder)[0]}
    clips = []
    for name, label, where in zip(table["name"], table["is_fake"].tolist(), table["where"], strict=True):
        path = folder / name
        if not path.is_file():
            path = stems.get(name, path)
        if not path.is_file():
            raise DataError(f"{where}: {path} is not there")
        clips.append(LabelledClip(path, label, name))
    twice = [path for path, count in Counter(clip.path for clip in clips).items() if count > 1]
    if twice:
        raise DataError(f"{folder}: {twice[0].name} is labelled twice, with and without its suffix")
    return clips


def unheard() -> None:
    """What is told where nobody wants to know that work goes on."""


def face_scores(
    frames: Frames, detector: Detector, ensemble: Ensemble, limit: int, tick: Callable[[], None] = unheard
) -> np.ndarray:
    """p(fake) (N,) of the largest face of each frame that has one, N at most `limit`.

    Of a `PeopleDetector`'s faces, those of the person with the highest mean. Raises MediaError where no frame
    can be read, and WeightsError where a probability isn't finite.
    """
    found = found_faces(frames, detector, limit, tick)
    if isinstance(detector, PeopleDetector) and found:
        chosen = faces_to_judge(found, limit)
        found, persons = [one.found for one in chosen], np.array([one.person for one in chosen])
    else:
        persons = np.ones(len(found))
    crops = [one.crop[..., ::-1] for one in found]  # BGR -> RGB
    scores = ensemble.predict(np.stack(crops)) if crops else np.zeros(0)
    if not np.isfinite(scores).all():
        raise WeightsError(NOT_FINITE)
    return max((scores[persons == person] for person in set(persons)), key=np.mean, default=scores)


def clip_faces(
    frames: Frames, detector: Detector, limit: int, tick: Callable[[], None] = unheard
) -> list[np.ndarray]:
    """The largest face of each frame that has one, aligned uint8 RGB (320, 320, 3), `limit` at most.

    frames: (number, frame) pairs, as of a `FrameReader`. MediaError where none can be read.
    """
    return [found.crop[..., ::-1] for found in found_faces(frames, detector, limit, tick)]  # BGR -> RGB


def found_faces(
    frames: Frames, detector: Detector, limit: int, tick: Callable[[], None] = unheard
) -> list[FoundFace]:
    """The faces that a detector finds in `limit` of the frames that have one; MediaError as `clip_faces`.

    tick: told after each batch of frames.
    """
    faces = []
    with closing(face_stream([Clip(frames)], detector, limit)) as stream:
        for step in stream:
            tick()
            faces += [found for _, found in step.faces]
            for clip in step.ended:
                if clip.failure is not None:
                    raise MediaError(clip.failure)
    return faces


class VariantFrames:
    """The frames that the config looks at, with their numbers, of one variant of a clip.

    tick: told of each frame that is coded anew before one is given. Iterating raises MediaError, DataError.
    """

    def __init__(
        self, path: Path, variant: str, config: SubmissionConfig, tick: Callable[[], None] = unheard
    ):
        self.path, self.variant, self.config, self.tick = path, variant, config, tick
        self._frames: StrideFrames | SpreadFrames = frames_of(path, config)

    @property
    def far(self) -> Set[int]:
        """Numbers of the frames that the ones before say little of."""
        return self._frames.far

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        if self.variant in CHANGES:
            for index, frame in self._frames:
                yield index, CHANGES[self.variant](frame)
            return
        # by stride no more of the clip than may be looked at if each frame holds a face
        most = None if self.config.frames == "spread" else self.config.frame_stride * self.config.face_limit
        start = (frame for _, frame in islice(FrameReader(self.path), most) if self.tick() is None)
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder, "clip.mp4")
            if self.variant in H264:
                write_h264(start, copy, H264[self.variant])
            else:
                write_video(start, copy, frame_rate(self.path))
            self._frames = frames_of(copy, self.config)
            yield from self._frames


def write_h264(frames: Iterable[Frame], path: Path, rate_factor: int) -> None:
    """Write frames of one size as `video_coded` codes them, odd sides a pixel longer."""
    with av.open(str(path), "w") as container:
        stream = None
        for frame in frames:
            height, width = frame.shape[:2]
            even = cv2.copyMakeBorder(frame, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
            if stream is None:
                options = {"preset": "veryfast", "tune": "zerolatency", "crf": str(rate_factor)}
                stream = container.add_stream("libx264", rate=25, options=options)
                stream.height, stream.width, stream.pix_fmt = *even.shape[:2], "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="bgr24")))
        if stream is not None:
            container.mux(stream.encode(None))
