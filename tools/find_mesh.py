#!/usr/bin/env python3
"""Find the face mesh in aligned crops, for training masks that follow each face (config key masks).

    pip install --no-deps -r requirements-mesh.txt
    python tools/find_mesh.py output/faces --out output/lists/mesh.npz
    python train-xception.py xception-conf-bundled.py masks=output/lists/mesh.npz

FACES is a folder of <name>/<frame>.png, as make_dataset.py writes it. A crop isn't in the file if the
model sees no face in it, or not where the detector saw it; training draws its mask from the detector's
landmarks. The same command again writes the file anew.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.core.console import FilesBar, rate_text, run  # noqa: E402
from utils.core.errors import DataError  # noqa: E402
from utils.core.files import check_output  # noqa: E402

SHOWN = 5  # unreadable crops that are named
_model = None  # of a working process


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 written, 1 crops or packages of no use, or a disk that failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    cores = min(8, os.cpu_count() or 1)
    parser.add_argument("faces", type=Path, metavar="FACES", help="folder of <name>/<frame>.png")
    parser.add_argument("--out", type=Path, metavar="FILE", required=True, help="the .npz to write")
    parser.add_argument("--workers", type=int, default=cores, help=f"processes (default {cores})")
    arguments = parser.parse_args(argv)
    if arguments.workers < 1:
        parser.error("--workers must be 1 or more")
    return run(lambda: find(arguments.faces, arguments.out, arguments.workers))


def find(faces: Path, out: Path, workers: int) -> int:
    """Write the points of all crops and say how many have none; exit status."""
    import numpy as np

    from utils.data.meshes import crop_key, write_meshes
    from utils.faces.mesh import FaceMesh

    check_output(out, ".npz")
    FaceMesh()  # what is missing is said before the work
    paths = crops_of(faces)
    start, bar = time.monotonic(), FilesBar(len(paths))
    found, unreadable = {}, []
    for done, (path, points, reason) in enumerate(looked_at(paths, workers), 1):
        if points is not None:
            found[crop_key(path)] = points
        elif reason:
            unreadable.append(f"{path}: {reason}")
        bar.show(done, f"{rate_text(done / (time.monotonic() - start))} crops/s")
    bar.close()
    for line in unreadable[:SHOWN]:
        print(f"warning: {line}", file=sys.stderr)
    if not found:
        raise DataError(f"{faces}: the model sees no face in any of {len(paths)} crops")
    write_meshes(out, list(found), np.stack(list(found.values())))
    faceless, size = len(paths) - len(found) - len(unreadable), out.stat().st_size
    print(f"{out}: {len(found):,} faces, {size / 1000:.0f} kB, in {time.monotonic() - start:.0f} s")
    print(f"{faceless:,} crops without a face, {len(unreadable):,} that can't be read")
    return 0


def looked_at(paths: list[Path], workers: int) -> Iterator[tuple]:
    """What `look` finds of each crop, in order, by so many processes. DataError where one of them ends."""
    with ProcessPoolExecutor(workers, initializer=load_model) as pool:
        try:
            yield from pool.map(look, paths, chunksize=16)
        except BrokenProcessPool:
            raise DataError(
                "a process ended before its work was done, out of memory or by a fault of the model; try "
                "fewer --workers"
            ) from None
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def crops_of(faces: Path) -> list[Path]:
    """The crops below a folder, sorted; DataError if there are none."""
    from utils.data.crops import crop_name
    from utils.data.shards import crop_numbers

    folders = sorted(folder for folder in faces.iterdir() if folder.is_dir())
    paths = [folder / crop_name(number) for folder in folders for number in crop_numbers(folder)]
    if not paths:
        raise DataError(f"{faces} holds no <name>/<frame>.png")
    return paths


def load_model() -> None:
    """What each working process begins with."""
    global _model
    import cv2

    from utils.faces.mesh import FaceMesh

    cv2.setNumThreads(1)
    _model = FaceMesh()


def look(path: Path):
    """A crop's path, its points or None, and why it can't be read."""
    from utils.data.crops import crop_landmarks
    from utils.data.datasets import read_crop

    face, reason = read_crop(path)
    return path, None if face is None else _model(face, crop_landmarks(path)), reason


if __name__ == "__main__":
    sys.exit(main())
