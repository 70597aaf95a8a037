"""A file of face-mesh points of many aligned crops, which training takes its masks from.

NPZ: `crops` (N,) strings such as `video/009.png`; `points` (N, P, 2) int16, x, y in pixels of the crop;
`indices` (P,) the points' numbers in the mesh. Crops in which no face was found aren't in it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from utils.core.errors import DataError
from utils.core.files import write_whole
from utils.faces.mesh import POINTS


def crop_key(path: Path) -> str:
    """What the file calls a crop: its folder and its name."""
    return f"{path.parent.name}/{path.name}"


class Meshes:
    """Points by crop; loaded once, and shared by the loading processes that are forked."""

    def __init__(self, crops: Sequence[str], points: np.ndarray):
        self.points = points
        self.places = {crop: place for place, crop in enumerate(crops)}

    def __len__(self) -> int:
        return len(self.points)

    def __contains__(self, path: Path) -> bool:
        return crop_key(path) in self.places

    def of(self, path: Path) -> np.ndarray | None:
        """Points (len(POINTS), 2) float64 of a crop, in its pixels; None for one that isn't in the file."""
        place = self.places.get(crop_key(path))
        return None if place is None else self.points[place].astype(np.float64)


def write_meshes(path: Path, crops: Sequence[str], points: np.ndarray) -> None:
    """Write points (N, len(POINTS), 2) of N crops; whole whenever the file is there. Raises OSError."""
    data = io.BytesIO()
    np.savez_compressed(data, crops=np.array(crops), points=points.round().astype(np.int16), indices=POINTS)
    write_whole(path, data.getbuffer())


def read_meshes(path: str | Path) -> Meshes:
    """The points in a file; DataError if it can't be read, or holds other points than today's."""
    try:
        with np.load(path, allow_pickle=False) as file:
            crops, points, indices = (file[name] for name in ("crops", "points", "indices"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing (masks); tools/find_mesh.py writes it") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} (masks) is no file of tools/find_mesh.py: {reason}") from None
    if tuple(indices.tolist()) != POINTS or points.shape != (len(crops), len(POINTS), 2):
        raise DataError(
            f"{path} (masks) holds other points than are needed; tools/find_mesh.py writes it anew"
        )
    return Meshes(crops.tolist(), points)
