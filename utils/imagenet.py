"""EfficientNet-b3's ImageNet weights, which the package efficientnet-pytorch has on the web."""

from __future__ import annotations

import socket
import tempfile
from http.client import HTTPException
from pathlib import Path

import torch
from efficientnet_pytorch.utils import url_map
from torch import nn

from utils.checkpoint import load_pretrained
from utils.errors import WeightsError

TIMEOUT = 30  # seconds without an answer


def load_imagenet_b3(net: nn.Module) -> None:
    """Load them into an EfficientNet-b3, its own classifier kept; downloads 48 MB at the first call.

    The file is kept in torch's folder for downloads (the environment variable TORCH_HOME says where).
    WeightsError if it can't be had.
    """
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
