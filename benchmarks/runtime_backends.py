"""Runtimes for a classifier: each is built as a function from images (B, 3, S, S) to logits (B, 2)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from utils.weights.runtime import OnnxNet, exported, fold_batch_norms, opened

Run = Callable[[Tensor], np.ndarray]


class Logits(nn.Module):
    """A classifier that returns its logits alone."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        output = self.net(images)
        return output[0] if isinstance(output, tuple) else output


def build(name: str, net: nn.Module, images: Tensor, calibration: Tensor, folder: Path) -> Run:
    """The runtime `name` of `benchmarks/runtimes.py`; calibration: (N, 3, S, S) training images."""
    net = Logits(net).eval()
    if name == "plain":
        return in_torch(net)
    with torch.inference_mode(False), torch.no_grad():
        fold_batch_norms(net)
    if name == "folded":
        return in_torch(net)
    if name == "compile":
        return in_torch(net, compiled=True)
    if name == "ort":
        return in_torch(OnnxNet(net, images[:1]))
    path = folder / "net.onnx"
    if not path.exists():
        path.write_bytes(exported(net, images[:1])[0])
    if name.startswith("openvino"):
        return in_openvino(path, calibration if name.endswith("int8") else None)
    return in_onnx_runtime(quantised(path, calibration))


def in_torch(net: nn.Module, compiled: bool = False) -> Run:
    """float32, channels last."""
    net = net.to(memory_format=torch.channels_last)
    call = torch.compile(net) if compiled else net

    @torch.inference_mode()
    def run(images: Tensor) -> np.ndarray:
        return call(images.contiguous(memory_format=torch.channels_last)).numpy()

    return run


def in_onnx_runtime(path: Path) -> Run:
    """An ONNX file."""
    session = opened(str(path))
    return lambda images: session.run(None, {"images": images.contiguous().numpy()})[0]


def quantised(path: Path, calibration: Tensor) -> Path:
    """The ONNX file in 8-bit integers: QDQ, weights by channel, ranges from the calibration images."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self):
            self.batches = iter(calibration.split(4))

        def get_next(self):
            batch = next(self.batches, None)
            return None if batch is None else {"images": batch.contiguous().numpy()}

    prepared, target = path.with_name("prepared.onnx"), path.with_name("int8.onnx")
    quant_pre_process(str(path), str(prepared))
    quantize_static(
        str(prepared), str(target), Images(), quant_format=QuantFormat.QDQ, per_channel=True,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
    )  # fmt: skip
    return target


def in_openvino(path: Path, calibration: Tensor | None) -> Run:
    """In float32, or in 8-bit integers where there are calibration images."""
    import openvino

    model = openvino.convert_model(str(path))
    if calibration is not None:
        import nncf

        batches = [batch.contiguous().numpy() for batch in calibration.split(1)]
        model = nncf.quantize(model, nncf.Dataset(batches), subset_size=len(batches))
    compiled = openvino.Core().compile_model(
        model, "CPU",
        {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": torch.get_num_threads()},
    )  # fmt: skip
    return lambda images: compiled(images.contiguous().numpy())[0]
