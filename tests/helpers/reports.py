"""A scoring run's results and kept faces, made up but for the picture of a face: many at no cost."""

import base64
from pathlib import Path

import cv2
import numpy as np

from utils.report.page import About
from utils.report.words import Answer
from utils.scoring.aggregate import Detail, Evidence, Result, SeenFace
from utils.scoring.details import Details
from utils.scoring.verdict import Verdict, limits_from, verdict_on

LIMITS = limits_from({"real faces": np.linspace(0, 0.6, 200)}, {"fakes": np.linspace(0.05, 1, 200)})
ABOUT = About(
    "2020-01-01", "up to 25 faces of a clip", "on cpu", 75.0, ["xception", "wsdan-xception"],
    [dict.fromkeys(("file", "network", "share", "date", "sha256"), "w" * 40)], [("track", "True")],
)  # fmt: skip


def shown_face(picture: np.ndarray, place: int, seed: int, cells: int = 7, networks: int = 2) -> dict:
    """A face (H, W, 3) uint8 RGB as `show_faces` gives it, with maps of noise: Xception's, then WS-DANs'."""
    noise = np.random.default_rng(seed)
    noisy = np.clip(picture + noise.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
    jpeg = cv2.imencode(".jpg", noisy[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])[1]
    window = [0, 0, 320, 320]
    outline = (np.array([160, 120]) + 30 * noise.random((24, 2))).round(1).tolist()
    activation = {"network": "xception", "window": window, "kind": "activation"}
    attention = {"network": "wsdan-xception", "window": window, "kind": "attention", "peak": 2,
                 "crop": [10.5, 20, 200, 240], "drop": [outline]}  # fmt: skip
    return {
        "place": place, "region": window, "picture": base64.b64encode(jpeg.tobytes()).decode(),
        "views": [activation | {"map": noise.normal(0, 3, (cells, cells)).round(2).tolist()},
                  *(attention | {"maps": noise.random((8, cells, cells)).round(3).tolist()}
                    for _ in range(networks - 1))],
    }  # fmt: skip


def kept_result(folder: Path, number: int, count: int = 25, networks: int = 2) -> Result:
    """A clip of `count` faces, one every two seconds, whose probabilities lie around its own."""
    noise = np.random.default_rng(number)
    middle = (number * 37 % 101) / 101
    by_network = np.clip(middle + noise.normal(0, 0.1, (count, networks)), 0, 1)
    each = by_network.mean(axis=1).tolist()
    faces = [SeenFace(50 * k, 2.0 * k, (10.0, 20.0, 110.0, 140.0), 60.0) for k in range(count)]
    detail = Detail(faces=faces, probabilities=each, looked_at=count + 2, missed=[3.0, 55.0])
    spread = Evidence(float(np.std(each)), min(each), max(each), 60.0)
    return Result(
        folder / f"{number}.mp4", float(np.mean(each)), count, first=0.0, last=2.0 * count - 2,
        duration=2.0 * count + 10, people=1, by_network=by_network, evidence=spread, detail=detail,
    )  # fmt: skip


def judged_files(
    folder: Path, names: list[str], picture: np.ndarray, faces: int = 2, cells: int = 7, networks: int = 2
):
    """(files, details) of a run over files of these names."""
    details, files = Details(folder / "submission.csv", "f" * 16), []
    for number, name in enumerate(names):
        result = kept_result(folder, number, networks=networks)
        shown = [shown_face(picture, place, number, cells, networks) for place in range(faces)]
        details.append(name, result, 1.5, shown)
        files.append(Answer(name, result, verdict_on(result, LIMITS)))
    return files, details


def lost_file(name: str) -> Answer:
    return Answer(name, Result(Path(name), 0.5, 0, "no face found in 7 frames"), Verdict("can't tell", ""))
