"""`evaluate.py matrix`: weights (rows) across data sets (columns)."""

from __future__ import annotations

import argparse
from pathlib import Path

from utils.core.config import ROOT
from utils.core.workers import add_options, positive
from utils.evaluation.command_options import BUNDLED, add_output

TEXT = """The field's usual table: AUC, equal error rate, log loss, accuracy, reals called fake and fakes
called real, of weights (rows) on data sets (columns). By default the bundled ensemble and each of its
networks, on what the folder of shared data holds: DFDC's val, face swaps made of its reals, UTKFace's
real faces, real clips, and its labelled videos. Faces are found once, and each network scores a face once: on
two cores the first run takes some five minutes, one with other weights two, one with the same seconds."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("candidates", nargs="*", metavar="NAME=FILE[:WEIGHT],...",
                        help="weights of a row each; default: submission-conf/bundled.py's")  # fmt: skip
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=PLACE", dest="sets",
                        help="sets of your own instead: a folder of clips with a labels.csv, or LIST:SET, a "
                        "set of a list of faces such as dfdc-data.csv:val")  # fmt: skip
    parser.add_argument("--faces", type=Path, help="folder of <video>/<frame>.png of such lists")
    parser.add_argument("--limit", type=positive, default=600, help="videos of a list; default: 600")
    parser.add_argument("--shared", type=Path, help="folder of shared data; default: ../shared")
    parser.add_argument("--combine", choices=("logits", "probabilities"), default="logits",
                        help="what the mean of NAME=... is of")  # fmt: skip
    parser.add_argument("--kept", type=Path, default=ROOT / "output/matrix", help="faces and logits are kept")
    parser.add_argument("--device", default="auto")
    add_options(parser)
    add_output(parser)


def work(arguments: argparse.Namespace) -> tuple[str, dict, list, list]:
    """Text, plain data, and what the page shows: tables and plots. Raises UserError and OSError."""
    from dataclasses import replace

    from utils.core.config import load_config
    from utils.core.errors import DataError
    from utils.evaluation.clip_work import failures_table
    from utils.evaluation.clips import shared_folder
    from utils.evaluation.dev_score import read_candidate
    from utils.evaluation.matrix import matrix_of, matrix_tables, shipped, stated
    from utils.evaluation.matrix_sets import Named, clips_reader, named_sets, shared_sets
    from utils.evaluation.report_tables import joined
    from utils.scoring.config import SubmissionConfig

    chosen = [read_candidate(text, arguments.combine, False) for text in arguments.candidates]
    chosen = chosen or shipped(load_config(BUNDLED, SubmissionConfig))
    refuse_twice("candidate", [candidate.name for candidate in chosen])
    rows = stated(chosen)  # names a file that isn't there before the work
    shared, read = arguments.shared or shared_folder(), clips_reader(arguments)
    if arguments.sets:
        own = [Named.read(text) for text in arguments.sets]
        refuse_twice("--set", [one.name for one in own])
        sets = named_sets(own, arguments.faces, arguments.limit, arguments.kept, read)
    elif shared is None:
        raise DataError("no folder of shared data; name sets of your own with --set")
    else:
        sets = shared_sets(shared, arguments.kept, read)
    judged = matrix_of(chosen, sets, arguments.device)
    figures = {name: {one: row[one].figures() for one in row} for name, row in judged.items()}
    tables = [*matrix_tables(figures, sets), *failures_table(read.failed)]
    first = chosen[0].name
    plotted = [replace(one, name=f"{first}: {one.name}") for one in judged[first].values()]
    data = {"rows": rows, "sets": {one.name: one.what for one in sets}, "figures": figures}
    data["failed"] = read.failed
    return joined(tables), data, tables, plotted


def refuse_twice(what: str, names: list[str]) -> None:
    """ConfigError for a name that is there twice: it would stand for one of the two."""
    from utils.core.errors import ConfigError

    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ConfigError(f"{what}: {twice[0]!r} is named twice; give each its own name")
