"""The sha256 sums that external/weights.json states: a shipped file that was changed is refused."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from utils.core.config import ROOT
from utils.core.errors import WeightsError
from utils.core.files import sha256_of

LIST = ROOT / "external" / "weights.json"


def check_sum(path: Path) -> None:
    """Raises WeightsError if a file beside the list isn't the one whose sum stands there, OSError.

    A file that the list doesn't name, or without a sum, is let through: it is the user's own.
    """
    if path.parent.resolve() != LIST.parent.resolve():
        return
    stated = stated_sums().get(path.name)
    if stated is None:
        return
    state = path.stat()
    if sum_of(path, state.st_size, state.st_mtime_ns) != stated:
        raise WeightsError(
            f"{path}: changed or damaged: its sha256 isn't that of external/weights.json; get the file "
            f"anew (git checkout external/{path.name}), or state your own (tools/check_weights.py --sums)"
        )


def stated_sums() -> dict[str, str]:
    """{file: sha256} of the files whose sum the list states; WeightsError for a damaged list."""
    try:
        rows = json.loads(LIST.read_text(encoding="utf-8"))
        return {row["file"]: row["sha256"] for row in rows if row["sha256"]}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise WeightsError(f"{LIST}: can't be read as the list of weights ({error})") from None


@lru_cache(maxsize=16)
def sum_of(path: Path, size: int, modified: int) -> str:
    """The sha256 of a file in its state of size and time of change, in hex."""
    return sha256_of(path)
