"""A decoder that crashes or hangs in files whose name says so, planted in processes that tests start."""

import os
from pathlib import Path

CODE = '''
import os, signal, sys, time
import av

whole = av.open

def planted(*args, **options):
    frame = sys._getframe(1)
    while frame and "path" not in frame.f_locals:
        frame = frame.f_back
    name = os.path.basename(str(frame.f_locals["path"])) if frame else ""
    if "crash" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "hang" in name:
        time.sleep(10**6)
    return whole(*args, **options)

av.open = planted
'''


def plant(folder: Path) -> dict[str, str]:
    """The environment in which every Python process has that decoder; folder: to put it in."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(CODE)
    return os.environ | {"PYTHONPATH": str(folder)}
