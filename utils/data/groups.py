"""Training samples that are groups: one real face and fakes that share everything else with it.

Kinds: "fake" is a real face and its own fake of the data set; "blend" the copy of a face that self-blending
took as its target, and the blend (Shiohara and Yamasaki, CVPR 2022); "swap" a face and the same with another
person's laid on it; "trio" a real face, its own fake, and its self-blend. All members of a group get the same
`Transform`. What a group is depends on (seed, epoch, index) alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from utils.augment.alike import Alike, reach
from utils.augment.grafting import grafted, nearest_donor
from utils.augment.self_blending import target_and_blend
from utils.core.errors import DataError
from utils.data.batches import Sample
from utils.data.crops import crop_landmarks
from utils.data.datasets import read_crop
from utils.data.meshes import Meshes
from utils.data.sampling import SampleKey, plain_order
from utils.data.sources import Source
from utils.weights.preprocess import Preprocess

PAIRED = ("fake", "trio")  # kinds that need a fake of the data set
OTHERS = 20  # groups that are tried in place of one whose crops can't be read


@dataclass(frozen=True)
class Stream:
    """Groups of one kind, made of one source; share: of all groups."""

    kind: str
    source: Source
    share: float

    def __len__(self) -> int:
        """Faces that such groups can be made of; a swap takes two."""
        faces = len(self.source.pairs if self.kind in PAIRED else self.source.reals)
        return 0 if self.kind == "swap" and faces == 1 else faces


class UnreadableError(Exception):
    """A crop can't be read; the text says which and why."""


