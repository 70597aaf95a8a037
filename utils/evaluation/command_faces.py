"""`evaluate.py faces`: an ensemble on labelled aligned faces."""

from __future__ import annotations

import argparse
from pathlib import Path

from utils.core.workers import positive
from utils.evaluation.command_options import add_config, stated, without_overrides

TEXT = """AUC, log losses, accuracy and the share of real faces called fake, of labelled aligned faces:
plain, under each corruption of utils/evaluation/corruptions.py at three strengths, and plain by how far they
turn. --fakes swapped: face swaps made of the set's real faces instead of its fakes."""


def add(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    parser.add_argument("--list", type=Path, required=True, help="dfdc-data.csv or dfdc.json")
    parser.add_argument("--faces", type=Path, required=True, help="folder of <video>/<frame>.png crops")
    parser.add_argument("--set", default="val", help="set of the list; default: val")
    parser.add_argument("--per-video", type=positive, default=1, help="crops of a video; default: 1")
    parser.add_argument("--limit", type=positive, help="draw so many videos of the set")
    parser.add_argument("--fakes", choices=("labelled", "swapped"), default="labelled",
                        help="the set's own, or made of its real faces; default: labelled")  # fmt: skip
    parser.add_argument("--corruptions", nargs="+", default=[], metavar="KIND", help='kinds, or "all"')
    parser.add_argument("--seed", type=int, default=0, help="of the drawn videos, the swaps and the damage")


def work(arguments: argparse.Namespace) -> tuple[str, dict, list, list]:
    """Text, plain data, and what the page shows: tables and plots. Raises UserError."""
    from utils.core.config import load_config
    from utils.core.device import pick_device
    from utils.core.errors import ConfigError
    from utils.evaluation.corruptions import CORRUPTIONS
    from utils.evaluation.measures import figures, found_table, labelled_faces, probabilities, variant_table
    from utils.evaluation.report_tables import joined
    from utils.evaluation.scores import table_of
    from utils.evaluation.swaps import swapped_faces
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.ensemble import build_ensemble

    asked = without_overrides(arguments.corruptions, arguments)
    kinds = list(CORRUPTIONS) if "all" in asked else asked
    unknown = [kind for kind in asked if kind not in ("all", *CORRUPTIONS)]
    if unknown:
        raise ConfigError(f"--corruptions {unknown[0]}: there are all, {', '.join(CORRUPTIONS)}")
    config = load_config(arguments.config, SubmissionConfig, arguments.overrides)
    ensemble = build_ensemble(config, pick_device(arguments.device))
    faces_of = {"labelled": labelled_faces, "swapped": swapped_faces}[arguments.fakes]
    found = faces_of(
        arguments.list, arguments.faces, arguments.set, arguments.per_video, arguments.limit, arguments.seed
    )
    answers = probabilities(ensemble, found, config.batch_size, kinds, arguments.seed)
    rows = figures(found.labels, answers)
    for name, places in found.groups().items():
        rows |= figures(found.labels[places], {f"plain, {name}": answers["plain"][places]})
    counts = f"set {arguments.set} of {arguments.list.name}: {found.described()}"
    judged = [found.judged(name, answer) for name, answer in answers.items()]
    plain = {"plain": judged[0].figures()}
    data = {
        "faces": counts, "fakes": arguments.fakes, "seed": arguments.seed, "config": stated(config),
        "figures": rows, "all_figures": plain,
    }  # fmt: skip
    tables = [variant_table(rows), found_table(plain), table_of(plain)]
    return f"{counts}, seed {arguments.seed}\n\n{joined(tables)}", data, tables, judged
