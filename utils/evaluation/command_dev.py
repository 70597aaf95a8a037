"""`evaluate.py dev`: candidates for the bundled ensemble."""

from __future__ import annotations

import argparse
from pathlib import Path

from utils.core.config import ROOT
from utils.core.workers import add_options
from utils.evaluation.command_options import BUNDLED, report_name

TEXT = """One score a candidate: mean AUC, less twice what the worst group of reals called fake exceeds 8% by,
on half B of val, plain and damaged, on face swaps, and on real faces of another list and real clips. Each
network scores a face once; another weight or mean of the same files costs nothing. --limits: the one
candidate's files get the verdict's limits into their metadata, by its scores of that list's reals, the clips
and the fakes. NAME is what their verdict calls a list's faces; else the list's own name."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "candidates", nargs="+", metavar="NAME=FILE[:WEIGHT],...", help="weights files of each"
    )
    parser.add_argument("--val", type=named_list, required=True, metavar="[NAME=]LIST",
                        help="DFDC's list, whose set val is used")  # fmt: skip
    parser.add_argument("--elsewhere", type=named_list, required=True, metavar="[NAME=]LIST",
                        help="a list of other real faces, its set dev")  # fmt: skip
    parser.add_argument("--faces", type=Path, required=True, help="folder of <video>/<frame>.png of both")
    parser.add_argument("--clips", type=Path, required=True, help="folder of real clips")
    parser.add_argument("--combine", choices=("logits", "probabilities"), default="logits")
    parser.add_argument("--flip", action="store_true", help="mean with the mirror image")
    parser.add_argument("--limits", action="store_true", help="write the verdict's limits into the files")
    parser.add_argument("--kept", type=Path, default=ROOT / "output/dev", help="faces and logits, kept there")
    parser.add_argument("--output", type=report_name, metavar="NAME",
                        help="NAME.json has the candidates so far: these join them")  # fmt: skip
    parser.add_argument("--device", default="auto")
    add_options(parser)


def named_list(text: str) -> tuple[str, Path]:
    """NAME=LIST or LIST, whose name is the file's without its suffix."""
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals and not Path(text).exists() else (Path(text).stem, Path(text))


def work(arguments: argparse.Namespace) -> tuple[str, dict]:
    """The table of all candidates as Markdown, and as plain data. Raises UserError and OSError."""
    from utils.core.errors import ConfigError
    from utils.evaluation import dev_score
    from utils.evaluation.clip_work import failures_table
    from utils.evaluation.dev_set import ELSEWHERE, PLAIN, Sizes, Sources, dev_set, found_by

    chosen = [
        dev_score.read_candidate(text, arguments.combine, arguments.flip) for text in arguments.candidates
    ]
    if arguments.limits and len(chosen) > 1:
        raise ConfigError("--limits: name the one candidate whose files are to state them")
    (val_name, val), (other_name, other) = arguments.val, arguments.elsewhere
    sources = Sources(val, other, arguments.faces, arguments.clips)
    read = clips_reader(arguments)
    parts = dev_set(sources, Sizes(), arguments.kept, read, read.failed, found_by(read.config))
    rows = dev_score.rows_in(arguments.output)
    for candidate in chosen:
        row = dev_score.row_of(candidate, parts, arguments.kept, arguments.device)
        rows = [other for other in rows if other["name"] != candidate.name] + [row]
    if arguments.limits:
        names = {PLAIN: val_name, ELSEWHERE: other_name}
        dev_score.state_limits(chosen[0], parts, arguments.kept, arguments.device, names)
    sizes = {dev_score.key_of(part): len(part.owners) for part in parts}
    counted = ", ".join(f"{count} {name}" for name, count in sizes.items())
    text = [dev_score.markdown(rows), f"Faces: {counted}"]
    text += [table.markdown() for table in failures_table(read.failed)]
    return "\n\n".join(text), {"faces": sizes, "candidates": rows, "failed": read.failed}


def clips_reader(arguments: argparse.Namespace):
    """What reads the faces of clips: one frame of so many, as the published procedure does."""
    from dataclasses import replace

    from utils.core.config import load_config
    from utils.evaluation.clip_work import ReadClips
    from utils.scoring.config import SubmissionConfig

    config = replace(load_config(BUNDLED, SubmissionConfig), frames="stride")
    return ReadClips(config, "cpu", arguments)
