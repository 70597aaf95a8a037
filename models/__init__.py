"""The networks: RetinaFace, Xception, WS-DAN (over Xception and EfficientNet-b3); no files, no arguments."""

from models.retinaface import RetinaFace
from models.wsdan import WSDAN
from models.xception import Xception, xception

__all__ = ["RetinaFace", "WSDAN", "Xception", "xception"]
