"""Weights for elsewhere: a folder as model hubs have them, and an ONNX model.

Both state what the network expects of a face, so that nobody has to guess it: RGB, the window of the aligned
320x320 face, the size it is brought to, mean and std.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch

from utils.core.errors import WeightsError
from utils.core.files import write_whole
from utils.weights.checkpoint import load_weights, read_metadata, save_weights
from utils.weights.networks import NETWORK_NAMES, build_network
from utils.weights.preprocess import PREPROCESS_KEY, preprocess_of
from utils.weights.runtime import exported, fold_batch_norms, needed, opened

LABELS = {"0": "real", "1": "fake"}
MODEL_FILE, CONFIG_FILE, CARD_FILE = "model.safetensors", "config.json", "README.md"
AGREEMENT = 1e-4  # largest difference of a logit between torch and the ONNX model
CARD = """---
library_name: pytorch
pipeline_tag: image-classification
license: {licence}
tags: [deepfake-detection, {network}]
---

# {network}: is this face fake?

`{model}` holds the network's weights (fp16) and `{config}` what it expects of a face: RGB, the window
of the aligned 320x320 face, the size that is brought to, mean and std of 0..1. The second of its two
logits is "fake".

To score a video, name the file in a submission config of the repository that it comes from:

    ensemble = [("{network}", "{model}", 1.0)]

What is stated of the weights:

{stated}

A score is an opinion, no proof. Don't accuse anybody on its word.
"""


def network_of(source: Path) -> tuple[torch.nn.Module, dict[str, str]]:
    """The network of a weights file that names it, in eval mode, and the file's metadata. WeightsError."""
    name = read_metadata(source).get("network")
    if name not in NETWORK_NAMES:
        raise WeightsError(f"{source}: its metadata names no network ({', '.join(NETWORK_NAMES)})")
    net = build_network(name)
    return net.eval(), load_weights(net, source)


def hub_config(metadata: Mapping[str, str]) -> dict:
    """What config.json says: architecture, labels, preprocessing, and the metadata that is JSON as such."""
    preprocess = json.loads(preprocess_of(metadata["network"], metadata).to_metadata())
    return {
        "architecture": metadata["network"], "num_labels": len(LABELS), "id2label": LABELS,
        PREPROCESS_KEY: preprocess | {"aligned_face": 320, "channels": "RGB"},
        "stated": {key: _plain(value) for key, value in metadata.items() if key != PREPROCESS_KEY},
    }  # fmt: skip


def write_hub_folder(source: Path, folder: Path) -> list[Path]:
    """Write config.json, model.safetensors and a card; the files. WeightsError, OSError."""
    net, metadata = network_of(source)
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(net, folder / MODEL_FILE, metadata)
    write_whole(folder / CONFIG_FILE, json.dumps(hub_config(metadata), indent=1) + "\n")
    licence = "other" if "licence" in metadata else "unknown"
    short = {key: value for key, value in metadata.items() if len(value) <= 300}
    stated = "\n".join(f"- {key}: {value}" for key, value in short.items())
    card = CARD.format(
        licence=licence, network=metadata["network"], model=MODEL_FILE, config=CONFIG_FILE, stated=stated
    )
    write_whole(folder / CARD_FILE, card)
    return [folder / name for name in (CONFIG_FILE, MODEL_FILE, CARD_FILE)]


def write_onnx(source: Path, output: Path) -> float:
    """Write the classifier as ONNX: images (B, 3, S, S), normalised -> logits (B, 2), the second "fake".

    The file's metadata are those of the weights. Returns the largest difference of a logit from torch's on
    random images. WeightsError where the file is of no use, or differs by more than `AGREEMENT`; ConfigError
    where onnx or onnxruntime isn't installed; OSError.
    """
    onnx = needed("onnx")
    net, metadata = network_of(source)
    size = preprocess_of(metadata["network"], metadata).size
    model, _ = exported(fold_batch_norms(net), torch.zeros(1, 3, size, size))
    proto = onnx.load_from_string(model)
    del proto.graph.output[1:]  # WS-DAN's features and attention map, which tell nothing by themselves
    proto.graph.output[0].name, first = "logits", proto.graph.output[0].name
    for node in proto.graph.node:
        node.output[:] = ["logits" if name == first else name for name in node.output]
        node.input[:] = ["logits" if name == first else name for name in node.input]
    onnx.helper.set_model_props(proto, dict(metadata))
    onnx.checker.check_model(proto)
    data = proto.SerializeToString()
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        answer = net(images)
    expected = (answer[0] if isinstance(answer, tuple) else answer).numpy()
    difference = float(abs(opened(data).run(["logits"], {"images": images.numpy()})[0] - expected).max())
    if not difference <= AGREEMENT:
        raise WeightsError(f"{source}: as ONNX its logits differ by {difference:.2g}; not written")
    output.parent.mkdir(parents=True, exist_ok=True)
    write_whole(output, data)
    return difference


def _plain(value: str) -> object:
    """A metadata string as what it is in JSON, if it is an object or a list."""
    try:
        return json.loads(value) if value[:1] in "[{" else value
    except ValueError:
        return value
