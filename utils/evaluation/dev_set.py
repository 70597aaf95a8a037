"""The faces that candidates are chosen on: real and fake parts, made once and kept on disk.

Half B of DFDC's val, as it is and damaged in ways of which training knows some; face swaps of its reals; real
faces of another place and their swaps; real clips of two more. Half A is for calibrating.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from utils.augment import effects
from utils.augment.codecs import h264
from utils.augment.swapping import swap_crop
from utils.core.console import Progress
from utils.core.errors import DataError
from utils.core.files import write_whole
from utils.evaluation.measures import LabelledFaces, labelled_faces, read_face
from utils.evaluation.swaps import Donors
from utils.faces.video import find_media
from utils.scoring.config import SubmissionConfig

VERSION = 1  # of what is kept: another one is made anew
DAMAGE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "non-local means": lambda face: effects.non_local_means(face, 5),
    "x264 crf 28": lambda face: h264(face, 28),
    "x264 crf 34": lambda face: h264(face, 34),
    "bilateral": lambda face: effects.bilateral(face, 40),
    "down .4": lambda face: effects.down_up(face, 0.4),
}
PLAIN, ELSEWHERE, CLIPS = "plain", "elsewhere", "clips"  # groups of reals besides the damaged ones
SWAPS, SWAPS_ELSEWHERE = "swaps", "swaps elsewhere"  # of fakes, to set beside PLAIN and ELSEWHERE

# The aligned faces, uint8 RGB (320, 320, 3), of each of some clips; none of one that can't be read.
ReadClips = Callable[[Sequence[Path]], list[list[np.ndarray]]]
Owned = Iterable[tuple[int, np.ndarray]]  # a number of whose face it is, and the face
Made = Iterator[tuple[str, bool, Owned]]  # group, whether fake, and the faces of each part


@dataclass(frozen=True)
class Sizes:
    """How many faces of each kind are drawn: of val, of the other place, and of each clip at most."""

    val_reals: int = 150
    val_fakes: int = 100
    elsewhere: int = 240
    swaps_elsewhere: int = 120
    clip_faces: int = 12


@dataclass(frozen=True)
class Sources:
    """Where faces come from: DFDC's list and its set, the other place's list and set, crops, real clips."""

    val: Path
    elsewhere: Path
    root: Path
    clips: Path
    val_set: str = "val"
    elsewhere_set: str = "dev"


@dataclass(frozen=True)
class Part:
    """Faces of one label and kind: uint8 RGB (N, 320, 320, 3) in a file; owners: whose each is, by number."""

    group: str
    is_fake: bool
    path: Path
    owners: tuple[int, ...]

    def faces(self) -> np.ndarray:
        """The pictures, read as they are needed."""
        return np.load(self.path, mmap_mode="r")


def drawn(faces: LabelledFaces, label: int, count: int, seed: int = 0) -> list[Path]:
    """`count` faces of a label, or all if there are fewer; the same for every machine."""
    places = np.flatnonzero(faces.labels == label)
    return [faces.paths[place] for place in np.random.default_rng(seed).permutation(places)[:count]]


def dev_set(
    sources: Sources, sizes: Sizes, folder: Path, read_clips: ReadClips,
    failed: Mapping[str, str] | None = None, found_by: Sequence = (),
) -> list[Part]:  # fmt: skip
    """The parts, from `folder` where they lie already; DataError for lists, crops or clips of no use.

    They are made anew where a list, a crop or a clip has changed. failed: as of `kept_parts`; found_by: how
    `read_clips` finds faces, as of `found_by`.
    """
    lists = [
        labelled_faces(path, sources.root, set_name, half="B")
        for path, set_name in ((sources.val, sources.val_set), (sources.elsewhere, sources.elsewhere_set))
    ]
    files = [path for faces in lists for path in faces.paths] + find_media(sources.clips)[0]
    labels = [faces.labels.tolist() for faces in lists]
    named = [*map(str, asdict(sources).values())]
    stated = json.dumps([VERSION, asdict(sizes), named, labels, states_of(files), [*found_by]])
    return kept_parts(folder, stated, lambda: made(sources, sizes, lists, read_clips), failed)


def states_of(files: Iterable[Path]) -> list[list]:
    """Name with its folder, size and time of change of each file."""
    stats = [(path, path.stat()) for path in files]
    return [[f"{path.parent.name}/{path.name}", one.st_size, one.st_mtime_ns] for path, one in stats]


def found_by(config: SubmissionConfig) -> list:
    """What of a config decides which faces are found of a clip."""
    return [
        config.detector, config.detector_weights, config.score_threshold, config.detect_size, config.track,
        config.turn, config.frames, config.frame_stride, config.face_limit,
    ]  # fmt: skip


def kept_parts(
    folder: Path, stated: str, make: Callable[[], Made], failed: Mapping[str, str] | None = None
) -> list[Part]:
    """Parts as they lie in `folder`, if they were made of what is stated; else made and kept there.

    What networks said of other parts, kept beside them, is removed. failed: what `make` fills with the files
    that it has to leave out; with one more the parts are for this time alone.
    """
    folder.mkdir(parents=True, exist_ok=True)
    note = folder / "dev.json"
    if note.is_file():
        kept = json.loads(note.read_text())
        if kept["made_of"] == stated:
            return [
                Part(row["group"], row["is_fake"], folder / row["file"], tuple(row["owners"]))
                for row in kept["parts"]
            ]
        note.unlink()
    for logits in folder.glob("*.npz"):  # of the faces that were here
        logits.unlink()
    parts, before = [], len(failed or ())
    for group, is_fake, owned in make():
        owned = list(owned)
        path = folder / f"{group.replace(' ', '-').replace('/', '-')}-{'fake' if is_fake else 'real'}.npy"
        np.save(path, np.stack([face for _, face in owned]))
        parts.append(Part(group, is_fake, path, tuple(owner for owner, _ in owned)))
    rows = [{**asdict(part), "path": None, "file": part.path.name} for part in parts]
    if len(failed or ()) == before:
        write_whole(note, json.dumps({"made_of": stated, "parts": rows}))
    return parts


def made(sources: Sources, sizes: Sizes, lists: Sequence[LabelledFaces], read_clips: ReadClips) -> Made:
    """The parts as they are made; lists: the faces of val and of the other place."""
    val, other = lists
    chosen = {0: drawn(val, 0, sizes.val_reals), 1: drawn(val, 1, sizes.val_fakes)}
    for label, paths in chosen.items():
        for group, damage in {PLAIN: np.asarray, **DAMAGE}.items():
            yield group, bool(label), damaged(paths, group, damage)
    yield SWAPS, True, swaps(chosen[0], drawn(val, 0, len(val)), len(val))
    reals = drawn(other, 0, sizes.elsewhere)
    yield ELSEWHERE, False, damaged(reals, ELSEWHERE, np.asarray)
    yield SWAPS_ELSEWHERE, True, swaps(reals, drawn(other, 0, len(other)), sizes.swaps_elsewhere)
    yield CLIPS, False, clip_faces(sources.clips, read_clips, sizes.clip_faces)


def damaged(paths: list[Path], name: str, damage: Callable) -> Iterator[tuple[int, np.ndarray]]:
    """The faces in these files, each damaged."""
    with Progress(name, len(paths)) as progress:
        for place, path in enumerate(paths):
            yield place, damage(read_face(path))
            progress.update(images=1)


def swaps(targets: list[Path], donors: list[Path], most: int) -> Iterator[tuple[int, np.ndarray]]:
    """Fakes made of the first `most` targets for which there is a donor."""
    ready, count = Donors(donors), 0
    with Progress("swaps", len(targets)) as progress:
        for place, path in enumerate(targets):
            progress.update(images=1)
            swap = ready.swap(path, 0) if count < most else None
            if swap is not None:
                rng = np.random.default_rng(swap.seed)
                fake = swap_crop(read_face(path), read_face(swap.donor), swap.blend, rng)
                if fake is not None:
                    count += 1
                    yield place, fake
    if not count:
        raise DataError(f"none of {len(targets)} real faces fits another in colour and pose; take more")


def clip_faces(folder: Path, read_clips: ReadClips, limit: int) -> Iterator[tuple[int, np.ndarray]]:
    """The first faces of the clips in a folder, the clip's number before each."""
    for number, faces in enumerate(read_clips(find_media(folder)[0])):
        yield from ((number, face) for face in faces[:limit])
