"""The data sets of the matrix: what the folder of shared data holds, or what is named; made once and kept.

Faces are found as `make_dataset.py` finds them, those of clips as the bundled config does when it scores, but
that of each frame the largest face alone counts, as the published rule has it.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from argparse import Namespace
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from utils.core.config import load_config
from utils.core.console import Progress
from utils.core.errors import ConfigError, DataError
from utils.data.crops import Settings, plan_jobs, split_jobs
from utils.data.extraction import Extractor
from utils.evaluation.clip_work import ReadClips
from utils.evaluation.clips import LabelledClip, labelled_clips
from utils.evaluation.dev_set import Made, Part, damaged, found_by, kept_parts, states_of, swaps
from utils.evaluation.measures import labelled_faces
from utils.faces.upright import detector_of
from utils.faces.video import find_media
from utils.scoring.config import SubmissionConfig
from utils.scoring.scorer import BUNDLED

VERSION = 1  # of what is kept
MOST_FACES = 300  # of each kind, drawn


@dataclass(frozen=True)
class EvalSet:
    """A column: its parts, and what they are in words.

    is_clips: a clip's score is the mean of its faces'; is_paired: a real face and the fake made of it have
    the same owner.
    """

    name: str
    parts: tuple[Part, ...]
    what: str
    is_clips: bool = False
    is_paired: bool = False


# Columns of the shared data: the groups of reals and of fakes, what they are, and whether clips.
SHARED_SETS = {
    "val": ("val", "val", "DFDC's validation faces, one a video; half of them calibrated, half chose", False),
    "swaps": ("val", "swaps", "the same reals, and face swaps made of them by image processing", False),
    "reals": ("reals", None, "UTKFace's faces that were not trained on, real ones only", False),
    "swaps of reals": ("reals", "swaps of reals", "the same, and face swaps made of them", False),
    "clips of reals": ("clips of reals", None, "real clips of signing and talks, the largest face", True),
    "videos": ("videos", "videos", "clips of DFDC and FaceForensics++, the largest face", True),
}


def shared_sets(shared: Path, kept: Path, read: ReadClips) -> list[EvalSet]:
    """The sets of the folder of shared data; kept: where faces are kept. DataError for one of no use."""
    for name in ("faces/faces.csv", "faces/val.tar", "reals/reals.csv", "reals/reals.tar", "videos"):
        if not (shared / name).exists():
            raise DataError(f"{shared}: no {name}; --shared names the folder, or --set sets of your own")
    clips = [*labelled_clips(shared / "videos"), *real_clips(shared / "reals" / "clips")]
    listed = ("faces/faces.csv", "faces/val.tar", "reals/reals.csv", "reals/reals.tar")
    files = [*(shared / name for name in listed), *(clip.path for clip in clips)]
    folder, stated = place_for(kept, files, [clip.label for clip in clips])
    made = kept_parts(folder, stated, partial(_shared_parts, shared, folder, read), read.failed)
    by_key = {(part.group, part.is_fake): part for part in made}
    sets = []
    for name, (real, fake, what, is_clips) in SHARED_SETS.items():
        keys = [(real, False)] + ([(fake, True)] if fake else [])
        parts = tuple(by_key[key] for key in keys)
        sets.append(EvalSet(name, parts, what, is_clips, is_paired="swaps" in name))
    return sets


def place_for(kept: Path, files: Iterable[Path], labels: Sequence[int]) -> tuple[Path, str]:
    """A folder for what is made of files as they are now, with these labels, and what that is."""
    config = load_config(BUNDLED, SubmissionConfig)
    stated = json.dumps([VERSION, MOST_FACES, found_by(config), states_of(files), [*labels]])
    return kept / hashlib.sha256(stated.encode()).hexdigest()[:12], stated


def _shared_parts(shared: Path, folder: Path, read: ReadClips) -> Made:
    faces = pd.read_csv(shared / "faces/faces.csv", dtype=str, keep_default_na=False)
    reals = pd.read_csv(shared / "reals/reals.csv", dtype=str, keep_default_na=False)
    drawn = {
        ("val", label): names_of(faces[(faces["set_name"] == "val") & (faces["is_fake"] == str(label))])
        for label in (0, 1)
    } | {("reals", 0): names_of(reals[reals["set_name"] == "dev"])}
    unpack(shared / "faces/val.tar", drawn["val", 0] + drawn["val", 1], folder / "pictures")
    unpack(shared / "reals/reals.tar", drawn["reals", 0], folder / "pictures")
    crops = extract(folder / "pictures", folder / "faces")
    for (group, label), names in drawn.items():
        paths = [crops[name] for name in names if name in crops]
        yield group, bool(label), damaged(paths, group, np.asarray)
        if not label:
            swapped = "swaps" if group == "val" else f"swaps of {group}"
            yield swapped, True, swaps(paths, paths, len(paths))
    for group, clips in (("clips of reals", real_clips(shared / "reals/clips")),
                         ("videos", labelled_clips(shared / "videos"))):  # fmt: skip
        yield from _clip_parts(group, clips, read)


def names_of(table: pd.DataFrame) -> list[str]:
    """At most MOST_FACES names, the same on every machine."""
    names = np.array(sorted(table["name"]), dtype=object)
    return np.random.default_rng(0).permutation(names)[:MOST_FACES].tolist()


def unpack(archive: Path, names: Iterable[str], folder: Path) -> None:
    """Write pictures, `<any folder>/<name>.jpg`, out of a tar. DataError for one that isn't there."""
    wanted = set(names)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                path = Path(member.name)
                if member.isfile() and path.stem in wanted:
                    wanted.discard(path.stem)
                    (folder / path.name).write_bytes(tar.extractfile(member).read())
    except tarfile.TarError as error:
        raise DataError(f"{archive} can't be read: {error}") from None
    if wanted:
        raise DataError(f"{archive}: {len(wanted)} pictures, such as {min(wanted)}, are not there")


