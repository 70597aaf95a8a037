"""What computes a trained network: torch with batch norms folded, or ONNX Runtime.

A batch norm in eval mode is a scale and a shift for each channel, which the convolution before it can take
over: the same function (to rounding, about 1e-6), without a pass over the feature maps. ONNX Runtime runs a
convolution with the activation behind it in one pass and keeps its weights in the order that the processor
wants: on a CPU about half of torch's time in float32. The results agree to rounding.
"""

from __future__ import annotations

import importlib
import io
import warnings
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.xception import SeparableConv2d
from utils.core.errors import ConfigError
from utils.core.shortage import is_short
from utils.weights.onnx_cache import kept_model, name_of

# Batch norms, shapes and constants are stable in it, and every release since 1.12 (2022) reads it.
OPSET = 17


class OnnxNet(nn.Module):
    """`net` in eval mode as a module that ONNX Runtime computes: the same inputs, the same outputs.

    net: takes images (B, C, H, W), or several such tensors, and returns a tensor or a tuple of them; example:
    what it takes, of the size that it is for, (1, C, H, W); the number of images may differ later, their size
    only where `sizes_vary`. CPU, float32, as many threads as torch has. The model is kept
    (`utils.weights.onnx_cache`). ConfigError if onnxruntime isn't installed, or onnx, where the model must be
    written.
    """

    def __init__(
        self, net: nn.Module, example: Tensor | tuple[Tensor, ...], sizes_vary: bool = False
    ) -> None:
        super().__init__()
        needed("onnxruntime")
        shapes = [tuple(part.shape) for part in as_tuple(example)]
        name = name_of(net.eval(), OPSET, shapes, sizes_vary)
        self.session = opened(kept_model(name, lambda: exported(net, example, sizes_vary)[0]))
        self.names = [entry.name for entry in self.session.get_inputs()]
        self.is_tuple = len(self.session.get_outputs()) > 1

    def forward(self, *images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Images (B, C, H, W) -> what `net` returns for them."""
        inputs = [part.float().contiguous().numpy() for part in images]
        arrays = self.session.run(None, dict(zip(self.names, inputs, strict=True)))
        outputs = tuple(torch.from_numpy(array) for array in arrays)
        return outputs if self.is_tuple else outputs[0]


def check_device(device: torch.device | str) -> None:
    """ConfigError for a device that this runtime isn't used on."""
    if torch.device(device).type != "cpu":
        raise ConfigError(
            f"runtime 'onnxruntime' is for the CPU, not {device}; say runtime=torch, or choose the device cpu"
        )


def opened(model: bytes | str):
    """ONNX Runtime's session for a model or the path of its file, on as many threads as torch has.

    ConfigError if the package isn't installed.
    """
    onnxruntime = needed("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone
    # Threads that wait in a loop take the cores from those that decode frames and write crops.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def needed(package: str) -> ModuleType:
    """The package, imported; ConfigError if it can't be."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        if is_short(error):
            raise
        is_absent = isinstance(error, ModuleNotFoundError)
        advice = f"pip install {package}" if is_absent else f"install {package} anew"
        raise ConfigError(
            f"runtime 'onnxruntime' needs a package that can't be imported ({error}); "
            f"{advice}, or set runtime=torch"
        ) from None


def as_tuple(value: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


def exported(
    net: nn.Module, example: Tensor | tuple[Tensor, ...], sizes_vary: bool = False
) -> tuple[bytes, bool]:
    """The ONNX model of `net` for any number of images, and whether it returns a tuple.

    Its first input is called `images`, others `images1`, ... sizes_vary: for images of any size, too; of the
    outputs that are no images the second axis then depends on it (anchors). ConfigError if onnx, with which
    torch writes models, isn't installed.
    """
    needed("onnx")
    net = net.eval().cpu()
    # one image could be taken for a dimension that isn't there
    images = tuple(torch.cat([part, part]) for part in as_tuple(example))
    inputs = ["images", *(f"images{number}" for number in range(1, len(images)))]
    file = io.BytesIO()
    with torch.inference_mode(False), torch.no_grad(), warnings.catch_warnings():
        # The exporter by tracing: these networks have no branches, and the other needs another package.
        warnings.simplefilter("ignore")
        outputs = net(*images)
        is_tuple = isinstance(outputs, tuple)
        names = [f"output{number}" for number in range(len(as_tuple(outputs)))]
        axes = {name: {0: "batch"} for name in (*inputs, *names)}
        if sizes_vary:
            for name, value in zip((*inputs, *names), (*images, *as_tuple(outputs)), strict=True):
                is_image = value.ndim == 4
                sides = {2: f"{name} height", 3: f"{name} width"} if is_image else {1: f"{name} anchors"}
                axes[name] |= sides
        torch.onnx.export(
            net, images, file, dynamo=False, opset_version=OPSET, input_names=inputs,
            output_names=names, dynamic_axes=axes,
        )  # fmt: skip
    return file.getvalue(), is_tuple


def fold_batch_norms(net: nn.Module) -> nn.Module:
    """`net` itself, changed to be faster in eval mode; it can neither be trained nor saved any more.

    A batch norm is folded if it directly follows a convolution among its parent's children: in the networks
    here that is the order in which they run. Each becomes an identity, and its entries are gone from the
    state dict.
    """
    net.eval()
    for parent in list(net.modules()):
        before: nn.Module | None = None
        for name, child in list(parent.named_children()):
            conv = _last_convolution(before)
            if isinstance(child, nn.BatchNorm2d) and conv is not None:
                fused = fuse_conv_bn_eval(conv, child)
                conv.weight, conv.bias = fused.weight, fused.bias
                setattr(parent, name, nn.Identity())
            before = child
    return net


def _last_convolution(module: nn.Module | None) -> nn.Conv2d | None:
    if isinstance(module, SeparableConv2d):
        return module.pointwise
    return module if isinstance(module, nn.Conv2d) else None
