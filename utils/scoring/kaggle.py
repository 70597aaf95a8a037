"""What kaggle-submission.ipynb does: find what is attached, install wheels, score, leave a whole submission.

    attached = find_attached(Path("/kaggle/input"), CODE)
    install_wheels(attached)
    score_attached(attached, output, deadline=time.monotonic() + 8.5 * 3600)
    check_submission(attached, output)

Kaggle lays each data set that is attached into a folder below its input folder, read-only, and how deep has
changed in the past. So files are found by their names. Scoring is best-submission.py in a process of its own:
it sees the packages that were just installed, and what ends it leaves the notebook alive, which then fills in
what has no score.
"""

from __future__ import annotations

import csv
import glob
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.core.errors import UserError
from utils.core.names import name_in

SAMPLE, VIDEOS = "sample_submission.csv", "test_videos"
BUDGET = 0.95  # of the time until the deadline, which the last clips under way may pass
INSTALL_SECONDS = 1800  # that pip may take
PATIENCE = 120.0  # seconds that scoring may take to stop
NOT_REACHED = "not reached: "  # how the reason of a file begins that scoring didn't come to


@dataclass(frozen=True)
class Attached:
    """Below the input folder `root`: the repository, the videos, the sample, and folders of wheels."""

    root: Path
    code: Path
    videos: Path
    sample: Path
    wheels: tuple[Path, ...]


def find_attached(root: Path, code: Path) -> Attached:
    """What is attached below `root`; code: this repository.

    Raises UserError where the sample, beside a folder of videos, isn't there exactly once.
    """
    files = [Path(folder) / name for folder, _, names in os.walk(root, followlinks=True) for name in names]
    samples = [path for path in files if path.name == SAMPLE and (path.parent / VIDEOS).is_dir()]
    if len(samples) != 1:
        found = ", ".join(map(str, samples)) or "none"
        raise UserError(
            f"{root}: one {SAMPLE} beside a folder {VIDEOS} is needed; found: {found}. Attach the competition"
        )
    wheels = sorted({path.parent for path in files if path.suffix == ".whl"})
    return Attached(root, code, samples[0].parent / VIDEOS, samples[0], tuple(wheels))


