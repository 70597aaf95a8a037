"""Weights and checkpoints: read safely, loaded strictly, written whole or not at all.

Reads `.safetensors` files and what `torch.save` writes: a bare state dict or one under `state_dict`, names
with or without the prefixes `module.` and `model.` that wrappers leave. Nothing in a file is ever executed.
"""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import re
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from utils.core.errors import WeightsError
from utils.core.files import write_whole
from utils.core.shortage import is_short
from utils.weights.pickles import code_in, is_pickle
from utils.weights.preprocess import PREPROCESS_KEY, Preprocess
from utils.weights.sums import check_sum

WRAPPER_PREFIXES = ("module.", "model.")
TRAINING_KEYS = {"image_size", "mean", "std", "window"}  # of our config, and what preprocessing follows from

_NUMBERS = "?bBhHiIlLqQefd"
# Training logs inside published checkpoints hold numpy numbers, written by numpy 1 (`numpy.core`) or 2.
_PLAIN_NUMPY = [
    np.ndarray,
    np.dtype,
    *{type(np.dtype(code)) for code in _NUMBERS},
    *[
        (rebuild, f"numpy.{core}.multiarray.{rebuild.__name__}")
        for core in ("core", "_core")
        for rebuild in (np.float64().__reduce__()[0], np.empty(0).__reduce__()[0])
    ],
]
# How torch names what it refuses to build from a pickle.
_UNSAFE = re.compile(r"(?:GLOBAL |but got <class ')(\w+(?:\.\w+)+)")
# What reading a damaged file ends in, depending on where the damage is.
_DAMAGE = (
    AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError, OverflowError,
    RuntimeError, SystemError, TypeError, ValueError, pickle.UnpicklingError, struct.error,
)  # fmt: skip


def read_state_dict(
    path: str | Path, config_key: str | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """The tensors of a weights file by name, wrapper prefixes stripped, on the CPU; and its metadata.

    Metadata: the strings of a safetensors header; of a training checkpoint of ours, its
    preprocessing; else empty. Raises WeightsError, one line that names the
    file (and `config_key`, the key that named it), if it is missing, damaged, not plain data or no weights.
    """
    path = _existing(path, config_key)
    metadata: dict[str, str] = {}
    if path.suffix == ".safetensors" and not is_pickle(path):
        state, metadata = _read_safetensors(path)
    else:
        state = _read_pickle(path)
        if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
            metadata, state = _stated(state, path), state["state_dict"]
    if not isinstance(state, Mapping) or not state:
        raise WeightsError(f"{path}: holds no weights (a state dict, bare or under 'state_dict', is needed)")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise WeightsError(f"{path}: no state dict: the entry {name!r} is a {type(value).__name__}")
    return _strip_prefixes(dict(state)), metadata


def read_metadata(path: str | Path, config_key: str | None = None) -> dict[str, str]:
    """The metadata of a safetensors file, its tensors left alone; none of another file. WeightsError."""
    path = _existing(path, config_key)
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, *_DAMAGE) as error:
        raise _damaged(path, error) from None


def load_weights(model: torch.nn.Module, path: str | Path, config_key: str | None = None) -> dict[str, str]:
    """Load a weights file into `model`, in place and in the model's own dtypes; returns its metadata.

    Strict: WeightsError names the file and the entry that is missing, not of this network, of another shape
    or not finite. Only `num_batches_tracked`, which torch before 0.4.1 didn't save, may be absent throughout.
    """
    state, metadata = read_state_dict(path, config_key)
    _check(state, model.state_dict(), str(path))
    model.load_state_dict(state, strict=False)
    return metadata


def load_pretrained(
    model: torch.nn.Module,
    path: str | Path,
    config_key: str | None = None,
    classifier: tuple[str, ...] = ("last_linear.", "fc."),
) -> None:
    """Start `model` from weights trained for another task: strict as `load_weights`, but for the classifier.

    Entries whose names start with one of `classifier` are neither needed nor used; the model keeps its own.
    """
    state, _ = read_state_dict(path, config_key)
    kept = {name: value for name, value in state.items() if not name.startswith(classifier)}
    own = {name: value for name, value in model.state_dict().items() if not name.startswith(classifier)}
    _check(kept, own, str(path))
    model.load_state_dict(kept, strict=False)


