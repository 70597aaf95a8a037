"""What the whole DFDC costs on a GPU, on eight, and on CPU nodes, from what each stage costs on this machine.

    python benchmarks/scale.py                                    # measures, then prints the tables
    python benchmarks/scale.py --costs external/results/scale.json  # from costs measured before
    python benchmarks/scale.py --gpu gpu.json                       # with what `make gpu` measured on a GPU
    python benchmarks/scale.py --output external/results/scale      # scale.md and scale.json as well

A stage's cost is the processor time of one thread, so other programs hardly matter. The model: clips go side
by side, each stage on the cores or the GPU of its node, reading from one disk that all nodes share; the
slowest of these is the bottleneck, and stages of one node on the same cores add up.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.timing import parser_of  # noqa: E402
from utils.core.console import run  # noqa: E402
from utils.core.errors import DataError  # noqa: E402
from utils.core.files import check_report, give_report  # noqa: E402
from utils.evaluation.report_tables import Table, joined  # noqa: E402

CLIPS, BYTES = 124_000, 472e9  # of DFDC, ten seconds of 30 frames each
STRIDES = (1, 10, 30)
FRAMES, FACES, EVERY = 300, 25, 10
STAGES = {"score": ("read", "detect", "classify"), "extract": ("read", "detect", "write")}


@dataclass(frozen=True)
class Site:
    """nodes, each with so many cores and GPUs; bandwidth: bytes a second of the disk that they share."""

    name: str
    nodes: int
    cores: int
    gpus: int = 0
    bandwidth: float = 1e9


SITES = (
    Site("1 node of 16 cores", 1, 16),
    Site("1 GPU, 16 cores", 1, 16, 1),
    Site("8 GPUs, 128 cores", 1, 128, 8),
    Site("32 nodes of 16 cores", 32, 16),
)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    parser.add_argument("--costs", type=Path, metavar="JSON", help="of a run before, instead of measuring")
    parser.add_argument("--gpu", type=Path, metavar="JSON", help="what `make gpu` left: clips a second")
    parser.add_argument("--output", type=Path, metavar="NAME", help="NAME.md and NAME.json as well")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    command = ["python", "benchmarks/scale.py", *(sys.argv[1:] if argv is None else argv)]

    def report() -> int:
        check_report(args.output)
        costs = known_costs(args.costs) if args.costs else measure()
        gpu = clips_a_second(args.gpu) if args.gpu else None
        tables = [stage_table(costs), *(site_table(work, costs, gpu) for work in ("score", "extract"))]
        tables.append(disk_table(costs))
        return give_report(args.output, command, joined(tables), {"costs": costs, "gpu": gpu})

    return run(report)


def known_costs(path: Path) -> dict[str, float]:
    """The costs that an earlier run wrote. Raises DataError."""
    try:
        costs = json.loads(path.read_text(encoding="utf-8"))["costs"]
        return {name: float(value) for name, value in costs.items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: no costs in it ({error}); measure them without --costs") from None


def clips_a_second(path: Path) -> float:
    """How fast one GPU scores with the bundled networks. Raises DataError."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["machine"]["quick"] or data["machine"]["device"] == "cpu":
            raise ValueError("a smoke test, or of a CPU")
        return next(float(row["value"]) for row in data["rows"] if row["name"] == "bundled")
    except (OSError, ValueError, LookupError, TypeError, StopIteration) as error:
        raise DataError(f"{path}: not what `make gpu` leaves ({error!r})") from None


def measure() -> dict[str, float]:
    """Seconds of one thread that each stage takes for a ten-second 1080p clip; bytes of a crop."""
    import cv2
    import numpy as np
    import torch

    from benchmarks.inputs import bundled, hd_clip
    from utils.faces.align import align_face
    from utils.faces.tracker import Track
    from utils.faces.video import FrameReader
    from utils.scoring.scorer import build, frames_of

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    clip, _ = hd_clip()
    config = bundled()
    detector, ensemble = build(config, "cpu")
    costs: dict[str, float] = {}
    ways = (("score", frames_of(clip, config, 1), FACES), ("extract", FrameReader(clip, EVERY, 1), FRAMES))
    for work, reader, most in ways:
        pairs, costs[f"{work}: read"] = spent(lambda source=reader, most=most: list(islice(source, most)))
        frames = [frame for _, frame in pairs]
        found, costs[f"{work}: detect"] = spent(lambda frames=frames: detected(detector, frames, Track()))
        crops = [align_face(frame, face.landmarks) for frame, face in zip(frames, found, strict=True) if face]
        if work == "score":
            faces = np.stack(crops)[..., ::-1]
            ensemble.predict(faces[:1])
            costs["score: classify"] = spent(lambda faces=faces: ensemble.predict(faces))[1]
    coded, costs["extract: write"] = spent(lambda: [encode(crop) for crop in crops])
    costs["bytes of a PNG"] = float(np.mean([len(data) for data in coded]))
    costs["bytes of a JPEG"] = float(np.mean([len(cv2.imencode(".jpg", crop)[1]) for crop in crops]))
    return costs


