"""Fakes to measure with, made of a set's real faces: each with the inner face of another person of the set.

A stand-in for other makers' fakes, of which there may be none to measure with: a network trained on one
maker's and on self-blended faces has seen neither these pairs of people nor Poisson's blending. It is a hint
only, since no other maker works just so. Lists don't say who is in a video, and many videos may show one
person: a donor is of another video, and faces that are much alike are not swapped.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from utils.augment.swapping import BLENDS, oval_mask, swap_crop
from utils.core.console import Progress
from utils.core.errors import DataError
from utils.data.crops import crop_landmarks
from utils.evaluation.measures import TURNED, LabelledFaces, labelled_faces, read_face, turn
from utils.faces.align import extent_mask

CANDIDATES = 96  # drawn for each face at most; the first that is near enough is the donor
FURTHEST = 7.0  # pixels between the landmarks of two aligned faces, root mean square
FURTHEST_COLOUR = 10.0  # distance of two faces' mean Lab: skin, light and brightness
# Correlation of two faces' features. Of DFDC faces near in pose and colour, most pairs above 0.72 show one
# person, of 29 that were looked at between 0.43 and 0.62 one does.
ALIKE = 0.4
INNER_BOX = (95, 100, 225, 268)  # x1, y1, x2, y2 of an aligned face: brows to chin
LEAST_PICTURE = 0.9  # share of the inner face that must not lie beyond the picture's edge


@dataclass(frozen=True)
class Look:
    """Mean Lab (3,) of the inner face, landmarks (5, 2) in the aligned face, and its features (884,).

    pattern: see `pattern_of`; the mean product of two is their correlation.
    """

    colour: np.ndarray
    landmarks: np.ndarray
    pattern: np.ndarray


@dataclass(frozen=True)
class Swap:
    """How one fake is made: whose face, blended how, drawn by which seed."""

    donor: Path
    blend: str
    seed: tuple[int, ...]


@dataclass(frozen=True)
class SwappedFaces(LabelledFaces):
    """Real faces, then those of them that a donor was found for, as fakes; swaps: of each, None = real."""

    swaps: list[Swap | None]

    def face(self, place: int) -> np.ndarray:
        """One aligned face, uint8 RGB (320, 320, 3), a fake one made now; DataError if it can't be read."""
        face, swap = super().face(place), self.swaps[place]
        if swap is None:
            return face
        fake = swap_crop(face, read_face(swap.donor), swap.blend, np.random.default_rng(swap.seed))
        if fake is None:
            raise DataError(f"{self.paths[place]}: can't be swapped with {swap.donor}; one changed meanwhile")
        return fake

    def described(self) -> str:
        """How many, and how the fakes were made."""
        blends = Counter(swap.blend for swap in self.swaps if swap is not None)
        ways = ", ".join(f"{count} blended in by {blend}" for blend, count in sorted(blends.items()))
        fakes = blends.total()
        return (
            f"{len(self) - fakes} real faces, and {fakes} face swaps made of them instead of the set's "
            f"fakes, with the inner face of another real one ({ways})"
        )

    def groups(self) -> dict[str, np.ndarray]:
        """Places of all real faces and of the fakes of one kind, by kind."""
        blends = np.array([swap.blend if swap else "" for swap in self.swaps])  # (N,)
        there = sorted(set(blends) - {""})
        return {f"swapped by {blend}": np.flatnonzero(np.isin(blends, ("", blend))) for blend in there}


def swapped_faces(
    list_path: Path, root: Path, set_name: str, per_video: int = 1, limit: int | None = None, seed: int = 0
) -> SwappedFaces:
    """The real faces of a set of a list, as `labelled_faces` gives them, and the fakes made of them.

    limit: draw so many videos, of which the fake ones are left out. Donors are drawn from all real faces of
    the set; a face's fake depends on them and on the seed, not on the limit. DataError for a list or crops of
    no use, and where no face has a donor.
    """
    reals = reals_of(labelled_faces(list_path, root, set_name, per_video, limit, seed))
    every = Donors(reals_of(labelled_faces(list_path, root, set_name, per_video)))
    swaps = []
    with Progress("donors", len(reals)) as progress:
        for path in reals:
            swaps.append(every.swap(path, seed))
            progress.update(images=1)
    targets = [path for path, swap in zip(reals, swaps, strict=True) if swap is not None]
    if not targets:
        raise DataError(
            f"set {set_name!r} of {list_path}: none of {len(reals)} real faces fits another of its "
            f"{len(every.paths)}, of another video, in colour and pose; take more faces, or --fakes labelled"
        )
    labels = np.repeat([0, 1], [len(reals), len(targets)])
    return SwappedFaces(reals + targets, labels, [None] * len(reals) + [swap for swap in swaps if swap])


def reals_of(faces: LabelledFaces) -> list[Path]:
    """The paths of the real ones."""
    return [faces.paths[place] for place in np.flatnonzero(faces.labels == 0)]


class Donors:
    """Real faces that stand ready to be swapped in. Looks are kept: a face is a candidate for many others."""

    def __init__(self, paths: list[Path]):
        self.paths = paths
        self._places = {path: place for place, path in enumerate(paths)}
        self._looks: dict[Path, Look | None] = {}

    def look(self, path: Path) -> Look | None:
        """As `look_of` the crop; DataError if it can't be read."""
        if path not in self._looks:
            self._looks[path] = look_of(read_face(path), crop_landmarks(path))
        return self._looks[path]

    def swap(self, target: Path, seed: int) -> Swap | None:
        """A donor for one of the faces, of another video; None if the face or every candidate is no use."""
        look, key = self.look(target), (seed, self._places[target])
        if look is None:
            return None
        rng = np.random.default_rng(key)
        blend = BLENDS[rng.integers(len(BLENDS))]
        others = [path for path in self.paths if path.parent != target.parent]
        for place in rng.permutation(len(others))[:CANDIDATES]:
            candidate = self.look(others[place])
            if candidate is not None and fits(look, candidate):
                return Swap(others[place], blend, (*key, 1))
        return None


def fits(one: Look, other: Look) -> bool:
    """Whether two faces are near each other in colour and pose, but not so alike that they may be one's."""
    apart = np.sqrt(np.square(one.landmarks - other.landmarks).sum(axis=1).mean())
    colour = np.linalg.norm(one.colour - other.colour)
    alike = np.mean(one.pattern * other.pattern)
    return bool(apart <= FURTHEST and colour <= FURTHEST_COLOUR and alike <= ALIKE)


def look_of(face: np.ndarray, landmarks: np.ndarray) -> Look | None:
    """The look of an aligned face, uint8 RGB (320, 320, 3), landmarks (5, 2) in its pixels.

    None for one that is neither to be a donor nor a target: turned away, or not all in the picture.
    """
    inner = oval_mask() > 0.5
    seen = inner & (extent_mask(face) > 0)
    if turn(landmarks) > TURNED or seen.sum() < LEAST_PICTURE * inner.sum():
        return None
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return Look(lab[seen].mean(axis=0), landmarks, pattern_of(lab[..., 0]))


def pattern_of(lightness: np.ndarray) -> np.ndarray:
    """Eyes, nose and mouth of an aligned face (320, 320) as light and dark, whatever the lighting: (884,)."""
    x1, y1, x2, y2 = INNER_BOX
    small = cv2.resize(lightness[y1:y2, x1:x2], (26, 34), interpolation=cv2.INTER_AREA)
    fine = (small - cv2.GaussianBlur(small, (0, 0), 6)).ravel()
    return (fine - fine.mean()) / max(fine.std(), 1e-3)
