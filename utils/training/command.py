"""The command line of the training scripts; imports nothing heavy, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from utils.core.config import list_keys, load_config
from utils.core.console import SMALLER_BATCH, explain_shortage, fail
from utils.core.errors import ConfigError
from utils.core.shortage import room_for_torch
from utils.training.config import TrainingConfig


@dataclass(frozen=True)
class Command:
    """What was asked for; picture: a PNG to draw the first batch into instead of training."""

    config: TrainingConfig
    picture: Path | None = None


def read_command(
    doc: str, schema: type[TrainingConfig], argv: Sequence[str] | None = None, has_picture: bool = False
) -> Command:
    """The command line of a training script; doc: the script's docstring, schema: of its config.

    has_picture: the script takes `--show-batch`. SystemExit: 0 for --help, 2 after a line of what is wrong.
    """
    explain_shortage(SMALLER_BATCH)
    summary, _, usage = doc.partition("\n\n")
    keys = f"Keys of the config; utils/training/config.py says what they mean:\n{list_keys(schema)}"
    parser = argparse.ArgumentParser(
        description=summary,
        epilog=f"{usage}\n{keys}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="config file of key = value; Python, and run")
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="changes to the config")
    if has_picture:
        parser.add_argument(
            "--show-batch", type=Path, metavar="PNG",
            help="write faces of the first batch, their attention crops and drops as a picture; don't train",
        )  # fmt: skip
    arguments = parser.parse_intermixed_args(argv)
    picture = getattr(arguments, "show_batch", None)
    if picture is not None and picture.suffix.lower() != ".png":
        parser.error(f"--show-batch {picture}: must end in .png")
    try:
        command = Command(load_config(arguments.config, schema, arguments.overrides), picture)
    except ConfigError as error:
        sys.exit(fail(str(error), 2))
    room_for_torch()
    return command
