"""Part (e): how far landmarks, probabilities and AUC move from the reference procedure's.

Measured with the trained networks, MobileNet-0.25 and the bundled classifier, on two sets: the faces of
clips (detection moves, too: sizes, tracking) and stills, one DFDC validation face each, whose labels are of
many different people. The clips' labels are those of few people, so their AUC can only say that an order
changed, not how good the network is.
"""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.inputs import SETTINGS, build_ours, bundled, clip_set, our_detector, stills
from benchmarks.reference import classify, find_face, load_reference, read_frames
from benchmarks.speed import run_extractor
from benchmarks.timing import Row, say
from utils.data.crops import FACES_FILE, Job, crop_name
from utils.faces.align import similarity
from utils.faces.detector import LANDMARK_NAMES
from utils.faces.video import IMAGE_SUFFIXES, read_image

# Further apart than this, in pixels of the crop, two landmarks are of different faces: the eyes are 75 apart.
ANOTHER_FACE = 75


@dataclass(frozen=True)
class AgreementPlan:
    """How many clips, faces of each, and stills; frames between two faces of a clip at most."""

    clips: int = 22
    faces: int = 6
    stills: int = 100
    stride: int = 25


@dataclass(frozen=True)
class Judged:
    """A face by one procedure: landmarks (5, 2) in pixels of the frame, and its probability of fake."""

    landmarks: np.ndarray
    probability: float


Faces = dict[tuple[Path, int], Judged]  # by file and frame


def agreement_rows(plan: AgreementPlan) -> list[Row]:
    """A row for each set of files and each setting."""
    rows = []
    for name, files in (("clips", clip_set(plan.clips)), ("stills", stills(plan.stills))):
        if not files:
            say(f"(e) no {name}: DFDC_SHARED names no folder with faces/val.tar")
            continue
        strides = {clip.path: stride_of(clip.path, plan) for clip in files}
        say(f"(e) {len(files)} {name} by the reference procedure")
        truth = reference_faces(strides)
        for setting, overrides in SETTINGS.items():
            say(f"(e) {len(files)} {name} at the {setting} setting")
            ours = our_faces(bundled(*overrides), strides)
            labels = {clip.path: clip.label for clip in files}
            more = compare(truth, ours, labels)
            counts = {"files": len(files), "fakes": sum(clip.label for clip in files),
                      "made": sum(bool(clip.made_of) for clip in files)}  # fmt: skip
            rows.append(Row(f"agreement {name} {setting}", more={**counts, **more}))
    return rows


def stride_of(path: Path, plan: AgreementPlan) -> int:
    """The plan's stride, less for clips that are too short to give so many faces."""
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return 1
    total = int(cv2.VideoCapture(str(path), cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT))
    return max(1, min(plan.stride, total // plan.faces))


def reference_faces(strides: dict[Path, int]) -> Faces:
    """Every face by the reference procedure."""
    reference = load_reference(bundled())
    places, found = [], []
    for path, stride in strides.items():
        is_image = path.suffix.lower() in IMAGE_SUFFIXES
        for index, frame in [(0, read_image(path))] if is_image else read_frames(path, stride - 1):
            face = find_face(reference.detector, frame)
            if face is not None:
                places.append((path, index))
                found.append(face)
    probabilities = classify(reference.members, [face.crop for face in found])
    return {
        place: Judged(face.landmarks, probability)
        for place, face, probability in zip(places, found, probabilities, strict=True)
    }


def our_faces(config, strides: dict[Path, int]) -> Faces:
    """Every face by this repository: extracted as make_dataset.py does, judged by the config's ensemble."""
    detector, ensemble = our_detector(config), build_ours(config)[1]
    faces = {}
    with tempfile.TemporaryDirectory() as root:
        folders = {path: Path(root) / str(number) for number, path in enumerate(strides)}
        for stride in sorted(set(strides.values())):
            jobs = [Job(path, folder) for path, folder in folders.items() if strides[path] == stride]
            run_extractor(config, detector, jobs, stride)
        for path, folder in folders.items():
            landmarks = read_landmarks(folder / FACES_FILE)
            crops = [cv2.imread(str(folder / crop_name(index)))[:, :, ::-1] for index in landmarks]
            for start in range(0, len(crops), config.batch_size):
                batch = crops[start : start + config.batch_size]
                places = list(landmarks)[start : start + config.batch_size]
                for index, probability in zip(places, ensemble.predict(np.stack(batch)), strict=True):
                    faces[path, index] = Judged(landmarks[index], float(probability))
    return faces


def read_landmarks(path: Path) -> dict[int, np.ndarray]:
    """Frame -> (5, 2) of a faces.csv."""
    with open(path, newline="", encoding="utf-8") as file:
        return {
            int(row["frame"]): np.array(
                [[float(row[f"{name}_{axis}"]) for axis in "xy"] for name in LANDMARK_NAMES]
            )
            for row in csv.DictReader(file)
        }


def compare(truth: Faces, ours: Faces, labels: dict[Path, int]) -> dict:
    """What moved between two procedures, over the frames in which both found a face, maybe not the same."""
    both = [place for place in truth if place in ours]
    distances = [crop_distances(truth[key].landmarks, ours[key].landmarks) for key in both]
    distances = np.stack(distances)  # (N, 5)
    same = distances.mean(axis=1) <= ANOTHER_FACE
    before, after = (np.array([faces[key].probability for key in both]) for faces in (truth, ours))
    shifts = np.abs(after - before)
    of_file = [labels[path] for path, _ in both]
    return {
        "faces": len(both),
        "only_reference": len(truth) - len(both),
        "only_ours": len(ours) - len(both),
        "landmarks_px_mean": float(distances.mean()),
        "landmarks_px_p99": float(np.percentile(distances, 99)),
        "landmarks_px_max": float(distances.max()),
        "other_faces": int((~same).sum()),
        "same_face_px_mean": float(distances[same].mean()) if same.any() else None,
        "same_face_shift_mean": float(shifts[same].mean()) if same.any() else None,
        "probability_shift_mean": float(shifts.mean()),
        "probability_shift_max": float(shifts.max()),
        "faces_beyond_1e-4": int((shifts > 1e-4).sum()),
        "video_shift_mean": video_shift(both, shifts_of=after - before),
        "auc_before": auc(of_file, before),
        "auc_after": auc(of_file, after),
    }


def crop_distances(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(5,) distances between two sets of landmarks in pixels of the 320-pixel crop that `before` gives."""
    matrix = similarity(before)
    scale = 0.0 if matrix is None else np.sqrt(np.linalg.det(matrix[:, :2]))
    return scale * np.linalg.norm(after - before, axis=1)


def video_shift(places: Sequence[tuple[Path, int]], shifts_of: np.ndarray) -> float:
    """Mean over the files of how far their scores, means over their faces, moved."""
    shifts: dict[Path, list[float]] = {}
    for (path, _), shift in zip(places, shifts_of, strict=True):
        shifts.setdefault(path, []).append(shift)
    return float(np.mean([abs(np.mean(values)) for values in shifts.values()]))


def auc(labels: Sequence[int], probabilities: np.ndarray) -> float | None:
    """Area under the ROC curve; None where all labels are the same."""
    return float(roc_auc_score(labels, probabilities)) if len(set(labels)) == 2 else None
