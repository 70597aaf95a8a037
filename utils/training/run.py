"""A training run: its folder (checkpoints, log), where it resumes from, and how it is stopped.

`save_dir` holds checkpoints of kept epochs, `best.pth` (lowest validation log loss), `last.pth` (the latest
state, also within an epoch) and `log.jsonl` (a line an epoch). Checkpoints are `torch.save` files of plain
data and tensors: `{"epoch", "arch", "state_dict", ...}`, names without `module.`, and what the published code
expects of its own.
"""

from __future__ import annotations

import json
import math
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from utils.core import distributed
from utils.core.errors import ConfigError, WeightsError
from utils.core.files import append_line, write_whole
from utils.training.engine import Tally
from utils.weights.checkpoint import load_checkpoint, load_weights, save_checkpoint

PUBLISHED_RESUME = "best.pth"


class Stopped(Exception):
    """A signal asked the run to stop, and its state is saved; `code` is the process's exit status."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class StopRequest:
    """Catches Ctrl-C and SIGTERM while the context is open; the second one acts at once."""

    def __init__(self):
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, _frame) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number


@dataclass
class Position:
    """How far a run is: epochs done, what the current one has seen, the best validation log loss so far."""

    epoch: int = 0
    tally: Tally = field(default_factory=Tally)
    best: float = math.inf
    metrics: dict[str, float] = field(default_factory=dict)


def resume_path(save_dir: str | Path, resume: str | None, key: str = "resume") -> Path | None:
    """The checkpoint to go on from, or None for a new run.

    resume: "auto" (`last.pth` of save_dir if it is there), a path, or a file name within save_dir; key: what
    the config calls it. The published default, `best.pth`, may be absent: that is how a first run starts.
    ConfigError for another file that is absent, and for a new run in a folder that holds another one's
    `last.pth`.
    """
    last = Path(save_dir, "last.pth")
    if resume == "auto":
        return last if last.is_file() else None
    path = Path(save_dir, resume) if resume else None
    if path is not None and path.is_file():
        if resume == PUBLISHED_RESUME and last.is_file():
            print(f"going on from {last}, which is as far as {path} or further")
            return last
        return path
    if path is not None and resume != PUBLISHED_RESUME:
        raise ConfigError(f"{key}: no such file: {path}")
    if last.exists():
        raise ConfigError(
            f"save_dir: {last} is of an earlier run, which a new one would overwrite; "
            f"go on from it with {key}=auto, or choose another save_dir"
        )
    if path is not None:
        print(f"{path} is not there: training starts afresh")
    return None


# Keys that decide which samples come when and that older checkpoints lack: what was done then.
YOUNGER_KEYS = {"self_blended": 0.0, "epoch_samples": None}


class RunFolder:
    """Writes the checkpoints and the log of a run, for the main process only.

    config: as plain data; epoch: how many are done, rows of later ones in the log are dropped.
    """

    def __init__(self, save_dir: str | Path, config: dict[str, Any], epoch: int = 0):
        self.path, self.config = Path(save_dir), config
        self.path.mkdir(parents=True, exist_ok=True)
        self.saved = time.monotonic()
        self._rewind_log(epoch)
        self.board = None
        if config["tensorboard"]:
            from torch.utils.tensorboard import SummaryWriter  # slow to import

            self.board = SummaryWriter(str(self.path / "tensorboard"), purge_step=epoch + 1)

    def due(self) -> bool:
        """Whether `checkpoint_minutes` have gone by since the last save."""
        return time.monotonic() - self.saved >= 60 * self.config["checkpoint_minutes"]

    def save(self, checkpoint: dict[str, Any], also: tuple[str, ...] = ()) -> None:
        """Write the checkpoint under the names in `also`, then as `last.pth`.

        In this order, because a run goes on from `last.pth`: where the disk fails before that one, the run
        validates again and writes the others then.
        """
        for name in (*also, "last.pth"):
            save_checkpoint(checkpoint, self.path / name)
        self.saved = time.monotonic()

    def say(self, text: str) -> None:
        """Print, and add to the run's text log if the config names one."""
        print(text, flush=True)
        if self.config.get("log_name"):
            append_line(self.path / self.config["log_name"], text)

    def log(self, row: dict[str, Any]) -> None:
        """Append an epoch's row to `log.jsonl` (NaN, undefined, becomes null) and to TensorBoard."""
        plain = {key: None if value != value else value for key, value in row.items()}
        append_line(self.path / "log.jsonl", json.dumps(plain))
        if self.board is not None:
            for key, value in row.items():
                self.board.add_scalar(key, value, row["epoch"])
            self.board.flush()

    def _rewind_log(self, epoch: int) -> None:
        """Drop the rows of epochs that are about to be trained again, and one that a killed run left torn."""
        path = self.path / "log.jsonl"
        if not path.exists():
            return
        text = path.read_text(encoding="utf-8", errors="replace")  # a damaged disk's bytes are no row
        rows = [line for line in text.splitlines() if line.strip()]
        kept = [line for line in rows if (_epoch_of(line) or math.inf) <= epoch]
        if len(kept) < len(rows):
            write_whole(path, "".join(line + "\n" for line in kept))


