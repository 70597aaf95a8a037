"""Score videos and images: the probability that the faces in them are fake, into submission.csv.

    python best-submission.py clip.mp4
    python best-submission.py videos/ --output out/submission.csv --device cuda precision=bf16
    python best-submission.py videos/ --config submission-conf/wm.py --sample-submission sample_submission.csv
    python best-submission.py videos/ --output out/submission.csv --resume       # go on after an interruption

Writes `filename,label` (label: probability of being fake), and beside it `<stem>.errors.csv`
(`filename,reason`) for what could not be judged and got 0.5; where the weights state the limits for it, also
verdicts.csv: likely real, can't tell or likely fake, and why (`<stem>.verdicts.csv` beside another name than
submission.csv). With faces=all each person of a clip is judged, the highest score counts, and persons.csv has
a row each. --report adds a page for people, --contact-sheet a picture of it, --faces-csv a row for each face.
Results are kept in `.<stem>.scored.csv` until all are there; --resume goes on from what an
interrupted run left of them, with the files that are new, changed or not reached yet.

Exit codes: 0 done; 1 no file could be judged, or the disk failed; 2 usage, config or weights; 130 Ctrl-C,
143 SIGTERM, 129 SIGHUP.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core.console import LESS_AT_ONCE, FilesBar, parse_mixed, run, stopped_status
from utils.core.names import shown, some_of
from utils.core.shortage import memory_errors, room_for_torch, shortage_line
from utils.core.workers import add_options, place_for

if TYPE_CHECKING:  # what is heavy is imported after the arguments are read, so that --help is quick
    from collections.abc import Iterator

    from utils.report.outputs import Asked, Outputs
    from utils.scoring.aggregate import Result
    from utils.scoring.budget import Budget
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.record import Record
    from utils.scoring.verdict import Limits
    from utils.scoring.work import About, Scored


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    description, examples = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options] INPUT... [key=value ...]",
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--config", type=Path, help="config file, Python that is run (default: submission-conf/bundled.py)")
    add("--output", type=Path, default=Path("submission.csv"), help="default: %(default)s")
    add("--sample-submission", type=Path, metavar="CSV", help="score its files, in its order")
    add("--report", action="store_true", help="a page to look at, report.html, beside the output")
    add("--contact-sheet", type=Path, metavar="FILE.png", help="the same as a picture")
    add("--faces-csv", action="store_true", help="each face's scores, <stem>.faces.csv, beside the output")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: %(default)s)")
    add_options(parser)
    add("--resume", action="store_true", help="go on from what an interrupted run wrote")
    add("--force", action="store_true", help="overwrite an output that holds other files' rows")
    add("--verbose", action="store_true", help="the whole config before the work")
    args, args.inputs, args.overrides = parse_mixed(parser, argv)
    if not args.inputs:
        parser.error("INPUT is missing: a video, an image, or a folder of them")
    return args


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    stopped = "stopped; what was scored is kept, and --resume goes on from it"
    return run(lambda: submit(args), stopped, LESS_AT_ONCE)


def submit(args: argparse.Namespace) -> int:
    """Read what was asked for, score it, write it; returns the exit code."""
    room_for_torch()

    from utils.core.config import describe, load_config
    from utils.core.lock import sole_run
    from utils.report.outputs import Asked
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.scorer import BUNDLED, check_files
    from utils.scoring.submission import check_submission_path

    config = load_config(args.config or BUNDLED, SubmissionConfig, args.overrides)
    if args.verbose:
        print(describe(config))
    names, order, missing = choose_files(args.inputs, args.sample_submission)
    check_submission_path(args.output, args.sample_submission)
    asked = Asked.of(args.output, args.faces_csv, args.report, args.contact_sheet)
    asked.check(names)
    check_files(config)
    with sole_run(args.output):
        return score_files(args, config, asked, (names, order, missing))


def score_files(args: argparse.Namespace, config: SubmissionConfig, asked: Asked, chosen: tuple) -> int:
    """Score what `choose_files` chose and write it; returns the exit code."""
    from utils.core.device import pick_device
    from utils.report.outputs import Outputs
    from utils.scoring.budget import budget_of
    from utils.scoring.details import Details
    from utils.scoring.record import Record, fingerprint
    from utils.scoring.scorer import BUNDLED
    from utils.scoring.submission import check_nothing_lost
    from utils.scoring.verdict import limits_for
    from utils.scoring.work import Scoring

    names, order, missing = chosen
    record = Record(args.output, fingerprint(config, pick_device(args.device)))
    if not args.resume and not args.force:
        check_nothing_lost(args.output, order)
        record.check_absent()
    outputs = Outputs(asked, Details(args.output, record.fingerprint), config, plan_of(config))
    limits, results = limits_for(config), recall(record, outputs, names) if args.resume else {}
    todo = [path for path in names if path not in results]
    stop = None
    if todo:
        print(f"scoring {len(todo)} file(s) by {args.config or BUNDLED.name}: {outputs.plan}")
        budget = budget_of(config, len(todo))
        work = Scoring(config, args.device, asked.most(len(names)), asked.show, budget)
        with place_for(args, work, len(todo), budget is not None) as place:
            outputs.machine = say_weights(place.ready(), config)
            bar = FilesBar(len(names), len(results))
            stream = place.run(todo, lambda part, frames: bar.show(len(results) + part))
            stop = judge(stream, names, results, record, outputs, bar, budget)
        if stop is not None and not results:
            raise stop
        if budget is not None:
            print(budget.summary())
    rows, is_sample = rows_of(names, order, missing, results), args.sample_submission is not None
    code = finish(args.output, rows, stop is not None, limits, outputs, is_sample)
    if stop is not None:
        print(f"stopped: {len(results)} of {len(names)} scored; the same command with --resume goes on")
        return stopped_status(stop)
    record.remove()
    outputs.details.remove()
    return code


def plan_of(config: SubmissionConfig) -> str:
    """What is judged of a clip, in words."""
    shared = ", shared by its people" if config.faces == "all" else ""
    if config.frames == "spread":
        return f"up to {config.face_limit} faces of a clip{shared}, spread over all of it"
    start = f"from its start, one frame of {config.frame_stride}"
    return f"up to {config.face_limit} faces of a clip{shared}, {start}"


def say_weights(about: About, config: SubmissionConfig) -> str:
    """Say which weights judge, and on what, which is returned, too."""
    for line in about.lines:
        print(line)
    if config.calibration is not None:
        print(f"each clip's score calibrated by {config.calibration}")
    print(about.machine)
    return about.machine


def choose_files(
    inputs: Sequence[Path], sample: Path | None
) -> tuple[dict[Path, str], list[str], dict[str, str]]:
    """{file to judge: its name}, the names in the order of the rows, and {name without a file: why}."""
    from utils.core.errors import UserError
    from utils.scoring.scorer import files_in
    from utils.scoring.submission import apply_sample, name_files, read_sample

    files, other_files = files_in(inputs)
    given = shown(", ".join(map(str, inputs)))
    if other_files:
        count = f"{len(other_files)} other file(s) in {given} left out"
        print(f"{count}, neither videos nor images: {some_of(other_files)}")
    if not files:
        raise UserError(f"{given}: no video or image in it; INPUT is a video, an image or a folder of them")
    names, missing = name_files(files), {}
    if sample is None:
        return names, sorted(names.values()), missing
    order = read_sample(sample)
    names, missing = apply_sample(names, order, other_files)
    if len(names) < len(files):
        print(f"{len(files) - len(names)} of {len(files)} file(s) left out: {sample} doesn't name them")
    for name, reason in missing.items():
        print(f"{shown(name)}: not judged: {reason}", file=sys.stderr)
    return names, order, missing


def recall(record: Record, outputs: Outputs, names: dict[Path, str]) -> dict[Path, Result]:
    """What an interrupted run left to go on from; says how much that is."""
    results = record.recall(names)
    outputs.recall(names)
    print(f"--resume: {len(results)} of {len(names)} file(s) were scored before ({record.path})")
    return results


def judge(
    stream: Iterator[Scored],
    names: dict[Path, str],
    results: dict[Path, Result],
    record: Record,
    outputs: Outputs,
    bar: FilesBar,
    budget: Budget | None = None,
) -> KeyboardInterrupt | None:
    """Collect results as they come, each into the record at once; what stopped it, such as Ctrl-C."""
    from utils.core.errors import UserError

    try:
        for scored in stream:
            result = scored.result
            name = names[result.path]
            results[result.path] = outputs.keep(name, scored)
            record.append(name, result)
            if result.reason:
                bar.say(f"{name}: not judged: {result.reason}")
            elif result.warning:
                bar.say(f"{name}: warning: {result.warning}; judged on what could be read")
            if budget is not None and (line := budget.change()):
                bar.say(line)
            bar.show(len(results))
    except KeyboardInterrupt as stop:
        return stop.with_traceback(None)  # which holds all that is at work
    except memory_errors() as error:
        line = shortage_line(error, f"go on with --resume, and {LESS_AT_ONCE}")
        if line is None:
            raise
        raise UserError(line) from None
    finally:
        bar.close()
    return None


def rows_of(
    names: dict[Path, str], order: list[str], missing: dict[str, str], results: dict[Path, Result]
) -> list[tuple[str, Result]]:
    """(name, result) of what is scored, in `order`; what is missing isn't judged, for its reason."""
    from utils.scoring.aggregate import UNDECIDED, Result

    by_name = {names[path]: result for path, result in results.items()}
    by_name |= {name: Result(Path(name), UNDECIDED, 0, reason) for name, reason in missing.items()}
    return [(name, by_name[name]) for name in order if name in by_name]


