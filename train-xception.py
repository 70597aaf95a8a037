"""Train the per-face classifier, Xception, on aligned face crops.

    python train-xception.py xception-conf.py                        # one GPU, else the CPU
    python train-xception.py xception-conf.py device=cpu batch_size=8 max_train_videos=200   # a look
    torchrun --nproc-per-node 4 train-xception.py xception-conf.py   # four GPUs (batch_size over all of them)
    python train-xception.py xception-conf.py resume=auto            # go on from where it stopped

A config file is Python with plain names (utils/training/config.py); `key=value` overrides it. The crops
come from make_dataset.py, the list of videos from make_split.py. Into `save_dir` go last.pth (the newest
state), ckpt-<k>.pth (after epoch k), best.pth (lowest validation log loss), log.jsonl (a line an epoch) and
TensorBoard files. Ctrl-C and SIGTERM save before they stop.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from utils.core.config import load_config
from utils.core.console import SMALLER_BATCH, run
from utils.training.config import XceptionConfig


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 trained, 1 unusable data or disk, 2 wrong config, 130 Ctrl-C, 143 SIGTERM."""
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="config file, such as xception-conf.py")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    arguments = parser.parse_args(argv)
    return run(lambda: train(arguments.config, arguments.overrides), memory_advice=SMALLER_BATCH)


def train(config_path: Path, overrides: list[str]) -> int:
    """Train; exit status."""
    config = load_config(config_path, XceptionConfig, overrides)
    from utils.training import (
        xception_recipe,  # torch takes seconds to import: not for --help or a wrong config
    )

    return xception_recipe.train(config)


if __name__ == "__main__":
    sys.exit(main())
