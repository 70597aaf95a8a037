"""best-submission.py as its users start it, and the tables it writes."""

import csv
import subprocess
import sys

from scripts import ROOT

SCRIPT = ROOT / "best-submission.py"


def run(*arguments, cwd=None):
    """The script in a process of its own: (exit code, stdout, stderr)."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return [tuple(row) for row in csv.reader(file)]
