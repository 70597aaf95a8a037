"""`evaluate.py verdicts`: how often each word is said."""

from __future__ import annotations

import argparse

from utils.evaluation.command_options import add_config

TEXT = """What the verdict in words says of the real faces and the fakes that its limits were set by, by
the score alone, as the weights' metadata has them."""


def add(parser: argparse.ArgumentParser) -> None:
    add_config(parser)


def work(arguments: argparse.Namespace) -> tuple[str, dict]:
    """The table as Markdown, and as plain data. Raises UserError."""
    from utils.core.config import load_config
    from utils.core.errors import WeightsError
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.verdict import limits_for

    found = limits_for(load_config(arguments.config, SubmissionConfig, arguments.overrides))
    if found is None:
        raise WeightsError(f"{arguments.config}: its weights state no limits of a verdict for this ensemble")
    rows = {sides.name: found.shares(sides) for sides in (found.reals, found.fakes)}
    lines = ["| said of | likely real | can't tell | likely fake |", "|---|---|---|---|"]
    lines += [f"| {name} | {' | '.join(f'{share:.1%}' for share in row)} |" for name, row in rows.items()]
    report = f"likely real up to {found.real_at:g}, likely fake from {found.fake_at:g}\n\n" + "\n".join(lines)
    return report, {"real_at": found.real_at, "fake_at": found.fake_at, "shares": rows}