def install_wheels(attached: Attached) -> str:
    """Install what requirements.txt asks for and isn't there, from the wheels alone; says what came of it.

    Raises UserError with pip's reason.
    """
    if not attached.wheels:
        return "no wheels attached: the packages that are here must do"
    links = [part for folder in attached.wheels for part in ("--find-links", str(folder))]
    options = ["--no-index", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore"]
    command = [sys.executable, "-m", "pip", "install", *options, *links]
    command += ["-r", str(attached.code / "requirements.txt")]
    where = ", ".join(map(str, attached.wheels))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        raise UserError(f"the wheels in {where} aren't installed after {INSTALL_SECONDS} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["pip says nothing"]
        raise UserError(f"the wheels in {where} don't do: {said[-1]}")
    return f"packages are as requirements.txt asks; wheels from {', '.join(map(str, attached.wheels))}"


def find_weights(attached: Attached, config: Path, overrides: Sequence[str] = ()) -> list[str]:
    """`key=value` that name weights files of a config which aren't where it says, but are attached.

    Raises ConfigError, and UserError where one is attached twice.
    """
    from utils.core.config import load_config
    from utils.faces.config import PACKAGE_WEIGHTS
    from utils.scoring.config import SubmissionConfig

    loaded = load_config(config, SubmissionConfig, overrides)

    def found(path: str) -> str:
        if path == PACKAGE_WEIGHTS or Path(path).exists():
            return path
        others = sorted(attached.root.rglob(glob.escape(Path(path).name)))
        if len(others) > 1:
            raise UserError(f"{Path(path).name} is attached more than once: {', '.join(map(str, others))}")
        return str(others[0]) if others else path  # scoring says by name what is missing

    ensemble = [(network, found(path), weight) for network, path, weight in loaded.ensemble]
    detector = found(loaded.detector_weights)
    changed = [] if ensemble == loaded.ensemble else [f"ensemble={ensemble!r}"]
    return changed + ([] if detector == loaded.detector_weights else [f"detector_weights={detector}"])


def score_attached(
    attached: Attached,
    output: Path,
    deadline: float,
    config: str = "bundled.py",
    device: str = "auto",
    overrides: Sequence[str] = (),
) -> None:
    """Score all videos; `output` then has a row for each name of the sample, whatever happened.

    deadline: of time.monotonic(); `time_budget_s` is set to make it, and at it scoring is stopped. What has
    no score by then has 0.5, and its reason in the table of errors beside `output`. Scoring that crashes goes
    on in a worker, which tells the file that did it; what ends early otherwise, as long as that brings new
    scores. A second call goes on, too. config: of submission-conf/. Raises UserError for settings that can't
    be.
    """
    config_path = attached.code / "submission-conf" / config
    overrides = [*overrides, *find_weights(attached, config_path, overrides)]
    names, crashed = read_names(attached.sample), False
    while (todo := missing_in(output, names)) and (left := deadline - time.monotonic()) > 0:
        budget = [f"time_budget_s={max(BUDGET * left, 1):.0f}"]  # which workers don't keep
        code = run_until(deadline, [
            sys.executable, str(attached.code / "best-submission.py"), str(attached.videos),
            "--config", str(config_path), "--sample-submission", str(attached.sample),
            "--output", str(output), "--device", device, "--resume",
            *overrides, *(["--workers", "1"] if crashed else budget),
        ])  # fmt: skip
        if code == 2:
            raise UserError("settings or weights can't be used; the line above says why")
        if code < 0 and not crashed:
            crashed = True
        elif len(missing_in(output, names)) == len(todo):
            break
    left_out = f"{len(missing_in(output, names))} of {len(names)} files"
    fill_in(output, names, f"{NOT_REACHED}scoring ended before {left_out}")


def missing_in(output: Path, names: Sequence[str]) -> list[str]:
    """The names without a score."""
    scores = read_scores(output)
    return [name for name in names if name not in scores]


def run_until(deadline: float, command: Sequence[str]) -> int:
    """Run a command and pass on what it says; its exit code. At the deadline it is stopped as by Ctrl-C."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        start_new_session=True,
    )  # fmt: skip
    left = deadline - time.monotonic()
    timers = [
        threading.Timer(left, process.send_signal, [signal.SIGINT]),
        threading.Timer(left + PATIENCE, os.killpg, [process.pid, signal.SIGKILL]),
    ]
    try:
        for timer in timers:
            timer.start()
        for line in process.stdout:
            if line.strip():  # a bar of progress is wiped with blanks
                print(line, end="", flush=True)
        return process.wait()
    finally:
        for timer in timers:
            timer.cancel()
        if process.poll() is None:  # the notebook itself was stopped
            process.send_signal(signal.SIGINT)
            try:
                process.communicate(timeout=PATIENCE)  # reads what is left: a full pipe would hold it up
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()


def read_names(sample: Path) -> list[str]:
    """The names of a sample, in its order. Raises ConfigError."""
    from utils.scoring.submission import read_sample

    return read_sample(sample, str(sample))


def read_scores(output: Path) -> dict[str, tuple[float, str]]:
    """{name: (probability, why it wasn't judged, or "")} of what scoring came to, by its record, which it
    removes at its end, or its submission."""
    from utils.scoring.record import record_path
    from utils.scoring.submission import beside

    if record := rows_of(record_path(output)):
        return {name_in(row["filename"]): (float(row["probability"]), row["reason"]) for row in record}
    reasons = {name_in(row["filename"]): row["reason"] for row in rows_of(beside(output, "errors"))}
    rows = [(row["filename"], float(row["label"])) for row in rows_of(output)]
    scores = {name: (label, reasons.get(name, "")) for name, label in rows}
    return {name: known for name, known in scores.items() if not known[1].startswith(NOT_REACHED)}


def rows_of(path: Path) -> list[dict[str, str]]:
    """The rows of a table; none where it isn't there. A last one that a killed run left torn isn't one."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]


def fill_in(output: Path, names: Sequence[str], reason: str) -> None:
    """Write `output` by the record of scoring that ended early, or if it lacks any of the names; those
    without a score have 0.5, for the reason."""
    from utils.scoring.aggregate import UNDECIDED, Result
    from utils.scoring.record import record_path
    from utils.scoring.submission import write_submission

    if not record_path(output).exists() and [row["filename"] for row in rows_of(output)] == list(names):
        return
    scores = read_scores(output)
    known = {name: scores.get(name, (UNDECIDED, reason)) for name in names}
    rows = [(name, Result(Path(name), p, 0, why)) for name, (p, why) in known.items()]
    write_submission(output, rows, exact=True)


def check_submission(attached: Attached, output: Path) -> str:
    """A line on a submission. Raises UserError if it isn't what Kaggle takes: the sample's names, in its
    order, each with a probability."""
    from utils.scoring.submission import beside

    rows, names = rows_of(output), read_names(attached.sample)
    if [row["filename"] for row in rows] != names:
        raise UserError(f"{output} hasn't the {len(names)} names of {attached.sample} in their order")
    wrong = [row["filename"] for row in rows if not 0 <= float(row["label"]) <= 1]
    if wrong:
        raise UserError(f"{output}: {wrong[0]} has no probability")
    failed = len(rows_of(beside(output, "errors")))
    return f"{output}: {len(rows)} rows in the sample's order; {failed} of them not judged, 0.5"