class GroupedFaces(Dataset):
    """A `Sample` is a group, uint8 RGB (G, size, size, 3); `length` of them are an epoch.

    Each epoch has every stream's share of groups, in random order, and goes on through the stream's faces
    where the last one stopped: all of them come before one comes again. meshes: points for the masks, where
    they are known; without, masks come from the detector's landmarks.
    """

    def __init__(
        self,
        streams: Sequence[Stream],
        length: int,
        preprocess: Preprocess,
        seed: int,
        meshes: Meshes | None = None,
    ):
        self.streams, self.preprocess, self.seed = list(streams), preprocess, seed
        self.counts = shared_out(length, [stream.share for stream in streams])
        empty = [
            stream for stream, count in zip(streams, self.counts, strict=True) if count and not len(stream)
        ]
        if empty:
            raise DataError(f"no group {empty[0].kind!r} can be made of the source {empty[0].source.name!r}")
        self.augmentation, self.meshes = Alike(), meshes
        self.box = reach(preprocess)
        swapped = {id(stream.source): stream.source for stream in streams if stream.kind == "swap"}
        self.poses = {key: source.landmarks() for key, source in swapped.items()}
        self._plan: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        return int(self.counts.sum())

    def __getitem__(self, key: SampleKey) -> Sample:
        rng = np.random.default_rng((self.seed, key.epoch, key.index))
        number, place = self.plan(key.epoch)[key.index]
        stream, broken = self.streams[number], []
        for _ in range(OTHERS):
            try:
                faces, labels = self.members(stream, place, rng)
                break
            except UnreadableError as error:
                broken.append(str(error))
                place = rng.integers(len(stream))
        else:
            return Sample(None, torch.zeros(0, dtype=torch.int64), key, broken)
        transform = self.augmentation.draw(self.preprocess, rng)
        images = np.stack([transform(face, self.box[:2]) for face in faces])
        return Sample(torch.from_numpy(images), torch.tensor(labels), key, broken)

    def epoch_order(self, epoch: int) -> np.ndarray:
        """An epoch's groups in training order: (N,) of dtype ORDER."""
        return plain_order(range(len(self)))

    def members(
        self, stream: Stream, place: int, rng: np.random.Generator
    ) -> tuple[list[np.ndarray], list[int]]:
        """Faces of a group before augmentation, uint8 RGB, cut to `box`, and labels. UnreadableError."""
        source = stream.source
        real, fake = source.pairs[place] if stream.kind in PAIRED else (source.reals[place], None)
        frame = int(rng.choice(source.videos.frames[real]))
        face, landmarks = self._read(source.path(real, frame))
        mesh = self._mesh(source.path(real, frame))
        if stream.kind == "fake":
            return [face, self._read(source.path(fake, frame))[0]], [0, 1]
        if stream.kind == "trio":
            target, blend, _ = target_and_blend(face, rng, landmarks, is_plain=True, mesh=mesh)
            return [target, self._read(source.path(fake, frame))[0], blend], [0, 1, 1]
        if stream.kind == "blend":
            return list(target_and_blend(face, rng, landmarks, mesh=mesh)[:2]), [0, 1]
        donor = source.reals[nearest_donor(self.poses[id(source)], place, rng)]
        other, its_landmarks = self._read(source.path(donor, frame))
        return [face, grafted(face, other, (landmarks, its_landmarks), rng, mesh)[0]], [0, 1]

    def plan(self, epoch: int) -> np.ndarray:
        """Stream and place in it of each group of an epoch: (N, 2)."""
        if self._plan is None or self._plan[0] != epoch:
            parts = []
            for number, (stream, count) in enumerate(zip(self.streams, self.counts, strict=True)):
                places = self._faces(number, len(stream), int(count), epoch)
                parts.append(np.column_stack([np.full(len(places), number), places]))
            rows = np.random.default_rng((self.seed, epoch)).permutation(np.concatenate(parts))
            self._plan = epoch, rows.astype(np.int64)
        return self._plan[1]

    def _faces(self, number: int, size: int, count: int, epoch: int) -> np.ndarray:
        """Places of a stream's faces in an epoch (count,), from endless shuffled passes over all of them."""
        if count == 0:
            return np.empty(0, np.int64)
        first, last = epoch * count, (epoch + 1) * count
        passes = range(first // size, (last - 1) // size + 1)
        orders = [np.random.default_rng((self.seed, number, turn, size)).permutation(size) for turn in passes]
        start = first - passes[0] * size
        return np.concatenate(orders)[start : start + count]

    def _read(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """A face, cut to what augmentation may reach, and its landmarks in that part's pixels."""
        face, reason = read_crop(path)
        if face is None:
            raise UnreadableError(f"{path}: {reason}")
        x1, y1, x2, y2 = self.box
        return np.ascontiguousarray(face[y1:y2, x1:x2]), crop_landmarks(path) - (x1, y1)

    def _mesh(self, path: Path) -> np.ndarray | None:
        """A face's points in the pixels of what `_read` gives, if they are known."""
        points = None if self.meshes is None else self.meshes.of(path)
        return None if points is None else points - self.box[:2]

    def content(self) -> bytes:
        """What a digest of the data set is made of."""
        sources = {id(stream.source): stream.source for stream in self.streams}.values()
        parts = [part for source in sources for part in (source.videos.content(), source.pairs.tobytes())]
        return b"".join([*parts, self.counts.tobytes()])

    def file(self, key: SampleKey) -> str:
        """The real crop that a group is made of, if it is readable."""
        number, place = self.plan(key.epoch)[key.index]
        stream = self.streams[number]
        real = stream.source.pairs[place][0] if stream.kind in PAIRED else stream.source.reals[place]
        return str(stream.source.path(real, 0))

    def describe(self, order: np.ndarray) -> str:
        """How many groups of an epoch, (N,) of dtype ORDER, are of which kind and source."""
        counts = np.bincount(self.plan(0)[order["index"], 0], minlength=len(self.streams))
        return ", ".join(
            f"{count:,} groups {stream.kind!r} of {len(stream):,} faces of {stream.source.name!r}"
            for stream, count in zip(self.streams, counts, strict=True)
        )


def shared_out(total: int, shares: Sequence[float]) -> np.ndarray:
    """`total` in whole parts by shares (any sum), the largest remainders rounded up."""
    exact = total * np.asarray(shares, np.float64) / sum(shares)
    counts = np.floor(exact).astype(np.int64)
    rest = np.argsort(counts - exact, kind="stable")[: total - counts.sum()]
    counts[rest] += 1
    return counts