def detected(detector, frames: list, track) -> list:
    """The faces, in batches as they come in a run."""
    return [
        face
        for start in range(0, len(frames), 8)
        for face in detector.detect(frames[start : start + 8], [track] * len(frames[start : start + 8]))
    ]


def encode(crop) -> bytes:
    """A crop as the extraction writes it, into a file."""
    import cv2

    data = cv2.imencode(".png", crop, [cv2.IMWRITE_PNG_COMPRESSION, 1])[1].tobytes()
    with tempfile.TemporaryFile() as file:
        file.write(data)
    return data


def spent(task: Callable):
    """(what the call gives, processor seconds of this process meanwhile)"""
    start = time.process_time()
    done = task()
    return done, time.process_time() - start


def hours_by(work: str, site: Site, costs: dict[str, float], gpu: float | None) -> dict[str, float]:
    """{what: hours that it takes for all clips}; the largest is how long it takes. Of a GPU's own speed NaN
    where it wasn't measured."""
    stages = {name: value for name, value in costs.items() if name.startswith(work + ":")}
    on_gpu = {f"{work}: detect", f"{work}: classify"} if site.gpus else set()
    cpu = sum(value for name, value in stages.items() if name not in on_gpu)
    hours = {
        "cores": CLIPS * cpu / (site.nodes * site.cores) / 3600,
        "shared disk": BYTES / site.bandwidth / 3600,
    }
    if site.gpus:
        hours["GPU"] = CLIPS / (gpu * site.gpus * site.nodes) / 3600 if gpu else float("nan")
    return hours


def stage_table(costs: dict[str, float]) -> Table:
    names = [f"{work}: {stage}" for work, stages in STAGES.items() for stage in stages]
    rows = [[name, f"{costs[name]:.2f}"] for name in names]
    return Table(
        ["stage", "core seconds a clip"], rows, "What the stages of a ten-second 1080p clip cost, one thread",
        f"score: bundled config, {FACES} faces; extract: --every {EVERY} speed=fast, {FRAMES // EVERY} crops",
    )  # fmt: skip


def site_table(work: str, costs: dict[str, float], gpu: float | None) -> Table:
    rows = []
    for site in SITES:
        hours = hours_by(work, site, costs, gpu)
        known = {name: value for name, value in hours.items() if value == value}
        slowest = max(known, key=known.get)
        said = f"{known[slowest]:.1f}" if len(known) == len(hours) else f"{known[slowest]:.1f} or more"
        others = [f"{hours[name]:.1f}" if name in known else "-" for name in ("cores", "GPU", "shared disk")]
        rows.append([site.name, said, slowest, *others])
    note = "" if gpu else "-: no GPU there, or its speed not measured: it is one more limit."
    return Table(
        [f"to {work}", "hours", "bottleneck", "hours of cores", "hours of GPUs", "hours of disk"], rows,
        f"DFDC, {CLIPS:,} clips of ten seconds, {BYTES / 1e9:.0f} GB, a shared disk of 1 GB/s", note,
    )  # fmt: skip


def disk_table(costs: dict[str, float]) -> Table:
    rows = []
    for stride in STRIDES:
        crops = CLIPS * FRAMES // stride
        sizes = [f"{crops * costs[f'bytes of a {kind}'] / 1e9:,.0f}" for kind in ("PNG", "JPEG")]
        rows.append([f"--every {stride}", f"{crops / 1e6:.1f}", *sizes])
    note = "PNG is what is written; JPEG (OpenCV's quality 95) is how much another format would take."
    return Table(["crops", "millions", "GB as PNG", "GB as JPEG"], rows, "Disk for the crops of DFDC", note)


if __name__ == "__main__":
    sys.exit(main())
