"""The mean of several weights files of one network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from utils.core.errors import WeightsError
from utils.weights.checkpoint import read_state_dict
from utils.weights.preprocess import PREPROCESS_KEY

# Metadata that are true of each part alone, even where all parts state the same.
OF_PARTS = ("epoch", "steps", "averaged", "validation", "calibrated", "verdict", "mean of")


def entries_of(state: dict[str, Tensor]) -> dict[str, tuple[torch.Size, bool]]:
    """Of each entry its shape, and whether it holds fractions."""
    return {name: (value.shape, value.is_floating_point()) for name, value in state.items()}


def averaged_files(parts: Sequence[tuple[Path, float]]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The mean of weights files by their shares, float32, and its metadata.

    parts: (file, share), the shares sum to 1. Batch norm statistics are averaged too, counters the first
    one's. Metadata: what all parts agree on, the first one's data, the licence that parts state, and the
    parts themselves. WeightsError if a file is unreadable or not finite, names no network, is of another
    network or preprocessing, or states another licence.
    """
    first = parts[0][0]
    wanted, metadata = read_state_dict(first)
    if "network" not in metadata:
        raise WeightsError(f"{first}: names no network; average what tools/export_weights.py writes")
    mean: dict[str, Tensor] = {}
    licence: str | None = None
    agreed = dict(metadata)
    for path, share in parts:
        state, stated = read_state_dict(path)
        for key in ("network", PREPROCESS_KEY):
            if stated.get(key) != metadata.get(key):
                raise WeightsError(f"{path}: its {key} isn't that of {first}")
        agreed = {key: text for key, text in agreed.items() if stated.get(key) == text}
        licence = licence or stated.get("licence")
        if stated.get("licence", licence) != licence:
            raise WeightsError(f"{path}: its licence isn't that of the others: {licence!r}")
        if entries_of(state) != entries_of(wanted):
            raise WeightsError(f"{path}: its entries aren't those of {first}: another network")
        for name, value in state.items():
            if not torch.isfinite(value).all():
                raise WeightsError(f"{path}: {name} holds values that are not finite")
            if value.is_floating_point():
                mean[name] = mean.get(name, 0) + share * value.float()
            else:
                mean.setdefault(name, value)
    agreed = {key: text for key, text in agreed.items() if key not in OF_PARTS}
    if "data" in metadata:
        agreed["data"] = metadata["data"]
    if licence is not None:
        agreed["licence"] = licence
    agreed["mean of"] = ", ".join(f"{share:g} {path.name}" for path, share in parts)
    return mean, agreed
