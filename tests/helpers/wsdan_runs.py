"""What the tests of WS-DAN's trainer run on: faces, a small network, keys of a config."""

import json
from pathlib import Path

import cv2
from scripts import load_script
from torch import nn

from models import WSDAN
from models.wsdan import AttentionMaps
from utils.training.config import WSDANConfig

script = load_script("train-wsdan.py")


class TinyWSDAN(WSDAN):
    """WS-DAN over a single convolution, where only the machinery around it is tested."""

    def __init__(self, num_classes: int = 2, M: int = 8, net: str = "xception"):
        nn.Module.__init__(self)
        self.num_classes, self.M, self.net, self.num_features = num_classes, M, net, 8
        self.features = nn.Sequential(nn.Conv2d(3, 8, 7, stride=8), nn.BatchNorm2d(8), nn.ReLU())
        self.attentions = AttentionMaps(8, M)
        self.fc = nn.Linear(M * 8, num_classes, bias=False)


def write_faces(root: Path, clip: Path) -> Path:
    """Three real and five fake videos to train, two and two to validate, three crops each."""
    video, sets = cv2.VideoCapture(str(clip)), {"train": [], "valid": [], "test": []}
    for k in range(12):
        name, fake = f"video{k:02d}", int(k % 2 if k >= 8 else k >= 3)
        (root / "faces" / name).mkdir(parents=True)
        for number in (2, 14, 40):
            frame = cv2.resize(video.read()[1], (320, 320), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(root / "faces" / name / f"{number:03d}.png"), 255 - frame if fake else frame,
                        [cv2.IMWRITE_PNG_COMPRESSION, 1])  # fmt: skip
        sets["test" if k >= 8 else "valid" if k == 7 else "train"].append([name, fake])
    video.release()
    (root / "dfdc.json").write_text(json.dumps(sets))
    return root


def keys(data: Path, save_dir: Path, **changes) -> dict:
    values = {
        "datapath": str(data / "faces"), "data_list": str(data / "dfdc.json"), "save_dir": str(save_dir),
        "ckpt": "auto", "image_size": 71, "batch_size": 4, "epochs": 2, "workers": 0,
        "learning_rate": 0.01, "tensorboard": False, "device": "cpu",
    }  # fmt: skip
    return values | changes


def config(data: Path, save_dir: Path, **changes) -> WSDANConfig:
    return WSDANConfig(**keys(data, save_dir, **changes))
