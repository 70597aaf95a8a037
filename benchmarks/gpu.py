"""How fast a GPU is here: start-up, forwards, clips, extraction and training.

    python benchmarks/gpu.py                        # what `make gpu` runs after its tests; leaves gpu.json
    python benchmarks/gpu.py --seconds 60 --only forward,clips
    python benchmarks/gpu.py --device cpu --quick   # a smoke test; its figures mean nothing

Networks have random weights but for the MobileNet detector, which finds the faces; where the bundled weights
aren't there, random ones of the same networks take their place. The clip is a 1080p one of ten seconds, of
the folder DFDC_SHARED if that has one, over and over. Each part has a share of the seconds; what doesn't fit
is said. Progress goes to standard error, the table to standard output, all figures to the JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.timing import parser_of  # noqa: E402
from utils.core import console  # noqa: E402

PARTS = ("forward", "clips", "extraction", "training")
# Of the seconds. The rest goes into loading.
SHARES = {
    "forward": 0.22, "bundled": 0.10, "bundled exact": 0.06, "published exact": 0.10, "published fast": 0.06,
    "extraction": 0.05, "network": 0.03, "loader": 0.06,
}  # fmt: skip
TRAINED = ("xception", "wsdan-xception")


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = parser_of(__doc__)
    add = parser.add_argument
    add("--device", default="cuda", help="cuda, cuda:1 or cpu (default cuda)")
    add("--seconds", type=float, default=110, help="about how long it may take (default 110)")
    add("--only", metavar="PARTS", default=",".join(PARTS), help=f"of {','.join(PARTS)} (default all)")
    add("--quick", action="store_true", help="tiny sizes, to see that it runs")
    add("--output", metavar="JSON", type=Path, default=Path("gpu.json"), help="default gpu.json")
    args = parser.parse_args(argv)
    args.only = args.only.split(",")
    unknown = [part for part in args.only if part not in PARTS]
    if unknown:
        parser.error(f"--only: {unknown[0]!r} is none of {', '.join(PARTS)}")
    return args


class Clock:
    """Seconds since the start, and how much of them a part may take."""

    def __init__(self, total: float):
        self.total, self.started = total, time.perf_counter()

    @property
    def past(self) -> float:
        return time.perf_counter() - self.started

    def share(self, name: str) -> float:
        """Seconds for a part, less where the end is near."""
        return max(min(SHARES[name] * self.total, self.total - self.past), 0.5)

    def until(self, name: str) -> Callable[[], bool]:
        """Whether the part that begins now may still go on."""
        end = self.past + self.share(name)
        return lambda: self.past < end


def start_up(name: str) -> Iterator[tuple[str, float]]:
    """Seconds of importing torch, all else that scoring needs, and of the device's context."""
    started = time.perf_counter()
    import torch

    yield "import torch", time.perf_counter() - started
    started = time.perf_counter()
    import utils.scoring.scorer  # noqa: F401

    yield "import scoring", time.perf_counter() - started
    from utils.core.device import pick_device

    device = pick_device(name)
    for what in ("context", "first convolution"):
        started = time.perf_counter()
        image = torch.zeros(1, 3, 32, 32, device=device)
        if what != "context":
            torch.nn.functional.conv2d(image, torch.zeros(4, 3, 3, 3, device=device))
        float(image.sum())  # waits
        yield what, time.perf_counter() - started


def measured(args: argparse.Namespace, clock: Clock) -> Iterator:
    """All rows, as they come."""
    startup = list(start_up(args.device))

    import torch

    from benchmarks import gpu_parts as parts

    for name, seconds in startup:
        yield parts.Row("start", name, seconds, "s", {})
    device = torch.device(args.device)
    plan = parts.TINY if args.quick else parts.Plan()
    plan = parts.with_workers(plan, len(os.sched_getaffinity(0)))
    if "clips" in args.only:
        names = ("bundled", "published exact", "bundled exact", "published fast")
        yield from parts.clip_rows(device, plan, clock.share, names[:1] if args.quick else names)
    if "training" in args.only:
        with tempfile.TemporaryDirectory() as folder:
            yield from training(device, plan, clock, Path(folder))
    if "extraction" in args.only:
        for where in dict.fromkeys((device, torch.device("cpu"))):
            yield parts.extraction_row(where, plan, clock.share("extraction"), workers=4)
    if "forward" in args.only:
        yield from parts.forward_rows(device, plan, clock.until("forward"))


def training(device, plan, clock: Clock, folder: Path) -> Iterator:
    from benchmarks import gpu_parts as parts
    from utils.core.device import choose_by_trial

    for name, batch in zip(TRAINED, plan.batches, strict=True):
        alone = parts.network_row(name, device, plan, batch, clock.share("network"))
        yield alone
        steps = max(2, min(plan.steps, int(alone.value * clock.share("loader") / batch)))
        yield parts.loader_row(name, device, plan, batch, folder, steps)
    choose_by_trial(False)  # what comes after it scores


def table(rows: list, facts: dict) -> str:
    """The figures, a line each."""
    lines = []
    for row in rows:
        value = "-" if row.value is None else f"{row.value:10.2f}"
        more = ", ".join(f"{key} {shown(entry)}" for key, entry in row.more.items())
        lines.append(f"{row.part:11} {row.name:62} {value:>10} {row.unit:9} {more}")
    lines.append(", ".join(f"{key} {value}" for key, value in facts.items()))
    return "\n".join(lines)


def shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def run(args: argparse.Namespace) -> int:
    from dataclasses import asdict

    from benchmarks.timing import machine, say
    from utils.core.files import write_whole

    clock, rows = Clock(args.seconds), []

    def write() -> None:  # after each row: what there is by then is kept, whatever comes
        args.output.parent.mkdir(parents=True, exist_ok=True)
        figures = {"machine": facts, "rows": [asdict(row) for row in rows]}
        write_whole(args.output, json.dumps(figures, indent=1) + "\n")

    facts = {"device": args.device, "quick": args.quick}
    for row in measured(args, clock):
        if not rows:
            facts |= machine() | card(args.device)
        rows.append(row)
        say(table([row], {}).strip())
        write()
    facts["seconds"] = round(clock.past, 1)
    write()
    print(table(rows, facts))
    return 0


def card(name: str) -> dict[str, object]:
    """The GPU and what runs it."""
    import torch

    if not name.startswith("cuda"):
        return {}
    version = torch.backends.cudnn.version()
    return {"gpu": torch.cuda.get_device_name(name), "cuda": torch.version.cuda, "cudnn": version}


def main(argv: list[str] | None = None) -> int:
    """Measure, write, print; returns the exit code."""
    args = parse_arguments(argv)
    return console.run(lambda: run(args), f"stopped; {args.output} holds what was measured by then")


if __name__ == "__main__":
    sys.exit(main())
