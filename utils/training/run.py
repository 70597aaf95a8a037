"""The folder of a training run (checkpoints, log), and how a run is stopped.

`save_dir` holds checkpoints of kept epochs, `best.pth` (lowest validation log loss), `last.pth` (the latest
state, also within an epoch) and `log.jsonl` (a line an epoch). Checkpoints are `torch.save` files of plain
data and tensors: `{"epoch", "arch", "state_dict", ...}`, names without `module.`, and what the published code
expects of its own.
"""

from __future__ import annotations

import json
import math
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from utils.core import distributed
from utils.core.console import STOPPING
from utils.core.errors import UserError
from utils.core.files import append_line, link_whole, without_nan, write_whole
from utils.core.lock import sole_run
from utils.training.curves import draw_curves
from utils.weights.checkpoint import save_checkpoint


class Stopped(Exception):
    """A signal asked the run to stop, and its state is saved; `code` is the process's exit status."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


class StopRequest:
    """Catches Ctrl-C, SIGTERM and SIGHUP while the context is open; the second one acts at once.

    Under nohup SIGHUP stays without effect.
    """

    def __init__(self):
        self.number = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        for number in STOPPING:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._catch)
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _catch(self, number: int, _frame) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def sole_training(save_dir: str | Path, writes: bool = True) -> Iterator[None]:
    """Keep other runs out of `save_dir` while the context is open, if this one `writes`; makes the folder.

    The first process holds the lock. Raises UserError in all of them where another run trains there, or the
    folder can't be made.
    """
    folder, refusal = Path(save_dir), None
    with ExitStack() as held:
        if writes and distributed.is_main():
            try:
                if not folder.is_dir():
                    folder.mkdir(parents=True, exist_ok=True)
                    held.callback(_remove_empty, folder)  # of a run that doesn't come so far as to write
                held.enter_context(sole_run(folder))
            except OSError as error:
                refusal = f"save_dir: {folder} can't be made ({error.strerror}); name another one"
            except UserError as error:
                refusal = f"save_dir: {error}"
        refusal = distributed.gather(refusal)[0]
        if refusal is not None:
            raise UserError(refusal)
        yield


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


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

            _silence_disk_errors_of_threads()
            self.board = SummaryWriter(str(self.path / "tensorboard"), purge_step=epoch + 1)

    def due(self) -> bool:
        """Whether `checkpoint_minutes` have gone by since the last save."""
        return time.monotonic() - self.saved >= 60 * self.config["checkpoint_minutes"]

    def save(self, checkpoint: dict[str, Any], also: tuple[str, ...] = ()) -> None:
        """Write the checkpoint under the names in `also`, then as `last.pth`; all are names of one file.

        In this order, because a run goes on from `last.pth`: where the disk fails before that one, the run
        validates again and writes the others then. OSError where the folder is gone: with it, its lock.
        """
        os.stat(self.path)
        first, *others = (*also, "last.pth")
        save_checkpoint(checkpoint, self.path / first)
        for name in others:
            link_whole(self.path / first, self.path / name)
        self.saved = time.monotonic()

    def remove(self, names: list[str]) -> None:
        """Remove checkpoints, if they are there."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)

    def say(self, text: str) -> None:
        """Print, and add to the run's text log if the config names one."""
        print(text, flush=True)
        if self.config.get("log_name"):
            append_line(self.path / self.config["log_name"], text)

    def log(self, row: dict[str, Any]) -> None:
        """Add an epoch's row to `log.jsonl` (NaN, undefined, becomes null), the curves and TensorBoard."""
        append_line(self.path / "log.jsonl", json.dumps(without_nan(row)))
        write_whole(self.path / "curves.png", draw_curves([json.loads(line) for line in self._whole_rows()]))
        if self.board is not None:
            self._plot(row)

    def _plot(self, row: dict[str, Any]) -> None:
        try:
            for key, value in row.items():
                self.board.add_scalar(key, value, row["epoch"])
            self.board.flush()
        except OSError as error:
            error.filename = os.fspath(self.path / "tensorboard")
            raise

    def _rewind_log(self, epoch: int) -> None:
        """Drop the rows of epochs that are about to be trained again, and one that a killed run left torn."""
        path = self.path / "log.jsonl"
        if not path.exists():
            return
        kept = self._whole_rows(epoch)
        if len(kept) < len([line for line in path.read_bytes().splitlines() if line.strip()]):
            write_whole(path, "".join(line + "\n" for line in kept))

    def _whole_rows(self, epoch: float = math.inf) -> list[str]:
        """The lines of the log that are rows of epochs up to this one."""
        text = (self.path / "log.jsonl").read_text(encoding="utf-8", errors="replace")  # of a damaged disk
        return [line for line in text.splitlines() if _epoch_of(line) <= epoch]


def _silence_disk_errors_of_threads() -> None:
    """TensorBoard's thread, which a disk stops, says nothing itself: who gives it something next is told."""
    before = threading.excepthook

    def tell(failed: threading.ExceptHookArgs) -> None:
        if not isinstance(failed.exc_value, OSError):
            before(failed)

    threading.excepthook = tell


def _epoch_of(line: str) -> float:
    """The epoch that a line of the log is about; NaN for a line that isn't whole."""
    try:
        return int(json.loads(line)["epoch"])
    except (ValueError, LookupError, TypeError):
        return math.nan
