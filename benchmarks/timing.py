"""Timing pairs so that a busy moment of the machine falls on both, what the machine is, and the table."""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

STARTED = time.monotonic()
# What decides how fast half precision and 8-bit integers are on an x86 processor.
SHOWN_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "amx_int8")
# What the fast setting is to reach on a CPU of two cores: at least so many times faster.
GOALS = {
    "extraction mobilenet0.25 fast": 10,
    "extraction resnet50 fast": 20,
    "10-s clip published fast": 15,
    "training wsdan-xception fp32": 2.5,
    "training wsdan-efficientnet-b3 fp32": 2.5,
    "training xception fp32": 2.5,
}


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
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def table(rows: Sequence[Row]) -> str:
    """Times and ratios, then memory, then how far results moved, then the machine."""
    lines = []
    timed = [row for row in rows if row.ratio is not None]
    if timed:
        lines += [f"{'seconds a ...':40} {'':6} {'reference':>10} {'ours':>10} {'ratio':>7} {'goal':>6}"]
        for row in timed:
            goal = GOALS.get(row.name)
            lines.append(
                f"{row.name:40} {row.more['unit']:6} {row.reference_s:10.4f} {row.ours_s:10.4f}"
                f" {row.ratio:6.1f}x {'' if goal is None else f'{goal:g}x':>6}"
            )
    for row in rows:
        if row.name.startswith("memory"):
            lines.append(
                f"{row.name:40} peak {row.more['short_mib']} MiB ({row.more['short_frames']} frames), "
                f"{row.more['long_mib']} MiB ({row.more['long_frames']} frames)"
            )
    lines += [agreement_line(row) for row in rows if row.name.startswith("agreement")]
    facts = next(row.more for row in rows if row.name == "machine")
    lines.append(
        f"{facts['cpu']}, {facts['cores']} cores ({' '.join(facts['flags']) or 'no flags known'}), "
        f"torch {facts['torch']} on {facts['threads']} threads; took {facts['seconds'] / 60:.1f} minutes"
    )
    if not facts["shared_data"]:
        lines.append("DFDC_SHARED names no folder: fewer kinds of clip, no stills, hardly a fake")
    if facts["quick"]:
        lines.append("--quick: these figures mean nothing")
    if facts["load_at_start"] > 0.5:
        lines.append(f"the machine was busy at the start (load {facts['load_at_start']}): ratios may be off")
    return "\n".join(lines)


def agreement_line(row: Row) -> str:
    """How far results moved, in one line."""
    more = row.more
    aucs = "-" if more["auc_before"] is None else f"{more['auc_before']:.4f} -> {more['auc_after']:.4f}"
    return (
        f"{row.name:26} {more['faces']} faces of {more['files']} files, {more['fakes']} of them fake "
        f"(+{more['only_ours']} -{more['only_reference']} faces): "
        f"{more['other_faces']} another face; "
        f"landmarks {more['landmarks_px_mean']:.3f} px mean, {more['landmarks_px_p99']:.3f} p99; "
        f"probability {more['probability_shift_mean']:.5f} mean, {more['probability_shift_max']:.5f} max; "
        f"AUC {aucs}"
    )
