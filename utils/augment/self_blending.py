"""Self-blended images: a fake made of one real face (Shiohara and Yamasaki, CVPR 2022, sections 3.1-3.3).

Two copies of the face that differ a little in colour, sharpness and place are blended under a mask. What is
left is what blended fakes of any maker share: a seam, and two halves that don't quite belong together.
Written from the paper's description. It takes its masks from 81 landmarks. Here an outline of the
face is laid through the five that the detector gives, or it is the hull of a landmark model's points.
"""

from __future__ import annotations

import cv2
import numpy as np

from utils.augment.effects import unsharp
from utils.faces.align import TEMPLATE, common_extent, extent_mask
from utils.faces.mesh import part_of

# Outlines in the aligned face, x left of its middle (160) and y; each is mirrored to the other side.
_JAW = ((-62, 150), (-59, 180), (-51, 213), (-34, 243), (-14, 261))
_BROWS = ((-60, 124), (-42, 107), (-16, 110))
OUTLINES = {
    "face": (*_JAW, *_BROWS),
    "face with forehead": (*_JAW, (-60, 118), (-46, 86), (-18, 76)),
    "lower face": ((-58, 185), (-51, 213), (-34, 243), (-14, 261), (-16, 160), (-36, 176)),
    "mouth": ((-34, 222), (-26, 203), (-8, 198), (-24, 244), (-8, 250)),
    "eyes and nose": ((-60, 150), *_BROWS, (-48, 166), (-20, 196)),
}
SHARES = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)  # of the source in the blend; section 3.3
JITTER = 3.5  # pixels, deviation of an outline's points
ELASTIC = (3, 7), 6.0  # cells of the displacement grid (from, to), largest deviation in pixels
MAX_SHIFT, MAX_SCALE = (0.03, 0.015), 0.05  # of the source: shares of FACE_WIDTH in x and y; section 3.1
FACE_WIDTH = 168
LEAST = 0.15  # share of the outline's area that must lie inside the picture


def self_blended(
    face: np.ndarray, rng: np.random.Generator, landmarks: np.ndarray = TEMPLATE
) -> tuple[np.ndarray, np.ndarray]:
    """A fake of an aligned real face, uint8 RGB (S, S, 3), and its mask; see `target_and_blend`."""
    return target_and_blend(face, rng, landmarks)[1:]


