"""Freed memory is kept by the scripts, and returned where that is asked for."""

import platform
import subprocess
import sys

import pytest
from conftest import ROOT

from utils import allocation

COUNT = """
import resource, sys
import torch
from utils.allocation import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(12_000_000)  # 48 MB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

for keep in (True, False, True):
    assert keep_freed_memory(keep)
    faults()  # the first block is new in any case
    print(faults())
"""
on_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")


@on_glibc
def test_kept_memory_is_used_again_without_asking_the_system():
    done = subprocess.run(
        [sys.executable, "-c", COUNT], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    kept, returned, kept_again = map(int, done.stdout.split())
    assert returned > 1000  # pages, or ten times fewer if they are huge ones
    assert kept < returned / 20 and kept_again < returned / 20


@on_glibc
def test_scripts_keep_it():
    """Each of them starts with `command.run`."""
    code = (
        "import sys; from utils import allocation, command; seen = []; "
        "allocation.keep_freed_memory = lambda: seen.append(1); "
        "sys.exit(command.run(lambda: len(seen)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 1


def test_elsewhere_nothing_is_done(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not allocation.keep_freed_memory()
