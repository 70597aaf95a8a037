"""The device that networks run on, and the precision they run in."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from utils.core.errors import ConfigError

if TYPE_CHECKING:  # configs need the names below, not torch
    import numpy as np
    import torch
    from torch import Tensor

# Devices that plan anew for each shape of a batch: there, work comes in few fixed shapes and waits are few.
GPU_TYPES = {"cuda"}
# Ways of computing a convolution that cuDNN tries out, those that it expects to be fast. By default ten: with
# them the first step of a training took half a minute.
MOST_TRIALS = 4
PRECISIONS = ("fp32", "bf16", "fp16")
_DTYPES = {"bf16": "bfloat16", "fp16": "float16"}
AUTO = "auto"


def pick_device(name: str = "auto") -> torch.device:
    """The device called `name`: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:<index>".

    Raises ConfigError for another name, and for a GPU that isn't there.
    """
    import torch

    # "fp32" means it: on newer GPUs torch would round the inputs of convolutions to 10 bits (TF32).
    torch.backends.cudnn.allow_tf32 = False
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if name != "cpu" and (kind != "cuda" or (":" in name and not (index.isascii() and index.isdigit()))):
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:<index>; got {name!r}")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if count <= int(index or 0):
            raise ConfigError(f"device {name} is not there (GPUs that torch sees: {count}); use auto or cpu")
    return torch.device(name)


def is_gpu(device: torch.device | str) -> bool:
    """Whether a device wants batches of fixed shapes, and its host to wait for it seldom."""
    import torch

    return torch.device(device).type in GPU_TYPES


def layout(device: torch.device | str, precision: str) -> torch.memory_format:
    """How images lie in memory where their network is fastest.

    channels_last on a CPU (1.3 to 2 times as fast), and on a GPU in half precision. In float32 cuDNN plans
    depthwise convolutions of channels_last anew for each shape; for others torch has kernels of its own.
    """
    import torch

    in_order = is_gpu(device) and precision == "fp32"
    return torch.contiguous_format if in_order else torch.channels_last


def choose_by_trial(on: bool) -> None:
    """Whether cuDNN tries out ways of computing a convolution at each new shape, MOST_TRIALS at most.

    It goes on with the fastest then; else it takes the one that it expects to be. Worth it where one shape
    comes many times.
    """
    import torch

    torch.backends.cudnn.benchmark, torch.backends.cudnn.benchmark_limit = on, MOST_TRIALS


def page_locked(array: np.ndarray) -> np.ndarray:
    """A copy that a GPU reads by itself, while others work; the array itself where there is no GPU."""
    import torch

    if not torch.cuda.is_available():
        return array
    kept = torch.empty(array.shape, dtype=torch.from_numpy(array[:0]).dtype, pin_memory=True).numpy()
    kept[...] = array
    return kept


def one_of_several(name: str, number: int) -> str:
    """The device for the worker of this number: "auto" and "cuda" are one of several GPUs in turn."""
    import torch

    is_open = name in ("auto", "cuda")
    count = torch.cuda.device_count() if is_open and torch.cuda.is_available() else 0
    return f"cuda:{number % count}" if count > 1 else name


def to_device(array: np.ndarray, device: torch.device) -> Tensor:
    """The array as a tensor on `device`; to a GPU through pinned memory, without waiting for the copy."""
    import torch

    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def pick_precision(device: torch.device | str, precision: str) -> str:
    """What "auto" means on a device: half precision where it is fast there, else "fp32"; others as they are.

    A CPU gets bf16 only if it multiplies bf16 itself (AVX-512-BF16 or AMX): without, bf16 is half as fast as
    fp32. A GPU gets bf16, and one without it (before Ampere) fp16.
    """
    if precision != AUTO:
        return precision
    import torch

    if torch.device(device).type == "cuda":
        return "bf16" if torch.cuda.get_device_capability(device) >= (8, 0) else "fp16"
    # torch's own names for them, under which some releases or builds may not have them
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "bf16" if any(getattr(torch.cpu, name, bool)() for name in names) else "fp32"


def autocast(device: torch.device | str, precision: str) -> AbstractContextManager:
    """A context in which the forward pass runs in `precision`: "fp32" (as it is), "bf16" or "fp16"."""
    import torch

    if precision == "fp32":
        return nullcontext()
    if precision not in _DTYPES:
        raise ConfigError(f"precision must be one of fp32, {', '.join(_DTYPES)}; got {precision!r}")
    return torch.autocast(torch.device(device).type, dtype=getattr(torch, _DTYPES[precision]))