def target_and_blend(
    face: np.ndarray,
    rng: np.random.Generator,
    landmarks: np.ndarray = TEMPLATE,
    is_plain: bool = False,
    mesh: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The target copy of an aligned real face, a fake made on it, both uint8 RGB (H, W, 3), and the mask.

    landmarks: (5, 2) x, y in pixels of the face; is_plain: whether the target is the face as it is, else it
    may be changed in colour and sharpness all over; mesh: the face's points (len(mesh.POINTS), 2), if known.
    Mask: float32 (H, W) in 0..1; where it is 0 both are the same. Beyond the picture's edge it is 0, and
    black stays black. It is empty only if no picture is where the landmarks are.
    """
    source, target = different_copies(face, rng)
    if is_plain and target is not face:
        source, target = target, source
    shift = source_shift(rng, landmarks.mean(axis=0))
    source = cv2.warpAffine(
        source, shift, face.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    extent = extent_mask(face)
    mask = blending_mask(common_extent(extent, extent, shift), landmarks, rng, mesh)
    weight = mask[..., None] * np.float32(rng.choice(SHARES))
    blended = (source * weight + target * (1 - weight)).round().astype(np.uint8)
    target, blended = (cv2.copyTo(image, extent, np.zeros_like(face)) for image in (target, blended))
    return target, blended, mask


def different_copies(face: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Source and target: one of the two, drawn, changed in colour and in sharpness (section 3.1)."""
    changed = other_sharpness(other_colour(face, rng), rng)
    return (changed, face) if rng.random() < 0.5 else (face, changed)


def other_colour(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Channels shifted, hue, saturation and value shifted, brightness and contrast changed; each a little."""
    image = face.astype(np.float32)
    if rng.random() < 0.5:
        image += rng.uniform(-12, 12, 3).astype(np.float32)
    if rng.random() < 0.6:
        hsv = cv2.cvtColor(image.clip(0, 255) / 255, cv2.COLOR_RGB2HSV)  # hue 0..360, the others 0..1
        hsv[..., 0] = (hsv[..., 0] + np.float32(rng.uniform(-12, 12))) % 360
        hsv[..., 1:] = (hsv[..., 1:] * rng.uniform(0.82, 1.2, 2).astype(np.float32)).clip(0, 1)
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB) * 255
    gain, offset = rng.uniform(0.88, 1.12), rng.uniform(-12, 12)
    middle = np.float32(image.mean())
    image = (image - middle) * np.float32(gain) + middle + np.float32(offset)
    return image.round().clip(0, 255).astype(np.uint8)


def other_sharpness(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Sharpened, or scaled down by 1.5 to 3.5 and up again, or left."""
    kind = rng.choice(3)
    if kind == 0:
        return face
    if kind == 1:
        return unsharp(face, rng.uniform(0.3, 1.2), 1.5)
    down = rng.choice((cv2.INTER_AREA, cv2.INTER_LINEAR))
    up = rng.choice((cv2.INTER_LINEAR, cv2.INTER_CUBIC))
    by = rng.uniform(1.5, 3.5)
    size = round(face.shape[1] / by), round(face.shape[0] / by)
    small = cv2.resize(face, size, interpolation=int(down))
    return cv2.resize(small, face.shape[1::-1], interpolation=int(up))


def source_shift(rng: np.random.Generator, centre: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix that scales the source about the centre, each axis its own, and moves it a little."""
    scale = rng.uniform(1 - MAX_SCALE, 1 + MAX_SCALE, 2)
    move = rng.uniform(-1, 1, 2) * MAX_SHIFT * np.array(FACE_WIDTH)
    return np.column_stack([np.diag(scale), centre - scale * centre + move])


def blending_mask(
    inside: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, mesh: np.ndarray | None = None
) -> np.ndarray:
    """A soft mask of a part of the face, 0 where `inside` (S, S) is: float32 (S, S) in 0..1 (section 3.2).

    An outline's convex hull, its points moved at random, deformed, grown or shrunk, blurred. An outline of
    which next to nothing lies inside gives way to another, at last to the whole face.
    """
    names = [*rng.permutation(list(OUTLINES)), "face with forehead"]
    for name in names:
        hull = cv2.convexHull(outline(name, landmarks, rng, mesh))
        mask = np.zeros(inside.shape, np.uint8)
        cv2.fillConvexPoly(mask, hull, 255)
        mask = elastic(mask, rng)
        if np.count_nonzero(mask & inside) >= LEAST * max(np.count_nonzero(mask), 1):
            break
    return soft(mask & inside, inside, rng)


def outline(
    name: str, landmarks: np.ndarray, rng: np.random.Generator, mesh: np.ndarray | None = None
) -> np.ndarray:
    """Points (N, 2) int32 of an outline, jittered: the mesh's, else laid on the landmarks (5, 2)."""
    points = laid_on(landmarks, name) if mesh is None else part_of(mesh, name)
    return (points + rng.normal(0, JITTER, points.shape)).round().astype(np.int32)


def laid_on(landmarks: np.ndarray, name: str) -> np.ndarray:
    """Points (N, 2) of an outline of `OUTLINES`, laid on the landmarks (5, 2) by the best affine map."""
    half = np.array(OUTLINES[name], np.float64)
    points = np.concatenate([half + (160, 0), half * (-1, 1) + (160, 0)])  # (N, 2)
    known = np.column_stack([TEMPLATE, np.ones(5)])
    matrix = np.linalg.lstsq(known, np.asarray(landmarks, np.float64), rcond=None)[0]  # (3, 2)
    return np.column_stack([points, np.ones(len(points))]) @ matrix


def elastic(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask with its pixels moved along a smooth random field."""
    (few, many), most = ELASTIC
    cells, strength = int(rng.integers(few, many + 1)), rng.uniform(0, most)
    field = rng.normal(0, strength, (cells, cells, 2)).astype(np.float32)
    field = cv2.resize(field, mask.shape[::-1], interpolation=cv2.INTER_CUBIC)
    y, x = np.indices(mask.shape, np.float32)
    return cv2.remap(mask, x + field[..., 0], y + field[..., 1], cv2.INTER_LINEAR)


def soft(mask: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The mask (S, S) uint8 grown or shrunk by some pixels and with a soft edge, never outside `inside`."""
    grow = int(rng.integers(-6, 7))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * abs(grow) + 1,) * 2)
    grown = (cv2.dilate if grow > 0 else cv2.erode)(mask, kernel)
    grown = (grown if grown.any() else mask) & inside
    edge = rng.uniform(1.0, 8.0)
    blurred = cv2.GaussianBlur(grown.astype(np.float32) / 255, (0, 0), edge)
    # Towards the picture's edge it fades as well: a hard end there would be a seam that no fake has.
    to_edge = cv2.distanceTransform(inside, cv2.DIST_L2, 3)
    return blurred * (to_edge / np.float32(2 * edge)).clip(0, 1)