def save_weights(
    model: torch.nn.Module,
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write the model's state dict as safetensors, floating-point entries in `dtype`, the rest as they are.

    Raises WeightsError if a value doesn't fit `dtype`, OSError if the disk does not take the file.
    """
    save_state_dict(model.state_dict(), path, metadata, dtype)


def save_state_dict(
    state: Mapping[str, torch.Tensor],
    path: str | Path,
    metadata: Mapping[str, str] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """`save_weights` for a state dict that is at hand."""
    tensors = {}
    for name, value in state.items():
        value = value.detach().cpu()
        if value.is_floating_point():
            value = value.to(dtype)
            if not torch.isfinite(value).all():
                raise WeightsError(f"{path}: {name} holds values that are not finite in {dtype}; not written")
        tensors[name] = value.clone(memory_format=torch.contiguous_format)
    write_whole(_make_folder(path), safetensors.torch.save(tensors, dict(metadata or {})))


def describe_weights(path: Path, metadata: Mapping[str, str]) -> str:
    """A weights file that was written: its size, and its metadata, a line each."""
    lines = [f"{path}: {path.stat().st_size / 1e6:.1f} MB"]
    return "\n".join(lines + [f"  {key}: {value}" for key, value in metadata.items()])


def save_checkpoint(obj: Mapping[str, Any], path: str | Path) -> None:
    """`torch.save` a dict of tensors and plain data; `path` is at every moment the old file or the new one.

    Raises OSError if the disk does not take it; the old file is then untouched.
    """
    buffer = io.BytesIO()  # torch hides a full disk behind a RuntimeError of its own, a plain write doesn't
    torch.save(obj, buffer)
    write_whole(_make_folder(path), buffer.getbuffer())


def load_checkpoint(path: str | Path, config_key: str | None = None) -> dict[str, Any]:
    """The dict that `save_checkpoint` wrote, on the CPU; WeightsError as in `read_state_dict`."""
    path = _existing(path, config_key)
    checkpoint = _read_pickle(path)
    if not isinstance(checkpoint, dict):
        raise WeightsError(f"{path}: no checkpoint: it holds a {type(checkpoint).__name__}, not a dict")
    return checkpoint


def _existing(path: str | Path, config_key: str | None) -> Path:
    path = Path(path)
    named = f" (config key {config_key!r})" if config_key else ""
    if path.is_dir():
        inside = sorted(Path(path).glob("*.safetensors"))
        hint = f"; maybe {inside[0]}" if inside else ""
        raise WeightsError(f"{path}{named}: a folder, not a weights file{hint}")
    if not path.is_file():
        raise WeightsError(f"{path}{named}: no such weights file; external/README.md says where to get it")
    try:
        check_sum(path)
    except OSError as error:
        raise _damaged(path, error) from None
    return path


def _stated(checkpoint: Mapping[str, Any], path: Path) -> dict[str, str]:
    """What a training checkpoint says of its weights, as metadata; empty for one that isn't ours."""
    config = checkpoint.get("config")
    if not isinstance(config, Mapping) or not TRAINING_KEYS <= config.keys():
        return {}
    try:
        preprocess = Preprocess.of_training(config).to_metadata()
    except (WeightsError, TypeError, ValueError, LookupError):
        raise WeightsError(f"{path}: its config or figures are damaged: no network can be fed so") from None
    return {PREPROCESS_KEY: preprocess}


def _read_safetensors(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})
    except (SafetensorError, *_DAMAGE) as error:
        raise _damaged(path, error) from None


def _read_pickle(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_PLAIN_NUMPY), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd files; what matters becomes an error below
            with open(path, "rb") as file:  # by its name torch would take what is called .safetensors for one
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        unsafe = _UNSAFE.search(str(error))
        raise (_refused(path, unsafe[1]) if unsafe else _damaged(path, error)) from None
    except _DAMAGE as error:
        raise _damaged(path, error) from None


def tensors_digest(path: str | Path) -> str:
    """16 hex digits of a file's tensors, network and preprocessing, whatever else its metadata says."""
    state, metadata = read_state_dict(path)
    digest = hashlib.sha256(json.dumps([metadata.get("network"), metadata.get(PREPROCESS_KEY)]).encode())
    for name in sorted(state):
        digest.update(name.encode() + state[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _damaged(path: Path, error: BaseException) -> BaseException:
    """What to raise: of a damaged file, or of a machine that is short of something."""
    if is_short(error):
        return error if isinstance(error, OSError) else MemoryError(str(error))
    if isinstance(error, PermissionError):
        return WeightsError(f"{path}: no permission to read this weights file")
    if code := code_in(path):
        return _refused(path, code)
    size = path.stat().st_size
    return WeightsError(f"{path}: damaged, incomplete or not a weights file ({size:,} bytes); get it anew")


def _refused(path: Path, code: str) -> WeightsError:
    return WeightsError(f"{path}: refused: it holds {code}, which is not plain data and could run code")


def _strip_prefixes(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names without the prefixes that all of them share, as often as they were put on."""
    for prefix in WRAPPER_PREFIXES:
        if all(name.startswith(prefix) for name in state):
            return _strip_prefixes({name.removeprefix(prefix): value for name, value in state.items()})
    return state


def _check(state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], path: str) -> None:
    """WeightsError for the first entry of `state` that doesn't answer to one of the network's `own`."""
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    optional = set() if counters & state.keys() else counters
    missing = [name for name in own if name not in state and name not in optional]
    extra = [name for name in state if name not in own]
    if missing or extra:
        lacks = f"lacks {_some(missing)}" if missing else ""
        exceeds = f"has {_some(extra)} in excess" if extra else ""
        raise WeightsError(f"{path}: another network's: it {' and '.join(filter(None, (lacks, exceeds)))}")
    for name, value in state.items():
        if value.shape != own[name].shape:
            shapes = f"{tuple(value.shape)} in the file, {tuple(own[name].shape)} in the network"
            raise WeightsError(f"{path}: {name} has another shape: {shapes}")
        if value.is_floating_point() != own[name].is_floating_point() or value.is_complex():
            kinds = f"{value.dtype} in the file, {own[name].dtype} in the network"
            raise WeightsError(f"{path}: {name} holds numbers of another kind: {kinds}")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise WeightsError(f"{path}: {name} holds values that are not finite")


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def _make_folder(path: str | Path) -> Path:
    """The path, its folder made."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
