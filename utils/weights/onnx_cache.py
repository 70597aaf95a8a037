"""ONNX models kept in a folder, since torch takes seconds to write one.

A model's file is named after all that it is made from, so that it never has to be made anew by hand: weights,
network, code, versions. Any of the files, or the folder, may be deleted at any time; where it can't be
written, nothing is kept.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from torch import Tensor, nn

from utils.core.config import ROOT
from utils.core.files import remove_leftovers, write_whole

FOLDER = ROOT / ".cache" / "onnx"
MOST = 12  # files, those used last
PACKAGES = ("torch", "onnx", "efficientnet_pytorch")
DIGEST_BYTES = 32


def kept_model(name: str, make: Callable[[], bytes]) -> bytes:
    """The model of this name, from the folder if it is whole there; else `make` gives it, and it is kept."""
    path = FOLDER / f"{name}.model"
    with suppress(OSError):
        data = path.read_bytes()
        model = data[DIGEST_BYTES:]
        if data[:DIGEST_BYTES] == _digest(model):
            os.utime(path)
            return model
    model = make()
    with suppress(OSError):
        FOLDER.mkdir(parents=True, exist_ok=True)
        write_whole(path, _digest(model) + model)
        remove_leftovers(FOLDER)
        for old in sorted(FOLDER.glob("*.model"), key=os.path.getmtime)[:-MOST]:
            old.unlink()
    return model


def name_of(net: nn.Module, *settings: object) -> str:
    """A name for the model of `net` made with these settings: another one where anything differs."""
    digest = hashlib.blake2b(repr((settings, str(net), _versions())).encode(), digest_size=16)
    for path in sorted([*(ROOT / "models").glob("*.py"), Path(__file__).with_name("runtime.py")]):
        digest.update(path.read_bytes())
    for name, tensor in net.state_dict().items():
        digest.update(repr((name, tensor.dtype, tuple(tensor.shape))).encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=DIGEST_BYTES).digest()


def _bytes(tensor: Tensor) -> memoryview:
    return memoryview(tensor.detach().cpu().contiguous().view(-1).numpy())


def _versions() -> list[str]:
    versions = []
    for package in PACKAGES:
        try:
            versions.append(version(package))
        except PackageNotFoundError:
            versions.append("")
    return versions
