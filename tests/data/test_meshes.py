"""Files of mesh points: what is written is read; other files are refused."""

import numpy as np
import pytest

from utils.core.errors import DataError
from utils.data.meshes import read_meshes, write_meshes
from utils.faces.mesh import PARTS, POINTS, part_of


def test_points_are_found_by_crop_and_others_are_unknown(tmp_path):
    points = np.random.default_rng(0).uniform(-20, 340, (2, len(POINTS), 2))
    write_meshes(tmp_path / "mesh.npz", ["a/009.png", "b/009.png"], points)
    meshes, faces = read_meshes(tmp_path / "mesh.npz"), tmp_path / "elsewhere" / "faces"
    assert len(meshes) == 2 and faces / "b" / "009.png" in meshes
    assert np.array_equal(meshes.of(faces / "b" / "009.png"), points[1].round())
    assert meshes.of(faces / "a" / "019.png") is None and faces / "c" / "009.png" not in meshes


@pytest.mark.parametrize(
    "content",
    [
        b"", b"text", {"crops": ["a/009.png"]},
        {"crops": ["a/009.png"], "points": np.zeros((1, 4, 2)), "indices": range(4)},
        {"crops": ["a/009.png"], "points": np.zeros((2, len(POINTS), 2)), "indices": POINTS},
    ],
)  # fmt: skip
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "mesh.npz"
    path.write_bytes(content) if isinstance(content, bytes) else np.savez(path, **content)
    with pytest.raises(DataError, match="mesh.npz"):
        read_meshes(path)


def test_parts_are_their_points():
    points = np.column_stack([POINTS, POINTS])
    for name, part in PARTS.items():
        assert part_of(points, name)[:, 0].tolist() == list(part)
