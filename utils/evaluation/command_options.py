"""What the commands of `evaluate.py` have in common: options, and what a report states of a config."""

from __future__ import annotations

import argparse
from pathlib import Path

from utils.core.config import ROOT

BUNDLED = ROOT / "submission-conf/bundled.py"


def report_name(text: str) -> Path:
    """The value of --output: of a folder its `metrics`."""
    is_folder = text.endswith("/") or (text != "" and Path(text).is_dir())
    return Path(text, "metrics") if is_folder else Path(text)


def add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output", type=report_name, metavar="NAME", help="write NAME.md, NAME.json ...")


def add_config(parser: argparse.ArgumentParser) -> None:
    """What `faces` and `clips` have in common."""
    parser.add_argument("overrides", nargs="*", default=[], metavar="key=value", help="changes to the config")
    parser.add_argument("--config", type=Path, default=BUNDLED, help="default: submission-conf/bundled.py")
    add_output(parser)
    parser.add_argument("--device", default="auto")


def without_overrides(names: list[str], arguments: argparse.Namespace) -> list[str]:
    """The values of an option; those with a "=", which followed it, go to the config's changes."""
    arguments.overrides += [name for name in names if "=" in name]
    return [name for name in names if "=" not in name]


def stated(config) -> dict:
    """The config as plain data, files of this repository by their path in it, whosever machine it lies on."""
    from utils.core.config import as_plain

    plain = as_plain(config)
    ensemble = [[name, path.removeprefix(f"{ROOT}/"), share] for name, path, share in plain["ensemble"]]
    return plain | {"ensemble": ensemble}
