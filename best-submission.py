"""Score videos and images: the probability that the faces in them are fake, into submission.csv.

    python best-submission.py clip.mp4
    python best-submission.py videos/ --output out/submission.csv --device cuda precision=bf16
    python best-submission.py videos/ --config submission-conf/wm.py --sample-submission sample_submission.csv
    python best-submission.py videos/ --output out/submission.csv --resume       # go on after an interruption

Writes `filename,label` (label: probability of being fake), and beside it `<stem>.errors.csv`
(`filename,reason`) for what could not be judged and got 0.5; where the weights state the limits for it, also
verdicts.csv: likely real, can't tell or likely fake, and why (`<stem>.verdicts.csv` beside another name than
submission.csv). Each result goes to `<stem>.scored.csv` as it
comes in; --resume goes on from that file, so that only files that are new, changed or not reached yet are
scored.

Exit codes: 0 done; 1 no file could be judged, or the disk failed; 2 usage, config or weights; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core.console import SMALLER_BATCH, is_out_of_memory, memory_errors, run

if TYPE_CHECKING:  # what is heavy is imported after the arguments are read, so that --help is quick
    from collections.abc import Callable, Iterator

    from utils.scoring.aggregate import Result
    from utils.scoring.record import Record
    from utils.scoring.verdict import Limits


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    description, examples = __doc__.split("\n\n", 1)
    parser = argparse.ArgumentParser(
        description=description, epilog=examples, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("input", metavar="INPUT", type=Path, help="a video, an image, or a folder of them")
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="config keys, as face_limit=5")
    parser.add_argument("--config", type=Path, help="config file (default: submission-conf/bundled.py)")
    parser.add_argument("--output", type=Path, default=Path("submission.csv"), help="default: %(default)s")
    parser.add_argument("--sample-submission", type=Path, metavar="CSV", help="score its files, in its order")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: %(default)s)")
    parser.add_argument("--resume", action="store_true", help="go on from what an interrupted run wrote")
    return parser.parse_intermixed_args(argv)


def main(argv: list[str] | None = None) -> int:
    args = parse_arguments(argv)
    stopped = "stopped; what was scored is kept, and --resume goes on from it"
    return run(lambda: submit(args), stopped, SMALLER_BATCH)


def submit(args: argparse.Namespace) -> int:
    """Read what was asked for, score it, write it; returns the exit code."""
    from utils.core.config import describe, load_config
    from utils.scoring.config import SubmissionConfig
    from utils.scoring.record import Record, fingerprint
    from utils.scoring.scorer import BUNDLED, build, score_media
    from utils.scoring.submission import check_submission_path
    from utils.scoring.verdict import limits_for

    config = load_config(args.config or BUNDLED, SubmissionConfig, args.overrides)
    if args.config is None:
        print("no --config given: submission-conf/bundled.py, the weights that this repository ships")
    print(describe(config))
    names, order, missing = choose_files(args.input, args.sample_submission)
    check_submission_path(args.output, args.sample_submission)
    record, limits = Record(args.output, fingerprint(config)), limits_for(config)
    results = recall(record, names) if args.resume else {}
    todo = [path for path in names if path not in results]
    interrupted = False
    if todo:
        detector, ensemble = build(config, args.device)
        print(
            f"on {ensemble.device}, classifiers in {ensemble.precision} by {config.runtime}, "
            f"detector in {detector.precision}"
        )
        if not args.resume:
            set_aside(record)
        interrupted = judge(score_media(todo, detector, ensemble, config), names, results, record)
    return finish(args.output, names, order, missing, results, interrupted, limits)


def choose_files(source: Path, sample: Path | None) -> tuple[dict[Path, str], list[str], dict[str, str]]:
    """{file to judge: its name}, the names in the order of the rows, and {name without a file: why}."""
    from utils.core.errors import UserError
    from utils.faces.video import find_media
    from utils.scoring.submission import apply_sample, name_files, read_sample

    files, other_files = find_media(source, skip_crops=True)
    if other_files:
        print(f"{other_files} other file(s) in {source} left out: neither a video nor an image")
    if not files:
        raise UserError(f"{source}: no video or image in it; INPUT is a video, an image or a folder of them")
    root = source if source.is_dir() else source.parent
    names, missing = name_files({path: root for path in files}), {}
    if sample is None:
        return names, sorted(names.values()), missing
    order = read_sample(sample)
    names, missing = apply_sample(names, order)
    if len(names) < len(files):
        print(f"{len(files) - len(names)} of {len(files)} file(s) left out: {sample} doesn't name them")
    for name, reason in missing.items():
        print(f"{name}: not judged: {reason}", file=sys.stderr)
    return names, order, missing


def recall(record: Record, names: dict[Path, str]) -> dict[Path, Result]:
    """What an interrupted run left to go on from; says how much that is."""
    results = record.recall(names)
    print(f"--resume: {len(results)} of {len(names)} file(s) were scored before ({record.path})")
    return results


def set_aside(record: Record) -> None:
    """Keep what an earlier run left, now that all is ready to start anew; says where it lies."""
    old = record.set_aside()
    if old:
        print(f"starting anew: an earlier run's record is now {old}; --resume would have gone on from it")


def judge(
    stream: Iterator[Result], names: dict[Path, str], results: dict[Path, Result], record: Record
) -> bool:
    """Collect results as they come, each into the record at once; True if Ctrl-C ended it."""
    from tqdm import tqdm

    from utils.core.errors import UserError

    bar = tqdm(total=len(names), initial=len(results), unit="file", mininterval=0.5)
    say: Callable[[str], None] = lambda line: tqdm.write(line, file=sys.stderr)  # noqa: E731
    try:
        for result in stream:
            results[result.path] = result
            name = names[result.path]
            record.append(name, result)
            if result.reason:
                say(f"{name}: not judged: {result.reason}")
            elif result.warning:
                say(f"{name}: warning: {result.warning}; judged on what could be read")
            bar.update()
    except KeyboardInterrupt:
        return True
    except memory_errors() as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(f"memory ran out; go on with --resume, and {SMALLER_BATCH}") from None
    finally:
        bar.close()
    return False


def finish(
    output: Path,
    names: dict[Path, str],
    order: list[str],
    missing: dict[str, str],
    results: dict[Path, Result],
    interrupted: bool,
    limits: Limits | None,
) -> int:
    """Write the submission in `order`, with limits the verdicts, print the table; returns the exit code."""
    from utils.scoring.aggregate import UNDECIDED, Result
    from utils.scoring.record import rows_in
    from utils.scoring.submission import beside, table, write_submission
    from utils.scoring.verdict import verdict_on

    if interrupted and not results:
        raise KeyboardInterrupt
    by_name = {names[path]: result for path, result in results.items()}
    by_name |= {name: Result(Path(name), UNDECIDED, 0, reason) for name, reason in missing.items()}
    rows = [(name, by_name[name]) for name in order if name in by_name]
    if interrupted and rows_in(output) > len(rows):  # an earlier run got further: its table stays
        output = beside(output, "interrupted")
    verdicts = None if limits is None else {name: verdict_on(result, limits) for name, result in rows}
    write_submission(output, rows, verdicts)
    print(table(rows, verdicts=verdicts))
    failed = sum(bool(result.reason) for _, result in rows)
    print(f"{output}: {len(rows)} file(s), {failed} of them not judged ({beside(output, 'errors')})")
    if interrupted:
        print(f"stopped: {len(results)} of {len(names)} scored; the same command with --resume goes on")
        return 130
    return 0 if failed < len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
