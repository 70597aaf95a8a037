"""`evaluate.py clips`: an ensemble on clips, as they are and passed on."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from utils.core.workers import add_options, place_for
from utils.evaluation.command_options import add_config, stated, without_overrides

TEXT = """Mean p(fake) of real and labelled clips, plain and re-compressed, scaled down or darkened (the
wrong side of 0.5 in bold), and, of the first variant, the spread of each clip's faces and its score by other
rules than the mean. --videos: a folder with a labels.csv or metadata.json; default: the folder videos of that
which DFDC_SHARED names, if there."""


def add(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--videos", type=Path, help="folder of clips with a labels.csv or metadata.json")
    parser.add_argument("--labels", type=Path, nargs="+", default=[], metavar="FILE", help="labels elsewhere")
    parser.add_argument("--variants", nargs="+", default=[], metavar="NAME", help="only these; default: all")
    add_options(parser)


def work(arguments: argparse.Namespace) -> tuple[str, dict, list, list]:
    """Text, plain data, and what the page shows: tables and plots. Raises UserError."""
    from utils.core.config import load_config
    from utils.core.errors import ConfigError, DataError
    from utils.evaluation import clip_tables, clips
    from utils.evaluation.clip_work import Variants, answers, failures_table, parted
    from utils.evaluation.report_tables import joined
    from utils.evaluation.scores import table_of
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.scorer import check_files

    variants = without_overrides(arguments.variants, arguments) or list(clips.VARIANTS)
    unknown = [name for name in variants if name not in clips.VARIANTS]
    if unknown:
        raise ConfigError(f"--variants {unknown[0]!r}: there are {', '.join(map(repr, clips.VARIANTS))}")
    config = load_config(arguments.config, SubmissionConfig, arguments.overrides)
    chosen = clips.package_clips()
    folder = arguments.videos or clips.shared_clips()
    if folder is not None:
        chosen += clips.labelled_clips(folder, arguments.labels)
    twice = [name for name, count in Counter(clip.name for clip in chosen).items() if count > 1]
    if twice:
        raise DataError(f"two clips are called {twice[0]}; rename the labelled one")
    check_files(config)
    with place_for(arguments, Variants(config, arguments.device, variants), len(chosen)) as place:
        place.ready()
        found, failed = parted(answers(place, chosen))
    rows = {clip.name: figures for clip, figures in found.items()}
    labels = {clip.name: clip.label for clip in found}
    judged = clip_tables.judged_clips(rows, labels)
    tables = [
        clip_tables.means_table(rows, labels, variants), clip_tables.spread_table(rows, labels, variants[0]),
        clip_tables.rules_table(rows, labels, variants[0]),
    ]  # fmt: skip
    all_figures = {one.name: one.figures() for one in judged}
    tables += [table_of(all_figures, title="A score a clip")] if judged else []
    tables += failures_table(failed)
    data = {"labels": labels, "config": stated(config), "clips": rows, "figures": all_figures}
    data["failed"] = failed
    return joined(tables), data, tables, judged
