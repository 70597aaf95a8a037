"""Notebooks, run as a whole: in a kernel of their own, or in this process."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]


def read(name: str, **settings: Any) -> nbformat.NotebookNode:
    """A notebook of this repository, with a cell that changes settings behind the one that has them."""
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    place = next(n for n, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ()))
    changes = "\n".join(f"{key} = {value!r}" for key, value in settings.items())
    assert set(settings) <= set(namespace_of(notebook.cells[place].source))
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(changes))
    return notebook


def namespace_of(source: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(source, names)
    return names


def run(notebook: nbformat.NotebookNode, folder: Path, seconds: int = 900) -> list[list[dict]]:
    """Run all cells in a kernel that works in `folder`; each code cell's outputs. Raises what one raises."""
    NotebookClient(notebook, timeout=seconds, resources={"metadata": {"path": str(folder)}}).execute()
    return [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]


def text_of(outputs: list[dict]) -> str:
    """All that cells printed, and what they show as text."""
    found = []
    for output in outputs:
        found.append(output.get("text", ""))
        found.append(output.get("data", {}).get("text/plain", ""))
    return "\n".join(found)


def run_here(notebook: nbformat.NotebookNode) -> list[Any]:
    """Run all cells in this process; what they show: what is displayed, and the value of each last line."""
    shown: list[Any] = []
    names: dict[str, Any] = {"display": shown.append}
    for cell in notebook.cells:
        if cell.cell_type != "code":
            continue
        tree = ast.parse(cell.source)
        last = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "cell", "exec"), names)
        if last is not None:
            shown.append(eval(compile(last, "cell", "eval"), names))
    return [value for value in shown if value is not None]
