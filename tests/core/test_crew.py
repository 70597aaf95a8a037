"""Worker processes: what a file that crashes, hangs or is cut off costs, and what it doesn't."""

import argparse
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from crew_work import Squares, is_written
from scripts import ROOT

from utils.core import crew as crews
from utils.core.cluster import Cluster
from utils.core.crew import Crew
from utils.core.errors import ConfigError, UserError
from utils.core.workers import Here, add_options, place_for


@pytest.fixture
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "helpers"))  # for the workers
    return Squares(tmp_path)


def outcomes(work, items, workers=2, **options):
    with Crew(work, workers, **options) as crew:
        return list(crew.run(items))


def test_workers_do_what_one_process_does(work):
    items = [("ok", number) for number in range(40)]
    told = []
    with Here(work) as here:
        assert here.ready() == "ready"
        expected = list(here.run(items, lambda part, frames: told.append(frames)))
    assert told[-1] == 3 * len(items)
    with Crew(work, 2) as crew:
        assert crew.ready() == "ready"
        assert sorted(crew.run(items, lambda part, frames: told.append(frames))) == expected
    assert told[-1] == 3 * len(items)


def test_a_crash_and_a_hang_cost_those_files_alone(work):
    items = [("ok", number) for number in range(8)]
    items[2:2] = [("crash", 1)]
    items[5:5] = [("hang", 1), ("once", 1)]
    got = dict(outcomes(work, items, timeout=2.0))
    assert len(got) == len(items)
    assert all(got["ok", number] == number**2 for number in range(8)) and got["once", 1] == 1
    assert got["crash", 1].startswith(crews.GAVE_UP) and "SIGSEGV" in got["crash", 1]
    assert got["hang", 1].startswith(crews.GAVE_UP) and "--video-timeout" in got["hang", 1]
    assert work.starts("crash", 1) == work.starts("once", 1) == 2


def test_nothing_heard_for_long_ends_a_hang_too(work, monkeypatch):
    monkeypatch.setattr(crews, "PATIENCE", 2.0)
    got = dict(outcomes(work, [("ok", 1), ("hang", 1), ("ok", 2)], workers=1))
    assert "2 s" in got.pop(("hang", 1)) and got == {("ok", 1): 1, ("ok", 2): 4}


def test_kill_9_in_mid_run_changes_nothing_and_nothing_finished_is_done_twice(work):
    items, got = [("slow", number) for number in range(12)], []
    with Crew(work, 2) as crew:
        for outcome in crew.run(items):
            got.append(outcome)
            if len(got) == 2:  # once: a file that is met twice has failed
                os.kill(crew.members[0].process.pid, signal.SIGKILL)
    assert sorted(got) == sorted((item, item[1] ** 2) for item in items)
    starts = [work.starts(*item) for item in items]
    assert max(starts) <= 2 and sum(starts) <= len(items) + 1
    assert len({item for item, _ in got}) == len(items)


def test_what_a_worker_raises_is_raised_here(work):
    with pytest.raises(OSError, match="No space left") as raised:
        outcomes(work, [("ok", 1), ("raise", 1)])
    assert raised.value.filename == "crops" and "in a worker" in raised.value.__notes__[0]


def test_workers_that_never_begin_end_the_run(work):
    (work.log / "broken").touch()
    with pytest.raises(UserError, match="exit status 3"):
        outcomes(work, [("ok", 1)])


def test_workers_that_load_for_ever_end_the_run(work, monkeypatch):
    monkeypatch.setattr(crews, "LOAD_SECONDS", 0.5)
    (work.log / "stuck").touch()
    with pytest.raises(UserError, match="0 s"), Crew(work, 1) as crew:
        crew.ready()


def test_workers_that_end_before_they_are_told_the_work(work, monkeypatch):
    class Ended(subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.wait()

    monkeypatch.setattr(crews, "START", "raise SystemExit(3)")
    monkeypatch.setattr(crews.subprocess, "Popen", Ended)
    with pytest.raises(UserError, match="exit status 3"):
        outcomes(work, [("ok", 1)])


def test_a_worker_that_is_ended_leaves_no_file_half_written(work):
    """As at Ctrl-C, while a crop is being written."""
    with Crew(work, 1) as crew:
        crew.add(("write", 1))
        while not (work.log / "half").exists():
            crew.poll(0.1)
    assert is_written(work.log)


def test_a_worker_leaves_signals_to_the_process_that_started_it(work):
    assert outcomes(work, [("signalled", 2)]) == [(("signalled", 2), 4)]
    assert work.starts("signalled", 2) == 1


def test_a_worker_that_cannot_leave_is_killed(work, monkeypatch):
    monkeypatch.setattr(crews, "LEAVE_SECONDS", 0.2)
    with Crew(work, 1) as crew:
        assert crew.ready() == "ready"
        os.kill(crew.members[0].process.pid, signal.SIGSTOP)


def test_workers_end_with_the_process_that_started_them(work):
    """kill -9, in the midst of a file of theirs."""
    code = (
        "import os; from pathlib import Path; from crew_work import Squares; \n"
        "from utils.core.crew import Crew\n"
        f"crew = Crew(Squares(Path({str(work.log)!r})), 1); crew.start(); crew.ready()\n"
        "crew.add(('write', 1))\n"
        f"while not os.path.exists({str(work.log / 'half')!r}): crew.poll(0.1)\n"
        "print(crew.members[0].process.pid, flush=True); os.kill(os.getpid(), 9)"
    )
    path = os.pathsep.join([str(ROOT), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=600,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    pid, deadline = int(done.stdout), time.monotonic() + 600
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid) and is_written(work.log)


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return "State:\tZ" not in state  # ended; nobody asks for its status


@pytest.fixture
def few_files_here():
    """Not in this file."""


@pytest.mark.parametrize(
    ("options", "files", "one", "kind"),
    [
        ([], 1, False, Here), ([], 2, False, Crew), ([], 1000, True, Here),
        (["--workers", "0"], 1000, False, Here), (["--workers", "2"], 1, False, Crew),
        (["--video-timeout", "9"], 1, False, Crew), (["--dask", "tcp://a:1"], 1, False, Cluster),
        (["--workers", "2"], 9, True, ConfigError), (["--dask", "tcp://a:1"], 9, True, ConfigError),
        (["--video-timeout", "9"], 9, True, ConfigError),
        (["--workers", "0", "--video-timeout", "9"], 9, False, ConfigError),
        (["--workers", "2", "--dask", "tcp://a:1"], 9, False, ConfigError),
    ],
)  # fmt: skip
def test_where_work_is_done(work, options, files, one, kind):
    parser = argparse.ArgumentParser()
    add_options(parser)
    args = parser.parse_args(options)
    if kind is ConfigError:
        with pytest.raises(ConfigError, match="time_budget_s" if one else options[-2]):
            place_for(args, work, files, one)
    else:
        assert type(place_for(args, work, files, one)) is kind
