"""The fuzz tests end a file that hangs, and say where."""

import subprocess
import sys

from utils.core.config import ROOT

# A lock that is never given: the main thread waits in C.
HANG = """
import sys, threading
from pathlib import Path
from fuzz import no_hang
lock = threading.Lock()
lock.acquire()
with no_hang(Path(sys.argv[1]), 0.2):
    lock.acquire()
"""


def test_a_hang_in_c_ends_the_process_and_leaves_where_it_was(tmp_path):
    command = [sys.executable, "-c", HANG, str(tmp_path / "a.mp4")]
    done = subprocess.run(command, cwd=ROOT / "tests" / "helpers", timeout=60)
    assert done.returncode == 1
    assert "line 8" in (tmp_path / "a.mp4.hang").read_text()
