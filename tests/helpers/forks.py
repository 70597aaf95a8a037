"""Processes that begin with what takes seconds to import: forks of one that has done it, for all tests."""

import multiprocessing
import os
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from unittest import mock

from scripts import ROOT

METHOD = "forkserver"
HEAVY = (
    "torch", "torch._dynamo", "torch.distributed", "cv2", "av", "training_runs", "wsdan_runs", "submissions",
    "utils.data.extraction", "utils.report.outputs",
)  # fmt: skip


def forks() -> BaseContext:
    """The context of such processes. What is patched in the tests' process, its environment too, they don't
    see."""
    context = multiprocessing.get_context(METHOD)
    context.set_forkserver_preload(list(HEAVY))
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests/helpers")])
    with mock.patch.dict(os.environ, {"PYTHONPATH": path}):
        forkserver.ensure_running()
    return context
