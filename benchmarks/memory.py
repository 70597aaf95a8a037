"""Part (d): the peak memory of a script, measured in a process of its own.

    python benchmarks/memory.py best-submission.py clip.mp4 --output out.csv

runs the script with these arguments and writes, as the last line of standard error, `peak_mib <number>`.
"""

from __future__ import annotations

import resource
import runpy
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MOST_SECONDS = 3600  # of one measurement
MARK = "peak_mib"


@dataclass(frozen=True)
class MemoryPlan:
    """Frames of the short and of the long clip of 1080p video; what is run on them."""

    short: int = 60
    long: int = 600
    size: tuple[int, int] | None = None
    scripts: tuple[str, ...] = ("scoring", "extraction")


def peak_mib() -> float:
    """The most memory that this process has held so far."""
    try:
        # Of this program alone; what getrusage says includes the parent's before the program was started.
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


def measure(script: str, *arguments: str) -> float:
    """Peak MiB of a script of this repository; RuntimeError with its last words if it fails."""
    command = [sys.executable, str(Path(__file__).resolve()), str(ROOT / script), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=MOST_SECONDS)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"{script} hasn't ended after {MOST_SECONDS} s") from None
    lines = done.stderr.strip().splitlines() or [""]
    if done.returncode or not lines[-1].startswith(MARK):
        raise RuntimeError(f"{script} ended with status {done.returncode}: {lines[-1]}")
    return float(lines[-1].split()[1])


def memory_rows(plan: MemoryPlan) -> list:
    """Peak memory of scoring and of extraction, every tenth frame of a short and of a long clip."""
    from benchmarks.inputs import cut_clip
    from benchmarks.timing import Row, say

    clips = {name: cut_clip(getattr(plan, name), plan.size) for name in ("short", "long")}
    rows = []
    for name in plan.scripts:
        peaks = {}
        for kind, clip in clips.items():
            with tempfile.TemporaryDirectory() as folder:
                if name == "extraction":
                    command = ["make_dataset.py", str(clip), f"{folder}/crops", "--every", "10"]
                else:
                    # without a limit of faces, or a long clip would be closed after 250 frames
                    command = ["best-submission.py", str(clip), "--output", f"{folder}/submission.csv"]
                    command += ["face_limit=100000"]
                peaks[kind] = measure(*command)
        more = {f"{kind}_mib": round(peak) for kind, peak in peaks.items()}
        more |= {"unit": "MiB", "short_frames": plan.short, "long_frames": plan.long}
        rows.append(Row(f"memory {name}", more=more))
        say(f"(d) {name}: " + ", ".join(f"{peak:.0f} MiB {kind}" for kind, peak in peaks.items()))
    return rows


def main(arguments: list[str]) -> int:
    """Run a script as Python itself would, and say what its peak was."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: {Path(__file__).name} SCRIPT [ARGUMENTS]\n\n{__doc__}")
        return 0
    if arguments[0].startswith("-"):
        print(f"error: {arguments[0]} is not a script; see --help", file=sys.stderr)
        return 2
    sys.argv = arguments
    sys.path[0] = str(Path(arguments[0]).resolve().parent)
    status = 0
    try:
        runpy.run_path(arguments[0], run_name="__main__")
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    print(f"{MARK} {peak_mib():.1f}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    sys.exit(main(sys.argv[1:]))
