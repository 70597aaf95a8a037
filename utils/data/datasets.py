"""Face crops as training and validation samples.

Whatever is random (frame, augmentation) depends on (seed, epoch, sample) alone: neither the number of workers
nor of processes nor a resumed run changes it. A sample is therefore asked for by a `SampleKey`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.utils.data import Dataset

from utils.augment.self_blending import self_blended
from utils.core.shortage import is_short
from utils.data.batches import Sample
from utils.data.crops import crop_landmarks
from utils.data.lists import Videos
from utils.data.sampling import Kind, SampleKey, balanced, with_self_blended
from utils.faces.pngs import critical_parts, size_of
from utils.weights.preprocess import FACE_SIZE, Preprocess

# A broken crop is replaced by one of so many others of its video, else of other videos of its label.
OTHER_FRAMES, OTHER_VIDEOS = 5, 20
MOST_BYTES = 4 << 20  # of a crop's file; 0.3 MB hold its pixels as they are

Augmentation = Callable[[np.ndarray, Preprocess, np.random.Generator], np.ndarray]


def sample_counts(videos: Videos, real_fraction: float, fake_fraction: float) -> np.ndarray:
    """Samples of each video (V,): its share of the frames, half to even, from 1 to its number of crops."""
    fraction = np.where(videos.labels == 1, fake_fraction, real_fraction)
    counts = np.rint(videos.n_frames * fraction).astype(np.int64)
    return counts.clip(1, [len(frames) for frames in videos.frames])


class FaceDataset(Dataset):
    """Samples of videos; `dataset[SampleKey(epoch, index)]` is a `Sample` of one face.

    With an augmentation (training): a random frame, uint8 RGB (1, size, size, 3), which is yet to be
    `Preprocess.normalised`. Without one (validation): the crops that `crops_spread` tells, each the aligned
    crop itself, uint8 RGB (1, 320, 320, 3), for `Preprocess.batch`, as scoring does it.

    counts: samples of each video (V,); is_balanced: an epoch has as many samples of both classes, drawn
    anew; blended_share: of an epoch's fake samples, replaced by self-blended real ones.
    """

    def __init__(
        self,
        videos: Videos,
        counts: np.ndarray,
        preprocess: Preprocess,
        seed: int,
        augmentation: Augmentation | None = None,
        is_balanced: bool = False,
        blended_share: float = 0.0,
    ):
        self.videos, self.preprocess, self.seed, self.augmentation = videos, preprocess, seed, augmentation
        self.counts, self.is_balanced, self.blended_share = counts, is_balanced, blended_share
        self.video_of = np.repeat(np.arange(len(videos)), counts)  # (S,)
        self.within = np.arange(len(self.video_of)) - np.repeat(counts.cumsum() - counts, counts)  # (S,)
        self.labels = videos.labels[self.video_of]  # (S,)

    def __len__(self) -> int:
        return len(self.video_of)

    def __getitem__(self, key: SampleKey) -> Sample:
        rng = self._generator(key)
        path, image, broken = self._read(self.video_of[key.index], self._frame(key, rng), rng)
        label = 1 if key.kind == Kind.SELF_BLENDED else int(self.labels[key.index])
        labels = torch.tensor([label])
        if image is None:
            return Sample(None, labels, key, broken)
        if self.augmentation is None:
            return Sample(torch.from_numpy(image)[None], labels, key, broken)
        if key.kind == Kind.SELF_BLENDED:
            # Of the whole face: of a part the contrast and the mask would be others.
            image, _ = self_blended(image, rng, crop_landmarks(path))
        image = self.augmentation(image, self.preprocess, rng)
        return Sample(torch.from_numpy(np.ascontiguousarray(image))[None], labels, key, broken)

    def epoch_order(self, epoch: int) -> np.ndarray:
        """An epoch's samples in training order: (N,) of dtype ORDER, the same in every process."""
        rng = np.random.default_rng((self.seed, epoch))
        indices = rng.permutation(self._drawn(epoch, rng))
        return with_self_blended(indices, self.labels[indices], self.blended_share, rng)

    def distinct(self, epoch: int) -> np.ndarray:
        """All samples, in order: indices (N,)."""
        return np.arange(len(self))

    def content(self) -> bytes:
        """What a digest of the data set is made of."""
        return self.videos.content() + self.counts.tobytes()

    def describe(self, order: np.ndarray) -> str:
        """How many samples (N,) of dtype ORDER there are of what, of how many videos."""
        blended = int((order["kind"] == Kind.SELF_BLENDED).sum())
        fakes = int(self.labels[order["index"]].sum()) + blended
        real_videos = int((self.videos.labels == 0).sum())
        of_these = f" ({blended:,} of them self-blended real faces)" if blended else ""
        return (
            f"{len(order) - fakes:,} real and {fakes:,} fake samples{of_these} "
            f"of {real_videos:,} real and {len(self.videos) - real_videos:,} fake videos"
        )

    def file(self, key: SampleKey) -> str:
        """The crop that a sample is, if it is readable."""
        rng = self._generator(key)
        candidates = self._candidates(self.video_of[key.index], self._frame(key, rng), rng)
        return str(self.videos.crop(*next(candidates)))

    def _drawn(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        """The samples of an epoch, in no order of their own: indices (N,)."""
        return balanced(self.labels, rng) if self.is_balanced else np.arange(len(self))

    def _generator(self, key: SampleKey) -> np.random.Generator:
        # A self-blended sample draws as one would that lies beyond the end of the data set.
        return np.random.default_rng((self.seed, key.epoch, key.index + key.kind * len(self)))

    def _frame(self, key: SampleKey, rng: np.random.Generator) -> int:
        """The frame that is asked for."""
        video = self.video_of[key.index]
        frames = self.videos.frames[video]
        # Crops may be of every tenth frame, or begin late: the list counts them, their numbers go further.
        n_frame = max(self.videos.n_frames[video], frames[-1] + 1)
        if self.augmentation is not None:
            return crop_drawn(frames, n_frame, rng.integers(max(n_frame, 1)))
        return int(crops_spread(frames, n_frame, self.counts[video])[self.within[key.index]])

    def _read(
        self, video: int, frame: int, rng: np.random.Generator
    ) -> tuple[Path | None, np.ndarray | None, list[str]]:
        """The crop asked for, or what stands in for it: its path, the face, and the broken crops met."""
        broken = []
        for candidate, number in self._candidates(video, frame, rng):
            path = self.videos.crop(candidate, number)
            image, reason = read_crop(path)
            if image is not None:
                return path, image, broken
            broken.append(f"{path}: {reason}")
        return None, None, broken

    def _candidates(self, video: int, frame: int, rng: np.random.Generator) -> Iterator[tuple[int, int]]:
        """The crop asked for, then what may stand in for it, in random order."""
        frames = self.videos.frames[video]
        nearest = frames[np.abs(frames - frame).argmin()]
        yield video, nearest
        for number in rng.permutation(frames[frames != nearest])[:OTHER_FRAMES]:
            yield video, number
        alike = np.flatnonzero(self.videos.labels == self.videos.labels[video])
        for other in rng.permutation(alike[alike != video])[:OTHER_VIDEOS]:
            yield other, rng.choice(self.videos.frames[other])


class ScheduledFaces(FaceDataset):
    """The WS-DAN trainer's samples: 20 of each video, 12 frames apart, one frame on with each epoch.

    Sample s of a video is frame 12 * s + e % 12, where e is the epoch + 2 in training and 1 in validation, or
    the crop nearest to it. Of a video whose crops begin at frame 12 or later, frames count from its first
    crop. Crops from the 240th frame on hardly ever come.
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
        """See `FaceDataset`; an epoch has all real videos and as many fakes, drawn anew."""
        counts = np.full(len(videos), self.SAMPLES)
        super().__init__(videos, counts, preprocess, seed, augmentation, True, blended_share)

    def distinct(self, epoch: int, picks: np.ndarray | None = None) -> np.ndarray:
        """Samples of the videos at `picks` (None: all) in an epoch, each crop once.

        A video without all the frames that are asked for has fewer samples: the nearest crops stand in.
        """
        indices = []
        for video in range(len(self.videos)) if picks is None else picks:
            nearest = nearest_places(self.videos.frames[video], self._scheduled(video, epoch))
            indices.append(video * self.SAMPLES + np.unique(nearest, return_index=True)[1])
        return np.concatenate(indices)

    def _drawn(self, epoch: int, rng: np.random.Generator) -> np.ndarray:
        reals, fakes = (np.flatnonzero(self.videos.labels == label) for label in (0, 1))
        drawn = rng.choice(fakes, min(len(reals), len(fakes)), replace=False)
        return self.distinct(epoch, np.concatenate([reals, np.sort(drawn)]))

    def _scheduled(self, video: int, epoch: int) -> np.ndarray:
        """The frames that a video's samples ask for in an epoch: (20,); they may have no crop."""
        e = self.VALID_PHASE if self.augmentation is None else epoch + self.TRAIN_START
        first = self.videos.frames[video][0]
        # Else all frames before the first crop would ask for that one, and most others never come.
        start = first if first >= self.STRIDE else 0
        return start + self.STRIDE * np.arange(self.SAMPLES) + e % self.STRIDE

    def _frame(self, key: SampleKey, rng: np.random.Generator) -> int:
        return int(self._scheduled(self.video_of[key.index], key.epoch)[self.within[key.index]])


def crops_spread(frames: np.ndarray, n_frame: int, count: int) -> np.ndarray:
    """The crops that `count` samples of a video are: numbers (count,) out of its `frames` (C,), sorted.

    Those nearest to the frames n_frame * s // count, which is the published rule where each of these has a
    crop. Where one would come twice, the crops there are share the samples evenly.
    """
    samples = np.arange(count)
    places = nearest_places(frames, n_frame * samples // count)
    if (np.diff(places) == 0).any():
        places = len(frames) * samples // count
    return frames[places]


def crop_drawn(frames: np.ndarray, n_frame: int, frame: int) -> int:
    """The crop that a draw of `frame` among n_frame means: itself where it is one of `frames` (C,), sorted.

    Frames without a crop share the crops there are evenly among them, wherever those lie.
    """
    below = int(np.searchsorted(frames, frame))
    if below < len(frames) and frames[below] == frame:
        return frame
    without = n_frame - len(frames)
    return int(frames[(frame - below) * len(frames) // without])


def nearest_places(frames: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places in sorted `frames` of those nearest to each of `wanted`; of two at a distance the lower one."""
    after = np.searchsorted(frames, wanted).clip(0, len(frames) - 1)
    before = (after - 1).clip(0)
    return np.where(np.abs(frames[before] - wanted) <= np.abs(frames[after] - wanted), before, after)


def read_crop(path: Path) -> tuple[np.ndarray | None, str]:
    """An aligned face as RGB uint8 (320, 320, 3), or None and the reason why it can't be used."""
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES)
    except OSError as error:
        if is_short(error):
            raise
        return None, error.strerror or "can't be read"
    size = size_of(data)
    if size is not None and size != (FACE_SIZE, FACE_SIZE):  # before it is decoded: it may be any
        return None, f"{size[0]}x{size[1]} pixels, not {FACE_SIZE}x{FACE_SIZE}"
    # A PNG whose end is missing would be decoded as far as it goes, the rest black.
    data = critical_parts(data)
    if data is None:
        return None, "not a whole PNG file"
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        return None, "can't be decoded"
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB), ""