def finish(
    output: Path,
    rows: list[tuple[str, Result]],
    interrupted: bool,
    limits: Limits | None,
    outputs: Outputs,
    exact: bool = False,
) -> int:
    """Write the submission, with limits the verdicts, and what else is asked for; print the table.

    exact: names are those of a sample, which stay. Returns the exit code of a run that wasn't interrupted.
    """
    from utils.scoring.record import rows_in
    from utils.scoring.submission import answer, beside, table, write_submission
    from utils.scoring.verdict import verdict_on, verdicts_on_persons

    is_less = interrupted and rows_in(output) > len(rows)  # an earlier run got further: what it wrote stays
    output = beside(output, "interrupted") if is_less else output
    verdicts = None if limits is None else {name: verdict_on(result, limits) for name, result in rows}
    persons = None
    if any(result.persons for _, result in rows):
        persons = {name: verdicts_on_persons(result, limits) for name, result in rows}
    write_submission(output, rows, verdicts, persons, exact)
    failed = sum(bool(result.reason) for _, result in rows)
    print(f"{output}: {len(rows)} file(s), {failed} of them not judged ({beside(output, 'errors')})")
    for line in [] if is_less else outputs.write(rows, verdicts, limits):
        print(line)
    if len(rows) == 1:
        [(name, result)] = rows
        print(f"\n{emphasised(answer(name, result, (verdicts or {}).get(name)))}")
    else:
        print(f"\n{table(rows, verdicts=verdicts)}")
    return 0 if failed < len(rows) else 1


def emphasised(line: str) -> str:
    """The line in bold, where a terminal shows it."""
    return f"\033[1m{line}\033[0m" if sys.stdout.isatty() else line


if __name__ == "__main__":
    sys.exit(main())
