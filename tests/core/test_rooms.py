"""The rooms of `utils`: nobody imports from a room above his own, and no two rooms need each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Each room, and what it may import from besides itself and `models`.
MAY_IMPORT = {
    "core": set(),
    "weights": {"core"},
    "faces": {"core", "weights"},
    "augment": {"core", "weights", "faces"},
    "data": {"core", "weights", "faces", "augment"},
    "training": {"core", "weights", "faces", "augment", "data"},
    "scoring": {"core", "weights", "faces"},
    "report": {"core", "weights", "faces", "scoring"},
    "evaluation": {"core", "weights", "faces", "augment", "data", "scoring"},
}


def imported_rooms(path: Path) -> set[str]:
    """First parts below `utils` of all that a file imports, wherever in it."""
    names = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("utils.")}


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_from_those_below_it_alone(room):
    files = list((ROOT / "utils" / room).glob("*.py"))
    assert files
    for path in files:
        assert imported_rooms(path) <= MAY_IMPORT[room] | {room}, path


def test_every_module_lies_in_a_room():
    rooms = {path.name for path in (ROOT / "utils").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert rooms == set(MAY_IMPORT)
    # `utils.wsdan` only hands on a name that is known outside.
    assert {path.name for path in (ROOT / "utils").glob("*.py")} == {"__init__.py", "wsdan.py"}


def test_networks_know_nothing_of_the_rooms():
    for path in (ROOT / "models").glob("*.py"):
        assert not imported_rooms(path), path
