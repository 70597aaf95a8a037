"""`evaluate.py people`: what judging every person of a clip finds, and what it costs."""

from __future__ import annotations

import argparse
from pathlib import Path

from utils.core.workers import add_options, place_for
from utils.evaluation.command_options import add_config, stated

TEXT = """Both rules, the largest face of a frame and every person (faces=largest, faces=all), on labelled
clips and on clips of two people, which it makes by laying every two of them side by side, in both orders.
Below that, how two real people and a fake beside a real one come out, reckoned from how the real faces and
the fakes score that the verdict's limits were set by. --videos: a folder with a labels.csv or metadata.json;
default: the folder videos of that which DFDC_SHARED names."""


def add(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--videos", type=Path, help="folder of clips of one person each, with labels")
    add_options(parser)


def work(arguments: argparse.Namespace) -> tuple[str, dict, list]:
    """Text, plain data, and the page's tables. Raises UserError."""
    from utils.core.config import load_config
    from utils.core.errors import DataError
    from utils.evaluation import clips, people_tables
    from utils.evaluation.clip_work import BothRules, answers, failures_table, parted
    from utils.evaluation.pairs import pairs_of
    from utils.evaluation.report_tables import joined
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.verdict import limits_for

    config = load_config(arguments.config, SubmissionConfig, arguments.overrides)
    folder = arguments.videos or clips.shared_clips()
    if folder is None:
        raise DataError("--videos is missing: a folder of clips of one person each, with a labels.csv")
    single, limits = clips.labelled_clips(folder), limits_for(config)
    with place_for(arguments, BothRules(config, arguments.device), len(single) ** 2) as place:
        place.ready()
        found = answers(place, single)
        found |= answers(place, pairs_of(list(parted(found)[0])))
    by_clip, failed = parted(found)
    chosen, scored = list(by_clip), {clip.name: by_rule for clip, by_rule in by_clip.items()}
    tables = [people_tables.clips_table(chosen, scored), people_tables.sums_table(chosen, scored, limits)]
    if limits is not None:
        tables.append(people_tables.reckoned_table(limits))
    tables += failures_table(failed)
    data = {
        "config": stated(config), "labels": {clip.name: clip.label for clip in chosen},
        "clips": people_tables.plain(scored, limits), "failed": failed,
    }  # fmt: skip
    return joined(tables), data, tables