def extract(pictures: Path, folder: Path) -> dict[str, Path]:
    """Name -> the aligned face of each picture that shows one."""
    config = load_config(None, SubmissionConfig, ["runtime=onnxruntime"])
    settings = Settings(
        1, config.detector, config.detector_weights, config.detect_size, config.track, config.score_threshold,
        config.detector_precision,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    jobs = plan_jobs(pictures, find_media(pictures)[0], folder)
    todo = split_jobs(jobs, settings)[0]
    with Progress("faces", len(todo)) as progress:

        def told(done) -> None:
            for _ in range(done.videos + len(done.failures) - progress.done):
                progress.update(images=1)

        if todo:
            detector = detector_of(config, "cpu")
            Extractor(detector, settings, writers=1, batch_size=config.batch_size).run(todo, told)
    found = {job.path.stem: sorted(job.folder.glob("*.png")) for job in jobs}
    return {name: crops[0] for name, crops in found.items() if crops}


def clips_reader(arguments: Namespace) -> ReadClips:
    """What gives the faces of clips: the largest of each frame that the bundled config judges.

    arguments: as of `ReadClips`.
    """
    return ReadClips(load_config(BUNDLED, SubmissionConfig), "cpu", arguments)


def real_clips(folder: Path) -> list[LabelledClip]:
    """All clips of a folder, as real ones."""
    return [LabelledClip(path, 0, path.name) for path in find_media(folder)[0]]


def _clip_parts(group: str, clips: list[LabelledClip], read: ReadClips) -> Made:
    """The faces of clips, by label; an owner is a clip's place. Clips without a face are left out."""
    faces: dict[int, list[tuple[int, np.ndarray]]] = {}
    for place, found in enumerate(read([clip.path for clip in clips])):
        faces.setdefault(clips[place].label, []).extend((place, face) for face in found)
    for label in sorted(faces):
        if faces[label]:
            yield group, bool(label), faces[label]


@dataclass(frozen=True)
class Named:
    """A set of one's own, NAME=PLACE: a folder of labelled clips, or a list and its set, LIST:SET."""

    name: str
    path: Path
    set_name: str

    @classmethod
    def read(cls, text: str) -> Named:
        """ConfigError for another text, DataError for a place that isn't there."""
        name, _, place = text.partition("=")
        path, colon, set_name = place.rpartition(":")
        if Path(place).exists() or not colon:
            path, set_name = place, "val"
        if not name or not place:
            raise ConfigError(f"--set {text!r}: must be NAME=FOLDER of clips, or NAME=LIST:SET of faces")
        if not Path(path).exists():
            raise DataError(f"--set {name}: {path} is not there")
        return cls(name, Path(path), set_name)


def named_sets(
    chosen: list[Named], crops: Path | None, limit: int, kept: Path, read: ReadClips
) -> list[EvalSet]:
    """Sets of one's own; crops: the folder of <video>/<frame>.png for lists, limit: videos drawn of each.

    ConfigError where a list is named without it, DataError for sets of no use.
    """
    sets = []
    for one in chosen:
        is_clips = one.path.is_dir()
        if not is_clips and crops is None:
            raise ConfigError(f"--set {one.name}: a list of faces needs --faces, the folder of its crops")
        if is_clips:
            clips = labelled_clips(one.path)
            paths, labels = [clip.path for clip in clips], [clip.label for clip in clips]
            folder, stated = place_for(kept / one.name, paths, labels)
            make = partial(_clip_parts, one.name, clips, read)
            what = f"{len(clips)} clips of {one.path.name}, the largest face"
        else:
            found = labelled_faces(one.path, crops, one.set_name, limit=limit)
            folder, stated = place_for(kept / one.name, found.paths, found.labels.tolist())
            make = partial(_list_parts, one.name, found)
            what = f"set {one.set_name} of {one.path.name}"
        parts = kept_parts(folder, stated, make, read.failed)
        if not parts:
            raise DataError(f"--set {one.name}: {one.path} shows no face")
        sets.append(EvalSet(one.name, tuple(parts), what, is_clips))
    return sets


def _list_parts(group: str, found) -> Made:
    for label in (0, 1):
        paths = [found.paths[place] for place in np.flatnonzero(found.labels == label)]
        if paths:
            yield group, bool(label), damaged(paths, group, np.asarray)
