"""Face crops as training and validation samples.

Whatever is random (frame, augmentation) depends on (seed, epoch, sample) alone: neither the number of workers
nor of processes nor a resumed run changes it. A sample is therefore asked for as (epoch, index).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from utils.augment.self_blending import self_blended
from utils.data.crops import crop_landmarks, crop_name
from utils.data.lists import Videos
from utils.data.sampling import with_self_blended
from utils.weights.preprocess import FACE_SIZE, Preprocess

# A broken crop is replaced by one of so many others of its video, else of other videos of its label.
OTHER_FRAMES, OTHER_VIDEOS = 5, 20

Augmentation = Callable[[np.ndarray, Preprocess, np.random.Generator, int], np.ndarray]


def sample_counts(videos: Videos, real_fraction: float, fake_fraction: float) -> np.ndarray:
    """Samples of each video (V,): its share of the frames, half to even, from 1 to its number of crops."""
    fraction = np.where(videos.labels == 1, fake_fraction, real_fraction)
    counts = np.rint(videos.n_frames * fraction).astype(np.int64)
    return counts.clip(1, [len(frames) for frames in videos.frames])


class Sample(NamedTuple):
    """One face: image (None: no readable crop was found), label, sample index, broken crops met."""

    image: Tensor | None
    label: int
    index: int
    broken: list[str]


class Batch(NamedTuple):
    """images (B, ...) (None: a sample without any readable crop), labels (B,), indices (B,), broken crops."""

    images: Tensor | None
    labels: Tensor
    indices: Tensor
    broken: list[str]


class FaceDataset(Dataset):
    """Samples of videos; `dataset[epoch, index]` is a `Sample`.

    With an augmentation (training): a random frame, float32 (3, size, size), normalised. Without one
    (validation): sample s of a video's `count` is frame n * s // count, and the aligned crop itself, uint8
    RGB (320, 320, 3), for `Preprocess.batch`, which is what scoring does. A frame that was not cropped
    gives way to the nearest that was.

    `index` + `len(dataset)` is the sample at `index`, a real one, made a fake by self-blending.
    """

    def __init__(
        self,
        videos: Videos,
        counts: np.ndarray,
        preprocess: Preprocess,
        seed: int,
        augmentation: Augmentation | None = None,
    ):
        self.videos, self.preprocess, self.seed, self.augmentation = videos, preprocess, seed, augmentation
        self.counts = counts
        self.video_of = np.repeat(np.arange(len(videos)), counts)  # (S,)
        self.within = np.arange(len(self.video_of)) - np.repeat(counts.cumsum() - counts, counts)  # (S,)
        self.labels = videos.labels[self.video_of]  # (S,)

    def __len__(self) -> int:
        return len(self.video_of)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        rng = self._generator(epoch, index)
        blend, place = divmod(index, len(self))
        path, image, broken = self._read(self.video_of[place], self._frame(epoch, place, rng), rng)
        label = 1 if blend else int(self.labels[place])
        if image is None:
            return Sample(None, label, index, broken)
        if self.augmentation is None:
            return Sample(torch.from_numpy(image), label, index, broken)
        if blend:
            image, _ = self_blended(image, rng, crop_landmarks(path))
        image = self.augmentation(image, self.preprocess, rng, label)
        return Sample(self.preprocess.normalise(image), label, index, broken)

    def labels_of(self, indices: np.ndarray) -> np.ndarray:
        """Labels (N,) of samples (N,), self-blended ones included."""
        return np.where(indices >= len(self), 1, self.labels[indices % len(self)])

    def file(self, epoch: int, index: int) -> str:
        """The crop that the sample at `index` is in this epoch, if it is readable."""
        rng = self._generator(epoch, index)
        place = index % len(self)
        candidates = self._candidates(self.video_of[place], self._frame(epoch, place, rng), rng)
        return str(self._path(*next(candidates)))

    def _generator(self, epoch: int, index: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, epoch, index))

    def _frame(self, epoch: int, index: int, rng: np.random.Generator) -> int:
        """The frame that is asked for, whether it was cropped or not."""
        video = self.video_of[index]
        # Crops may be of every tenth frame, or begin late: the list counts them, their numbers go further.
        n_frame = max(self.videos.n_frames[video], self.videos.frames[video][-1] + 1)
        if self.augmentation is not None:
            return rng.integers(max(n_frame, 1))
        return n_frame * self.within[index] // self.counts[video]

    def _path(self, name: str, number: int) -> Path:
        return self.videos.root / name / crop_name(number)

    def _read(
        self, video: int, frame: int, rng: np.random.Generator
    ) -> tuple[Path | None, np.ndarray | None, list[str]]:
        """The crop asked for, or what stands in for it: its path, the face, and the broken crops met."""
        broken = []
        for name, number in self._candidates(video, frame, rng):
            path = self._path(name, number)
            image, reason = read_crop(path)
            if image is not None:
                return path, image, broken
            broken.append(f"{path}: {reason}")
        return None, None, broken

    def _candidates(self, video: int, frame: int, rng: np.random.Generator) -> Iterator[tuple[str, int]]:
        """The crop asked for, then what may stand in for it, in random order."""
        frames = self.videos.frames[video]
        nearest = frames[np.abs(frames - frame).argmin()]
        yield self.videos.names[video], nearest
        for number in rng.permutation(frames[frames != nearest])[:OTHER_FRAMES]:
            yield self.videos.names[video], number
        alike = np.flatnonzero(self.videos.labels == self.videos.labels[video])
        for other in rng.permutation(alike[alike != video])[:OTHER_VIDEOS]:
            yield self.videos.names[other], rng.choice(self.videos.frames[other])


class ScheduledFaces(FaceDataset):
    """The WS-DAN trainer's samples: 20 of each video, 12 frames apart, one frame on with each epoch.

    Sample s of a video is frame 12 * s + e % 12, where e is the epoch + 2 in training and 1 in validation.
    """

    SAMPLES, STRIDE = 20, 12
    TRAIN_START, VALID_PHASE = 2, 1

    def __init__(
        self,
        videos: Videos,
        preprocess: Preprocess,
        seed: int,
        augmentation: Augmentation | None = None,
        blended_share: float = 0.0,
    ):
        """blended_share: of an epoch's fake samples, replaced by self-blended real ones."""
        counts = np.full(len(videos), self.SAMPLES)
        super().__init__(videos, counts, preprocess, seed, augmentation)
        self.blended_share = blended_share

    def distinct(self, epoch: int, picks: np.ndarray | None = None) -> np.ndarray:
        """Samples of the videos at `picks` (None: all) in an epoch, each crop once.

        A video without all the frames that are asked for has fewer samples: the nearest crops stand in.
        """
        wanted = self.STRIDE * np.arange(self.SAMPLES) + self._phase(epoch)
        indices = []
        for video in range(len(self.videos)) if picks is None else picks:
            nearest = nearest_places(self.videos.frames[video], wanted)
            indices.append(video * self.SAMPLES + np.unique(nearest, return_index=True)[1])
        return np.concatenate(indices)

    def epoch_order(self, epoch: int) -> np.ndarray:
        """An epoch's samples, shuffled: those of all real videos and of as many fakes, drawn anew."""
        rng = np.random.default_rng((self.seed, epoch))
        reals, fakes = (np.flatnonzero(self.videos.labels == label) for label in (0, 1))
        drawn = rng.choice(fakes, min(len(reals), len(fakes)), replace=False)
        order = rng.permutation(self.distinct(epoch, np.concatenate([reals, np.sort(drawn)])))
        return with_self_blended(order, self.labels[order], len(self), self.blended_share, rng)

    def _phase(self, epoch: int) -> int:
        e = self.VALID_PHASE if self.augmentation is None else epoch + self.TRAIN_START
        return e % self.STRIDE

    def _frame(self, epoch: int, index: int, rng: np.random.Generator) -> int:
        return self.STRIDE * self.within[index] + self._phase(epoch)


