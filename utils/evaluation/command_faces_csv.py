"""`evaluate.py faces-csv`: other scores from the faces of a scoring run."""

from __future__ import annotations

import argparse
from pathlib import Path

from utils.core.workers import positive
from utils.evaluation.command_options import add_output

TEXT = """Scores anew from the faces that best-submission.py --faces-csv kept, without a network: other
weights of the networks, fewer faces, a trimmed mean or a median. Of several people (faces=all) each is
scored, and the highest counts. --scores writes them as a submission, which `evaluate.py scores` judges; of
files without a face, and for the order, it takes --like."""


def add(parser: argparse.ArgumentParser) -> None:
    option = parser.add_argument
    option("faces", type=Path, help="table that best-submission.py --faces-csv wrote")
    option("--weights", nargs="+", default=[], metavar="COLUMN=WEIGHT", help="networks' shares, others 0")
    option("--combine", choices=("logits", "probabilities"), help="what their mean is of")
    option("--first", type=positive, metavar="N", help="only the first N faces of a file")
    option("--spread", type=positive, metavar="N", help="only N faces, evenly over a file's faces")
    option("--mean", choices=("mean", "trimmed", "median"), default="mean", help="over the faces")
    option("--trim", type=float, default=0.1, help="share left out on each side; default: %(default)s")
    option("--like", type=Path, metavar="CSV", help="the submission.csv of the same run")
    option("--scores", type=Path, metavar="CSV", help="write the new scores there: filename,label")
    add_output(parser)


def work(arguments: argparse.Namespace) -> tuple[str, dict]:
    """The scores as Markdown, and as plain data; written where asked for. Raises UserError and OSError."""
    from utils.core.errors import ConfigError
    from utils.core.files import check_output
    from utils.evaluation.reensemble import Rule, read_weights, scored_again
    from utils.scoring.details import read_faces

    if bool(arguments.weights) != bool(arguments.combine):
        raise ConfigError("--weights and --combine go together: logits (bundled.py) or probabilities (wm.py)")
    if arguments.first and arguments.spread:
        raise ConfigError("--first and --spread are two rules; name one")
    if not 0 <= arguments.trim < 0.5:
        raise ConfigError(f"--trim {arguments.trim:g}: must be in [0, 0.5)")
    if arguments.scores is not None:
        check_output(arguments.scores, ".csv", [arguments.faces, *filter(None, [arguments.like])])
    columns, faces = read_faces(arguments.faces)
    weights = read_weights(arguments.weights, columns, arguments.faces) if arguments.weights else None
    rule = Rule(
        weights, arguments.combine, arguments.first, arguments.spread, arguments.mean, arguments.trim
    )
    found = scored_again(faces, rule, arguments.like)
    if arguments.scores is not None:
        found.write(arguments.scores)
    described = f"{len(faces)} files with faces, by {rule.described(columns)}"
    scores = {name: now for name, (_, _, now) in found.rows.items()}
    return f"{described}\n\n{found.markdown()}", {"rule": described, "scores": scores}