def _epoch_of(line: str) -> int | None:
    """The epoch that a line of the log is about; None for a line that isn't whole."""
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, LookupError, TypeError):
        return None


def snapshot(
    position: Position,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    batch: int,
) -> dict[str, Any]:
    """What every checkpoint holds but the weights; to be called in all processes.

    batch: samples a step, over all processes.

    Random states are not among it: what is drawn depends on seed, epoch, step, process and sample.
    """
    return {
        "epoch": position.epoch,
        "optimizer": optimizer.state_dict(),
        "scaler": scaler.state_dict(),
        "tallies": distributed.gather(position.tally.plain()),
        "batch": batch,
        "best": position.best,
        "metrics": position.metrics,
    }


def restore(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    config: dict[str, Any],
    same: tuple[str, ...],
    batch: int,
    key: str = "resume",
) -> tuple[Position, dict[str, Any]]:
    """Put the state of a checkpoint back, in place; returns the position and the whole checkpoint.

    What the file lacks (published ones) starts anew, and is said. same: config keys that decide which
    samples come when, so may not change inside an epoch (ConfigError), nor may `batch`, the samples a step.
    WeightsError if the file is damaged or of another network.
    """
    load_weights(model, path, key)
    checkpoint = load_checkpoint(path, key)
    try:
        done = checkpoint["epoch"] if "epoch" in checkpoint else checkpoint["logs"]["epoch"]
        position = Position(int(done))
        if "optimizer" not in checkpoint:
            if distributed.is_main():
                print(f"{path} holds no optimizer state: momentum starts at zero")
            return position, checkpoint
        optimizer.load_state_dict(checkpoint["optimizer"])
        scaler.load_state_dict(checkpoint["scaler"])
        position.tally = _own_tally(checkpoint["tallies"])
        position.best, position.metrics = float(checkpoint["best"]), dict(checkpoint["metrics"])
        before, batch_before = YOUNGER_KEYS | checkpoint["config"], int(checkpoint["batch"])
    except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} ({key}) is no checkpoint of this training: {reason}") from None
    changed = [(name, before.get(name), config[name]) for name in same if before.get(name) != config[name]]
    if batch != batch_before:
        changed.append(("samples a step", batch_before, batch))
    if changed and position.tally.step:
        name, was, now = changed[0]
        raise ConfigError(
            f"{name}: {was!r} in {path}, now {now!r}: it can't change inside an epoch; "
            f"give {key} the checkpoint of an epoch's end instead"
        )
    return position, checkpoint


def _own_tally(tallies: list[dict[str, Any]]) -> Tally:
    """This process's part of what an epoch has seen; of another number of processes, the first takes all."""
    parts = [Tally(**part) for part in tallies]
    if len(parts) == distributed.world_size():
        return parts[distributed.rank()]
    whole = Tally(step=parts[0].step, seconds=parts[0].seconds)
    if distributed.is_main():
        for part in parts:
            whole.n, whole.broken = whole.n + part.n, whole.broken + part.broken
            for name, value in part.sums.items():
                whole.sums[name] = whole.sums.get(name, 0.0) + value
    return whole
