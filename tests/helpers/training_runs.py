"""What the trainers' tests share: faces, a small network and config for Xception's script, logs compared."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import torch
from scripts import load_script
from torch import nn

from utils.training.config import XceptionConfig

script = load_script("train-xception.py")


class TinyNet(nn.Module):
    """Stands in for Xception where only the machinery around it is tested."""

    def __init__(self, num_classes: int = 2):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, stride=4)
        self.bn1 = nn.BatchNorm2d(8)
        self.last_linear = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.last_linear(torch.relu(self.bn1(self.conv1(x))).mean(dim=(2, 3)))


class NoNormNet(TinyNet):
    """Without batch norm, so that a batch can be shared out without changing the result."""

    def __init__(self, num_classes: int = 2):
        super().__init__(num_classes)
        self.bn1 = nn.Identity()


def write_faces(root: Path, clip: Path) -> Path:
    """Eight training and four validation videos of two crops: frames of a real clip, "fakes" as negatives."""
    video, rows = cv2.VideoCapture(str(clip)), ["name,is_fake,n_frame,set_name"]
    for k in range(12):
        name, fake = f"video{k:02d}", k % 2
        (root / "faces" / name).mkdir(parents=True)
        for number in range(2):
            frame = cv2.resize(video.read()[1], (320, 320), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(root / "faces" / name / f"{number:03d}.png"), 255 - frame if fake else frame)
        rows.append(f"{name},{fake},2,{'train' if k < 8 else 'val'}")
    video.release()
    (root / "list.csv").write_text("\n".join(rows) + "\n")
    return root


def keys(data: Path, save_dir: Path, **changes) -> dict:
    values = {
        "data_root": str(data / "faces"), "data_list": str(data / "list.csv"), "save_dir": str(save_dir),
        "resume": "auto", "image_size": 71, "batch_size": 4, "n_epoches": 2, "num_workers": 0,
        "real_fraction": 1.0, "fake_fraction": 1.0, "augmentation": "alike", "tensorboard": False,
        "device": "cpu",
    }  # fmt: skip
    return values | changes


def config(data: Path, save_dir: Path, **changes) -> XceptionConfig:
    return XceptionConfig(**keys(data, save_dir, **changes))


@contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread, so that sums don't depend on how many cores there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def log_of(save_dir: Path) -> list[dict]:
    """The rows of log.jsonl without the times."""
    rows = [json.loads(line) for line in (save_dir / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if "second" not in key} for row in rows]


def assert_equal(a, b) -> None:
    """Nested dicts and lists of tensors and numbers, bit for bit."""
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            assert_equal(a[key], b[key])
    elif isinstance(a, list | tuple):
        for one, other in zip(a, b, strict=True):
            assert_equal(one, other)
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b)
    else:
        assert a == b
