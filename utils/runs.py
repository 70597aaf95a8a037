"""A training run: its folder (checkpoints, log), where it resumes from, and how it is stopped.

`save_dir` holds `ckpt-<k>.pth` (after epoch k), `best.pth` (lowest validation log loss), `last.pth` (the
latest state, also within an epoch) and `log.jsonl` (a line an epoch). All are `torch.save` files of plain
data and tensors: `{"epoch", "arch", "acc1", "state_dict", ...}`, names without `module.`.
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

from utils.checkpoint import load_checkpoint, load_weights, save_checkpoint
from utils.errors import ConfigError, WeightsError
from utils.files import write_whole
from utils.training import Tally

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

    def check(self) -> None:
        """Raise Stopped if a signal came."""
        if self.number:
            raise Stopped(self.number)


@dataclass
class Position:
    """How far a run is: epochs done, what the current one has seen, the best validation log loss so far."""

    epoch: int = 0
    tally: Tally = field(default_factory=Tally)
    best: float = math.inf
    metrics: dict[str, float] = field(default_factory=dict)


def resume_path(save_dir: str | Path, resume: str | None) -> Path | None:
    """The checkpoint to go on from, or None for a new run.

    resume: "auto" (`last.pth` of save_dir if it is there), a path, or a file name within save_dir. The
    published default, `best.pth`, may be absent: that is how a first run starts. ConfigError for another
    file that is absent, and for a new run in a folder that holds another one's `last.pth`.
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
        raise ConfigError(f"resume: no such file: {path}")
    if last.exists():
        raise ConfigError(
            f"save_dir: {last} is of an earlier run, which a new one would overwrite; "
            "go on from it with resume=auto, or choose another save_dir"
        )
    if path is not None:
        print(f"{path} is not there: training starts afresh")
    return None


class RunFolder:
    """Writes the checkpoints and the log of a run, for the main process only.

    config: as plain data; epoch: how many are done, rows of later ones in the log are dropped.
    """

    def __init__(self, save_dir: str | Path, arch: str, config: dict[str, Any], epoch: int = 0):
        self.path, self.arch, self.config = Path(save_dir), arch, config
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

    def save(
        self,
        position: Position,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        also: tuple[str, ...] = (),
    ) -> None:
        """Write `last.pth`, and the same under the names in `also`."""
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        checkpoint = {
            "epoch": position.epoch,
            "arch": self.arch,
            "acc1": 100 * position.metrics.get("accuracy", 0.0),
            "state_dict": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scaler": scaler.state_dict(),
            "tally": position.tally.plain(),
            "best": position.best,
            "metrics": position.metrics,
            "rng": {"torch": torch.get_rng_state(), "cuda": cuda},
            "config": self.config,
        }
        for name in ("last.pth", *also):
            save_checkpoint(checkpoint, self.path / name)
        self.saved = time.monotonic()

    def log(self, row: dict[str, Any]) -> None:
        """Append an epoch's row to `log.jsonl` (NaN, undefined, becomes null) and to TensorBoard."""
        plain = {key: None if value != value else value for key, value in row.items()}
        with open(self.path / "log.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(plain) + "\n")
        if self.board is not None:
            for key, value in row.items():
                self.board.add_scalar(key, value, row["epoch"])
            self.board.flush()

    def _rewind_log(self, epoch: int) -> None:
        """Drop the rows of epochs that are about to be trained again, and one that a killed run left torn."""
        path = self.path / "log.jsonl"
        if not path.exists():
            return
        rows = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        kept = [line for line in rows if (_epoch_of(line) or math.inf) <= epoch]
        if len(kept) < len(rows):
            write_whole(path, "".join(line + "\n" for line in kept))


def _epoch_of(line: str) -> int | None:
    """The epoch that a line of the log is about; None for a line that isn't whole."""
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, LookupError, TypeError):
        return None


def restore(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    config: dict[str, Any],
    same: tuple[str, ...],
) -> Position:
    """Put the state of a checkpoint back, in place; what it lacks (published files) starts anew, and is said.

    same: config keys that decide which samples come when, so may not change inside an epoch (ConfigError).
    WeightsError if the file is damaged or of another network.
    """
    load_weights(model, path, "resume")
    checkpoint = load_checkpoint(path, "resume")
    try:
        position = Position(int(checkpoint["epoch"]))
        if "optimizer" not in checkpoint:
            print(f"{path} holds no optimizer state: momentum starts at zero")
            return position
        optimizer.load_state_dict(checkpoint["optimizer"])
        scaler.load_state_dict(checkpoint["scaler"])
        position.tally = Tally(**checkpoint["tally"])
        position.best, position.metrics = checkpoint["best"], checkpoint["metrics"]
        torch.set_rng_state(checkpoint["rng"]["torch"])
        if len(checkpoint["rng"]["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all(checkpoint["rng"]["cuda"])
        before = checkpoint["config"]
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"{path} (resume) is no checkpoint of this training: {reason}") from None
    changed = [key for key in same if position.tally.step and before.get(key) != config[key]]
    if changed:
        key = changed[0]
        raise ConfigError(
            f"{key}: {before.get(key)!r} in {path}, now {config[key]!r}: it can't change inside an epoch; "
            "resume from the end of one (ckpt-<k>.pth) instead"
        )
    return position
