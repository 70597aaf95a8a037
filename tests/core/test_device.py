"""Devices and precisions by name."""

import pytest
import torch

from utils.core.device import autocast, layout, one_of_several, pick_device
from utils.core.errors import ConfigError


def test_devices_that_are_there():
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["gpu", "", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CUDA", "mps"])
def test_unknown_names(name):
    with pytest.raises(ConfigError, match="device must be auto, cpu, cuda or cuda:<index>"):
        pick_device(name)


@pytest.mark.parametrize("name", ["cuda:99", *([] if torch.cuda.is_available() else ["cuda", "cuda:0"])])
def test_gpus_that_are_not_there(name):
    with pytest.raises(ConfigError, match=f"device {name} is not there"):
        pick_device(name)


@pytest.mark.parametrize(
    "name, count, expected",
    [
        ("auto", 2, ["cuda:0", "cuda:1", "cuda:0"]), ("cuda", 3, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:1", 2, ["cuda:1"] * 3), ("cpu", 2, ["cpu"] * 3),
        ("auto", 1, ["auto"] * 3), ("auto", 0, ["auto"] * 3),
    ],
)  # fmt: skip
def test_gpus_are_dealt_out_to_workers(monkeypatch, name, count, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert [one_of_several(name, number) for number in range(3)] == expected


@pytest.mark.parametrize(
    "precision, dtype", [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_precision_of_a_product(precision, dtype):
    with autocast("cpu", precision):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == dtype


@pytest.mark.parametrize("device, precision, expected", [
    ("cuda", "fp32", torch.contiguous_format), ("cuda:1", "fp32", torch.contiguous_format),
    ("cuda", "bf16", torch.channels_last), ("cuda", "fp16", torch.channels_last),
    ("cpu", "fp32", torch.channels_last), ("cpu", "bf16", torch.channels_last)])  # fmt: skip
def test_images_lie_plane_by_plane_only_in_float32_on_a_gpu(device, precision, expected):
    assert layout(device, precision) == layout(torch.device(device), precision) == expected


def test_unknown_precision():
    with pytest.raises(ConfigError, match="precision must be one of fp32, bf16, fp16"):
        autocast("cpu", "int8")
