"""`evaluate.py scores`: score files whose labels are known."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from utils.evaluation.command_options import add_output

TEXT = """Figures of score files whose labels are known, side by side: log loss raw and clipped, AUC with
the bootstrap's interval, average precision, equal error rate, accuracy, fakes found at 1% and 10% false
alarms, confusion, calibration error; a table by `source` where the labels state it; of several score files
the differences from the first, by a paired bootstrap. A figure that needs both kinds is "undefined" where one
is missing. What is wrong, missing or without a label is named. Labels may have any form: filename,label;
name,is_fake,original; DFDC's metadata.json or a folder of them; lists of FAKE and REAL."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("labels", type=Path, help="file of labels, or a folder of metadata.json files")
    parser.add_argument("scores", type=Path, nargs="+", help="tables that best-submission.py wrote")
    parser.add_argument("--labels", type=Path, nargs="+", dest="more", default=[], metavar="FILE",
                        help="more files of labels")  # fmt: skip
    parser.add_argument("--clip", type=float, nargs=2, default=(0.01, 0.99), metavar=("LOW", "HIGH"))
    parser.add_argument("--all", action="store_true", help="the whole list of what is wrong, or missing")
    parser.add_argument("--fit", type=Path, metavar="JSON", help="fit a calibration of the one score file's "
                        "logits, which best-submission.py calibration=JSON applies")  # fmt: skip
    add_output(parser)


def work(arguments: argparse.Namespace) -> tuple[str, dict, list, list]:
    """Text, plain data, and what the page shows: tables and plots. Raises UserError and OSError."""
    from utils.core.errors import ConfigError
    from utils.evaluation.report_tables import joined
    from utils.evaluation.score_files import Scored, read_truth
    from utils.evaluation.score_report import ScoreReport

    low, high = arguments.clip
    if not 0 <= low < high <= 1:
        raise ConfigError(f"--clip {low:g} {high:g}: two numbers in 0..1, the lower first")
    if arguments.fit and len(arguments.scores) > 1:
        raise ConfigError("--fit: name the one score file that is to be calibrated")
    truth = read_truth([arguments.labels, *arguments.more])
    report = ScoreReport([Scored.read(path, truth) for path in arguments.scores], (low, high))
    said, data = [report.wrong(arguments.all), joined(report.tables())], report.as_data()
    if arguments.fit:
        line, data["fitted"] = fitted(arguments, report)
        said.append(line)
    return "\n\n".join(said), data, [*report.tables(), *report.wrong_tables()], report.judged


def fitted(arguments: argparse.Namespace, report) -> tuple[str, dict]:
    """Write the calibration; what to say of it, and its numbers. Raises UserError and OSError."""
    from dataclasses import asdict

    from utils.core.files import check_output, write_whole
    from utils.evaluation.calibration import FEW_FACES, fit_scores
    from utils.evaluation.scores import figures

    [judged], inputs = report.judged, [*arguments.scores, arguments.labels, *arguments.more]
    check_output(arguments.fit, ".json", inputs)
    found = fit_scores(judged.labels, judged.scores, f"{arguments.scores[0].name}, {arguments.labels.name}")
    write_whole(arguments.fit, found.to_json())
    row = report.figures[judged.name]
    after = figures(judged.labels, found.of(judged.scores), draws=0)["log_loss"]
    if min(row["reals"], row["fakes"]) < FEW_FACES:
        few = f"fitted to {row['reals']} reals and {row['fakes']} fakes; below {FEW_FACES} of each the two"
        print(f"warning: {few} numbers are uncertain", file=sys.stderr)
    line = (
        f"{arguments.fit}: logit * {found.scale:.4f} + {found.offset:.4f}, fitted to {found.files} files, "
        f"whose log loss {row['log_loss']:.4f} becomes {after:.4f}\n"
        f"best-submission.py ... calibration={arguments.fit} applies it"
    )
    return line, asdict(found)
