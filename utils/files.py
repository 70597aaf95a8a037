"""Writing files so that each is at every moment the old one or the new one, never half."""

from __future__ import annotations

import json
import os
import shlex
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_whole(path: str | Path, data: bytes | bytearray | memoryview | str) -> None:
    """Write aside, then move into place; text as UTF-8, undecodable file names in it as the bytes they are.

    The aside file has a short hidden name of its own, so that neither long names nor two runs at once get in
    the way; whatever goes wrong, it is removed. Raises OSError, whose `filename` is `path`.
    """
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    aside = os.path.join(os.path.dirname(path), f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        with open(aside, "wb") as file:
            file.write(data)
        os.replace(aside, path)
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None
        raise
    finally:
        if os.path.lexists(aside):
            os.unlink(aside)


def give_report(name: str | Path | None, command: Sequence[str], report: str, data: dict) -> int:
    """Print a report; with a name also write `name`.md, with the command, and `name`.json, its figures.

    data: dicts, lists, strings and numbers; NaN, undefined, becomes null. Returns the exit status. Raises
    OSError.
    """
    print(report)
    if name is None:
        return 0
    line, path = shlex.join(command), Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(f"{path}.md", f"    {line}\n\n{report}\n")
    write_whole(f"{path}.json", json.dumps({"command": line} | without_nan(data), indent=1) + "\n")
    return 0


def without_nan(value: Any) -> Any:
    """Nested dicts and lists with None for NaN, which JSON doesn't have."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if value != value else value
