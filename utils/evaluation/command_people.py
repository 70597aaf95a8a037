"""`evaluate.py people`: what judging every person of a clip finds, and what it costs."""

from __future__ import annotations

import argparse
from pathlib import Path

from utils.evaluation.command_options import add_config, stated

TEXT = """Both rules, the largest face of a frame and every person (faces=largest, faces=all), on labelled
clips and on clips of two people, which it makes by laying every two of them side by side, in both orders.
Below that, how two real people and a fake beside a real one come out, reckoned from how the real faces and
the fakes score that the verdict's limits were set by. --videos: a folder with a labels.csv or metadata.json;
default: the folder videos of that which DFDC_SHARED names."""


def add(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--videos", type=Path, help="folder of clips of one person each, with labels")


def work(arguments: argparse.Namespace) -> tuple[str, dict, list]:
    """Text, plain data, and the page's tables. Raises UserError."""
    import tempfile

    from utils.core.config import load_config
    from utils.core.errors import DataError
    from utils.evaluation import clips, pairs, people_tables
    from utils.evaluation.report_tables import joined
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.verdict import limits_for

    config = load_config(arguments.config, SubmissionConfig, arguments.overrides)
    folder = arguments.videos or clips.shared_clips()
    if folder is None:
        raise DataError("--videos is missing: a folder of clips of one person each, with a labels.csv")
    single, limits = clips.labelled_clips(folder), limits_for(config)
    clips.check_readable(single)
    with tempfile.TemporaryDirectory() as made:
        chosen = [*single, *pairs.make_pairs(single, Path(made))]
        scored = pairs.by_both_rules(chosen, config, limits, arguments.device)
    tables = [people_tables.clips_table(chosen, scored), people_tables.sums_table(chosen, scored)]
    if limits is not None:
        tables.append(people_tables.reckoned_table(limits))
    data = {
        "config": stated(config), "labels": {clip.name: clip.label for clip in chosen},
        "clips": people_tables.plain(scored),
    }  # fmt: skip
    return joined(tables), data, tables