def nearest_places(frames: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places in sorted `frames` of those nearest to each of `wanted`; of two at a distance the lower one."""
    after = np.searchsorted(frames, wanted).clip(0, len(frames) - 1)
    before = (after - 1).clip(0)
    return np.where(np.abs(frames[before] - wanted) <= np.abs(frames[after] - wanted), before, after)


def read_crop(path: Path) -> tuple[np.ndarray | None, str]:
    """An aligned face as RGB uint8 (320, 320, 3), or None and the reason why it can't be used."""
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        return None, error.strerror or "can't be read"
    # A PNG whose end is missing would be decoded as far as it goes, the rest black.
    if not data[-12:].tobytes().endswith(b"IEND\xaeB`\x82"):
        return None, "not a whole PNG file"
    image = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if image is None:
        return None, "can't be decoded"
    if image.shape[:2] != (FACE_SIZE, FACE_SIZE):
        return None, f"{image.shape[1]}x{image.shape[0]} pixels, not {FACE_SIZE}x{FACE_SIZE}"
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), ""


def collate(samples: list[Sample]) -> Batch:
    """Samples stacked to a batch."""
    images = [sample.image for sample in samples]
    return Batch(
        None if any(image is None for image in images) else torch.stack(images),
        torch.tensor([sample.label for sample in samples]),
        torch.tensor([sample.index for sample in samples]),
        [line for sample in samples for line in sample.broken],
    )


def make_loader(dataset: FaceDataset, batches, num_workers: int, pin_memory: bool = False) -> DataLoader:
    """A loader of `Batch`es that leaves the global random state alone."""
    return DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=num_workers,
        collate_fn=collate,
        worker_init_fn=_start_worker,
        generator=torch.Generator(),
        pin_memory=pin_memory,
    )


def _start_worker(_: int) -> None:
    # The main process decides when to stop, and saves first; it still needs its workers for that moment.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    cv2.setNumThreads(0)
