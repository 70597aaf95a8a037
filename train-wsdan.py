"""Train WS-DAN, the classifier with attention crops and drops, on aligned face crops.

    python train-wsdan.py wsdan-conf/xception.py                    # one GPU, else the CPU
    python train-wsdan.py wsdan-conf/xception.py pretrained=output/dfdc-xception/best.pth epochs=10
    torchrun --nproc-per-node 6 train-wsdan.py wsdan-conf/efb3.py   # six GPUs, batch_size on each
    python train-wsdan.py wsdan-conf/xception.py ckpt=auto          # go on from where it stopped
    python train-wsdan.py wsdan-conf/xception.py --show-batch out.png   # what training would see

A config file is Python with plain names (utils/training/config.py); `key=value` overrides it. The crops
come from make_dataset.py, the list of videos from make_split.py. Into `save_dir` go last.pth (the newest
state), ckpt_<k>.pth (after epoch k), best.pth (lowest validation log loss), log.jsonl (a line an epoch), a
text log and TensorBoard files. Ctrl-C and SIGTERM save before they stop.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from utils.core.config import load_config
from utils.core.console import SMALLER_BATCH, run
from utils.training.config import WSDANConfig


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 trained, 1 unusable data or disk, 2 wrong config, 130 Ctrl-C, 143 SIGTERM."""
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="config file, such as wsdan-conf/xception.py")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes to the config")
    parser.add_argument(
        "--show-batch", type=Path, metavar="PNG",
        help="write faces of the first batch, their attention crops and drops as a picture; don't train",
    )  # fmt: skip
    arguments = parser.parse_intermixed_args(argv)
    picture = arguments.show_batch
    if picture is not None and picture.suffix.lower() != ".png":
        parser.error(f"--show-batch {picture}: must end in .png")
    return run(lambda: train(arguments.config, arguments.overrides, picture), memory_advice=SMALLER_BATCH)


def train(config_path: Path, overrides: list[str], picture: Path | None) -> int:
    """Train, or only draw the picture; exit status."""
    config = load_config(config_path, WSDANConfig, overrides)
    if picture is not None:
        from utils.training import (
            preview as pictures,  # torch takes seconds to import: not for --help or a wrong config
        )

        print(f"{picture}: {pictures.show_batch(config, picture)}")
        return 0
    from utils.training import wsdan_recipe

    return wsdan_recipe.train(config)


if __name__ == "__main__":
    sys.exit(main())
