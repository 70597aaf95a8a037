"""Timing pairs so that a busy moment of the machine falls on both, and what the machine is."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STARTED = time.monotonic()
# What decides how fast half precision and 8-bit integers are on an x86 processor.
SHOWN_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")

@dataclass(frozen=True)
class Row:
    """A line of the table: seconds by the reference and by us, and more of what there is to say.

    ratio: how many times faster we are; None, like the seconds, where something else was measured.
    """

    name: str
    reference_s: float | None = None
    ours_s: float | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        return None if not self.reference_s or not self.ours_s else self.reference_s / self.ours_s

    def plain(self) -> dict[str, Any]:
        """As `bench.json` holds it."""
        values = {key: value for key, value in asdict(self).items() if key != "more"}
        return values | {"ratio": self.ratio} | dict(self.more)


def parser_of(doc: str) -> argparse.ArgumentParser:
    """A parser with a script's docstring as its help: the first line, and behind the options the rest."""
    summary, _, usage = doc.partition("\n\n")
    return argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"[{time.monotonic() - STARTED:5.0f} s] {text}", file=sys.stderr, flush=True)


def seconds(task: Callable[[], Any]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def interleaved(
    tasks: Mapping[str, Callable[[], Any]], runs: int, warm_up: bool = True
) -> dict[str, list[float]]:
    """Seconds of each task in `runs` rounds; a round runs every task once. A first round doesn't count."""
    if warm_up:
        for task in tasks.values():
            task()
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for number in range(runs):
        for name, task in tasks.items():
            times[name].append(seconds(task))
        shown = ", ".join(f"{name} {values[-1]:.2f} s" for name, values in times.items())
        say(f"  round {number + 1} of {runs}: {shown}")
    return times


def medians(times: Mapping[str, list[float]]) -> dict[str, float]:
    """The middle one of each task's times."""
    return {name: statistics.median(values) for name, values in times.items()}


def processor() -> tuple[str, list[str]]:
    """Its name, and which of SHOWN_FLAGS it has; what Python knows where there is no /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine(), []
    values = {line.partition(":")[0].strip(): line.partition(":")[2].strip() for line in lines}
    flags = values.get("flags", "").split()
    return values.get("model name", platform.machine()), [flag for flag in SHOWN_FLAGS if flag in flags]


def has_bf16() -> bool:
    """Whether the processor computes in bf16 itself; torch emulates it elsewhere, slowly."""
    return bool({"avx512_bf16", "amx_bf16"} & set(processor()[1]))


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    import cv2
    import torch

    name, flags = processor()
    return {
        "cpu": name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "flags": flags,
        "bf16": has_bf16(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "opencv": cv2.__version__,
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
        "load_at_start": round(os.getloadavg()[0], 2),
    }
