"""Where the networks looked: WS-DAN's attention maps, its crop and drop, and Xception's class-activation map.

Of a few faces of a clip each, which go through the networks once more. An attention map says which places the
features were taken from, whatever they said. A class-activation map (Zhou et al., CVPR 2016) splits the
network's answer over the places: the mean of its cells and the bias are the logit of fake less that of real.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from models import WSDAN
from models.attention import CROP_PADDING, attention_boxes, attention_mask
from utils.core.device import autocast, to_device
from utils.scoring.aggregate import Detail
from utils.scoring.ensemble import FAKE, Ensemble, Member
from utils.weights.preprocess import FACE_SIZE

THETA = 0.5  # of crop and drop: the figure of the paper, and the middle of what training draws from
LARGEST = 192  # pixels, side of a face's picture
QUALITY = 82  # of its JPEG


def show_faces(detail: Detail, ensemble: Ensemble, networks: Sequence[str]) -> list[dict[str, Any]]:
    """Pictures and maps of the faces whose crops were kept, as plain data; their places, the highest first.

    ensemble: of torch networks, not ONNX Runtime's. networks: their kinds. Each face is {"place", "region":
    x1, y1, x2, y2 that the picture shows, "picture": JPEG in base64, "views": what `view_of` gives of each
    network}; all in pixels of the aligned face.
    """
    lowest, highest = detail.extremes()
    places = [*highest, *lowest[::-1]]
    if not places:
        return []
    crops = np.stack([detail.crops[place] for place in places])  # (K, 320, 320, 3) RGB
    region = shown_region(ensemble.members)
    views = [
        view_of(member, network, crops, ensemble)
        for member, network in zip(ensemble.members, networks, strict=True)
    ]
    return [
        {"place": place, "region": region, "picture": encoded(crop, region), "views": list(of_each)}
        for place, crop, of_each in zip(places, crops, zip(*views, strict=True), strict=True)
    ]


def shown_region(members: Sequence[Member]) -> list[int]:
    """The part of the aligned face that any of the networks sees: x1, y1, x2, y2."""
    windows = np.array([window_of(member) for member in members])
    return [*windows[:, :2].min(axis=0).tolist(), *windows[:, 2:].max(axis=0).tolist()]


def window_of(member: Member) -> tuple[int, int, int, int]:
    return member.preprocess.window or (0, 0, FACE_SIZE, FACE_SIZE)


def encoded(crop: np.ndarray, region: Sequence[int]) -> str:
    """The region of a face (320, 320, 3) uint8 RGB as a JPEG in base64, at most LARGEST pixels wide."""
    x1, y1, x2, y2 = region
    picture = crop[y1:y2, x1:x2, ::-1]
    scale = min(1.0, LARGEST / max(x2 - x1, y2 - y1))
    size = round((x2 - x1) * scale), round((y2 - y1) * scale)
    picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
    return base64.b64encode(jpeg.tobytes()).decode()


@torch.inference_mode()
def view_of(member: Member, network: str, crops: np.ndarray, ensemble: Ensemble) -> list[dict[str, Any]]:
    """What one network looked at in each face (K, 320, 320, 3) uint8 RGB.

    {"network", "window", "kind"}, and of the kind "activation" {"map": (h, w), above 0 towards fake}, of the
    kind "attention" {"maps": (M, h, w), "peak": the one with the highest value, "crop": x1, y1, x2, y2,
    "drop": outlines} of that one.
    """
    pixels = to_device(np.ascontiguousarray(crops), ensemble.device)
    images = member.preprocess.batch(pixels).contiguous(memory_format=torch.channels_last)  # (K, 3, S, S)
    common = {"network": network, "window": list(window_of(member))}
    attends = isinstance(member.net, WSDAN)
    with autocast(ensemble.device, ensemble.precision):
        maps = attention_maps(member.net, images) if attends else activation_map(member.net, images)
    maps = maps.float().cpu()
    if not attends:
        return [common | {"kind": "activation", "map": rounded(one[0])} for one in maps]
    peaks = maps.amax(dim=(2, 3)).argmax(dim=1)  # (K,)
    chosen = maps[torch.arange(len(maps)), peaks][:, None]  # (K, 1, h, w)
    crop, drop = crop_and_drop(chosen, images.shape[-1], common["window"])
    return [
        common | {"kind": "attention", "maps": rounded(maps[k]), "peak": int(peaks[k]),
                  "crop": crop[k], "drop": drop[k]}
        for k in range(len(maps))
    ]  # fmt: skip


def attention_maps(net: WSDAN, images: Tensor) -> Tensor:
    """All attention maps of a WS-DAN: images (B, 3, S, S) -> (B, M, h, w), not negative."""
    return net.attentions(net.feature_maps(images))


def activation_map(net: torch.nn.Module, images: Tensor) -> Tensor:
    """What each place of the features adds to fake: images (B, 3, S, S) -> (B, 1, h, w).

    Its mean, and the bias of fake less that of real, are the logit of fake less that of real.
    """
    weight = net.last_linear.weight[FAKE] - net.last_linear.weight[1 - FAKE]  # (C,)
    return torch.einsum("bchw,c->bhw", net.features(images).float(), weight.float())[:, None]


def crop_and_drop(
    maps: Tensor, size: int, window: Sequence[int]
) -> tuple[list[list[float]], list[list[list[list[float]]]]]:
    """The attention crop's boxes and the drop's outlines by maps (B, 1, h, w) of images of `size` pixels.

    window: of the aligned face, in whose pixels they are given. An outline is a closed line of x, y.
    """
    corner = np.array(window[:2])
    scale = (np.array(window[2:]) - corner) / size
    boxes = attention_boxes(maps, THETA, (size, size), CROP_PADDING).cpu().numpy()
    boxes = boxes * np.tile(scale, 2) + np.tile(corner, 2)
    masks = attention_mask(maps, THETA, (size, size))[:, 0].byte().cpu().numpy()
    outlines = [
        [
            (line[:, 0] * scale + corner).round(1).tolist()
            for line in cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1)[0]
            if len(line) > 2
        ]
        for mask in masks
    ]
    return boxes.round(1).tolist(), outlines


def rounded(values: Tensor) -> list:
    """As nested lists, to four digits."""

    def each(value: float | list) -> float | list:
        return [each(item) for item in value] if isinstance(value, list) else float(f"{value:.4g}")

    return each(values.tolist())
