"""Runs that are stopped at random moments."""

import multiprocessing
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from forks import forks
from scripts import ROOT, load_script

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
PATIENCE = 1800  # seconds; a busy machine may take long


def extract(*arguments: object) -> int:
    import make_dataset

    return make_dataset.main([*map(str, arguments)])


def score(*arguments: object) -> int:
    return load_script(ROOT / "best-submission.py").main([*map(str, arguments), "--device", "cpu"])


def train(config) -> int:
    from training_runs import TinyNet, script

    from utils.core.console import run

    script.build_network = lambda name: TinyNet()
    return run(lambda: script.train(config))


def train_wsdan(config) -> int:
    from wsdan_runs import TinyWSDAN, script

    from utils.core.console import run

    script.build_network = lambda name, num_attentions: TinyWSDAN(M=num_attentions)
    return run(lambda: script.train(config))


def start(target: Callable, *arguments: object, log: Path) -> multiprocessing.Process:
    """`target` in a process of its own, on one thread; what it prints goes to `log`."""
    process = forks().Process(target=_run, args=(log, target, arguments))
    process.start()
    return process


def _run(log: Path, target: Callable, arguments: tuple) -> None:
    import torch

    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    torch.set_num_threads(1)
    os.chdir(log.parent)
    status = target(*arguments)
    sys.stdout.flush()
    os._exit(status)


def finish(target: Callable, *arguments: object, log: Path) -> tuple[int, float]:
    """Exit status and seconds of an undisturbed run."""
    began = time.monotonic()
    process = start(target, *arguments, log=log)
    process.join(PATIENCE)
    assert process.exitcode is not None, log.read_text()
    return process.exitcode, time.monotonic() - began


def stop_at_random(
    target: Callable, arguments: Callable[[Path], tuple], folder: Path, times: int, check: Callable
) -> list[str]:
    """Stop runs at `times` moments, run each again, and have `check(undisturbed, stopped folder)` compare.

    arguments: of `target` for an output folder. Returns what was done, a line each; fails where a run that
    goes on fails, one that is stopped shows a traceback, or one that can clear up leaves a half-written file.
    """
    log, whole = folder / "log.txt", folder / "whole"
    whole.mkdir()
    assert finish(target, *arguments(whole), log=log)[0] == 0, log.read_text()
    dice, told, tries = random.Random(), [], 0
    seconds = finish_again(target, arguments, folder, log)
    while len(told) < times and tries < 3 * times:
        tries += 1
        out, number = folder / f"stopped{tries}", dice.choice(SIGNALS)
        moment = dice.uniform(0.02, 1) * seconds
        out.mkdir()
        log.unlink()
        process = start(target, *arguments(out), log=log)
        process.join(moment)
        if process.exitcode is None:
            os.kill(process.pid, number)
            process.join(PATIENCE)
            told.append(f"{number.name} at {moment:.2f} of {seconds:.2f} s")
            assert number == signal.SIGKILL or not list(out.rglob("*.part")), told[-1]
        assert "Traceback" not in log.read_text(), log.read_text()
        assert finish(target, *arguments(out), log=log)[0] == 0, log.read_text()
        check(whole, out)
    assert len(told) == times, f"only {len(told)} of {times} runs were stopped in time"
    return told


def finish_again(target: Callable, arguments: Callable[[Path], tuple], folder: Path, log: Path) -> float:
    """Seconds of a run for which all is loaded."""
    (folder / "timed").mkdir()
    return finish(target, *arguments(folder / "timed"), log=log)[1]


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
