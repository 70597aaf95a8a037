"""What a scoring run reads and writes around its scores: names, sample, `submission.csv`.

submission.csv          filename,label                 one row a file, 6 decimals
submission.errors.csv   filename,reason                what could not be judged and therefore got 0.5
verdicts.csv            what is to be made of each     where the weights state limits for it
persons.csv             a row a person                 where the people of a clip are told apart

A name that a spreadsheet would take for a formula, =1+1.mp4, stands as ./=1+1.mp4; in the submission.csv of a
sample names stay as the sample has them, since what reads it compares them.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from utils.core.errors import ConfigError, UserError
from utils.core.files import csv_lines, try_folder, write_whole
from utils.core.names import name_in, shown
from utils.scoring.aggregate import Result

if TYPE_CHECKING:
    from utils.scoring.verdict import Verdict

VERDICT_COLUMNS = ("filename", "probability", "verdict", "faces", "spread", "why")
PERSON_COLUMNS = ("filename", "person", *VERDICT_COLUMNS[1:], "eyes", "first", "last")
GO_ON = "put that right, then go on from what was scored with --resume"
# File names need not be valid UTF-8; this writes them as the bytes they are.
ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}


def name_files(files: Mapping[Path, Path]) -> dict[Path, str]:
    """{file: folder it was found in} -> {file: its name in the submission}, all different.

    That is the base name; the path relative to the folder where two share the base name; the path as
    given where two folders hold the same relative path.
    """
    base_names = Counter(path.name for path in files)
    relative = {path: path.relative_to(root).as_posix() for path, root in files.items()}
    paths = Counter(relative.values())
    names = {}
    for path in files:
        if base_names[path.name] == 1:
            names[path] = path.name
        else:
            names[path] = relative[path] if paths[relative[path]] == 1 else path.as_posix()
    return names


def read_sample(path: Path, where: str = "") -> list[str]:
    """The `filename` column of a sample submission, in its order.

    where: how an error names the file. Raises ConfigError: no such file, no such column, a name twice, no
    rows.
    """
    where = where or f"--sample-submission {path}"
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if "filename" not in columns:
                found = ",".join(columns)[:80]
                raise ConfigError(f"{where}: its first line must be filename,label; it is {found!r}")
            names = [row["filename"] for row in reader if row["filename"]]
    except OSError as error:
        raise ConfigError(f"{where}: {error.strerror}") from None
    except csv.Error as error:
        raise ConfigError(f"{where}: not a table in CSV ({error})") from None
    if not names:
        raise ConfigError(f"{where}: it names no file")
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConfigError(f"{where}: it names {twice[0]!r} twice ({len(twice)} such names); once is right")
    return names


def apply_sample(
    names: Mapping[Path, str], sample: Sequence[str], left_out: Sequence[Path] = ()
) -> tuple[dict[Path, str], dict[str, str]]:
    """The files that the sample names, and {name: reason} for its names without a file.

    left_out: files that are neither videos nor images, of which a name may be one.
    """
    wanted = {name_in(name): name for name in sample}  # the sample may be a submission of ours
    chosen = {path: wanted[name] for path, name in names.items() if name in wanted}
    sharing = Counter(path.name for path, name in names.items() if name != path.name)
    missing = {}
    known = {path.name for path in left_out}
    for name in sample:
        if sharing[name] and name not in names.values():
            missing[name] = f"{sharing[name]} files have this name: the sample must give their relative paths"
        elif name.rpartition("/")[2] in known:
            missing[name] = "neither a video nor an image, by its suffix or its first bytes"
        else:
            missing[name] = "no such file in INPUT"
    for name in chosen.values():
        del missing[name]
    return chosen, missing


def check_submission_path(output: Path, sample: Path | None = None) -> None:
    """Find out before the long work whether `output` can be written; makes its folder.

    Raises ConfigError (not a .csv, a folder, the sample) and UserError (the folder can't be made or written
    to).
    """
    if output.suffix.lower() != ".csv":
        raise ConfigError(f"--output {output}: the name must end in .csv")
    try:
        for path in (output, beside(output, "errors"), table_path(output, "verdicts"),
                     table_path(output, "persons")):  # fmt: skip
            if sample is not None and path.exists() and path.samefile(sample):
                raise ConfigError(f"--output {output}: {path} is the sample, which would be overwritten")
            if path.is_dir():
                raise ConfigError(f"--output {output}: {path}: that is a folder; name a file")
        try_folder(output.parent)
    except OSError as error:
        reason = f"can't be written ({error.strerror}); name a file in a folder that can"
        raise UserError(f"--output {output}: {reason}") from None


def check_nothing_lost(output: Path, names: Iterable[str]) -> None:
    """Raises ConfigError if `output` is there and holds rows of other files, which would be lost."""
    if not output.exists():
        return
    try:
        known = set(map(name_in, names))
        others = [name for name in map(name_in, read_sample(output, str(output))) if name not in known]
    except ConfigError:
        others = ["what is no submission"]
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise ConfigError(
            f"{output} holds {others[0]}{more}, which would be lost; name another --output, or overwrite it "
            "with --force"
        )


def beside(output: Path, kind: str) -> Path:
    """`out/submission.csv`, "errors" -> `out/submission.errors.csv`."""
    return output.with_name(f"{output.stem}.{kind}.csv")


def table_path(output: Path, kind: str) -> Path:
    """`out/submission.csv`, "verdicts" -> `out/verdicts.csv`; of another name `out/<name>.verdicts.csv`."""
    return output.with_name(f"{kind}.csv") if output.stem == "submission" else beside(output, kind)


def write_submission(
    output: Path,
    rows: Iterable[tuple[str, Result]],
    verdicts: Mapping[str, Verdict] | None = None,
    of_persons: Mapping[str, Sequence[Verdict]] | None = None,
    exact: bool = False,
) -> None:
    """Write (name, result) rows to `output` and its `.errors.csv`, each aside first, then moved into place.

    verdicts: of each name, for `verdicts.csv`; of_persons: of each name's persons, for `persons.csv`; None =
    no such table, and one of an earlier run is removed. exact: names stay as they are in `output`, as a
    sample has them. Raises UserError where the disk fails.
    """
    rows = list(rows)
    labels = [(name, f"{result.probability:.6f}") for name, result in rows]
    errors = [(name, result.reason) for name, result in rows if result.reason]
    tables = [(beside(output, "errors"), ("filename", "reason"), errors)]
    if verdicts is not None:
        table = [judged(*row, verdicts[row[0]]) for row in rows]
        tables.append((table_path(output, "verdicts"), VERDICT_COLUMNS, table))
    if of_persons is not None:
        table = [line for row in rows for line in persons_of(*row, of_persons[row[0]])]
        tables.append((table_path(output, "persons"), PERSON_COLUMNS, table))
    for kind, judgements in (("verdicts", verdicts), ("persons", of_persons)):
        if judgements is None:
            remove(table_path(output, kind))
    for path, columns, table in (*tables, (output, ("filename", "label"), labels)):
        try:
            write_whole(path, csv_lines([columns, *table], exact and path == output))
        except OSError as error:
            raise UserError(f"{path} can't be written ({error.strerror}); {GO_ON}") from None


def remove(path: Path) -> None:
    """Remove a table of an earlier run, if it is there. UserError where the disk fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} is of an earlier run and can't be removed ({error.strerror})") from None


def judged(name: str, result: Result, verdict: Verdict) -> tuple:
    """A row of `verdicts.csv`; the spread is empty where nothing is known of the faces."""
    evidence = result.evidence
    spread = "" if evidence is None else f"{evidence.spread:.4f}"
    return name, f"{result.probability:.6f}", verdict.word, result.faces, spread, verdict.why


def persons_of(name: str, result: Result, verdicts: Sequence[Verdict]) -> Iterator[tuple]:
    """The rows of `persons.csv` of one file."""
    for person, verdict in zip(result.persons, verdicts, strict=True):
        row = judged(name, result.of(person), verdict)
        seen = ("" if seconds is None else f"{seconds:.3f}" for seconds in (person.first, person.last))
        yield row[0], person.number, *row[1:], f"{person.evidence.eyes:.1f}", *seen


def table(
    rows: Sequence[tuple[str, Result]], ends: int = 25, verdicts: Mapping[str, Verdict] | None = None
) -> str:
    """The results as text: file, probability, what was judged, and the verdict, or why there is none.

    Of more than 2 * `ends` rows the first and last ones.
    """
    chosen = list(rows) if len(rows) <= 2 * ends else [*rows[:ends], *rows[-ends:]]
    width = max([len("file"), *(len(shown(name)) for name, _ in chosen)])
    wide = max([len("judged"), *(len(result.judged) for _, result in chosen)])
    columns = f"{'file':<{width}}  probability  {'judged':<{wide}}"
    lines = [columns.rstrip() if verdicts is None else f"{columns}  verdict"]
    for name, result in chosen:
        said = result.reason if verdicts is None else f"{verdicts[name].word}: {verdicts[name].why}"
        said = "; ".join(filter(None, (said, result.remark)))
        numbers = f"{result.probability:>11.6f}  {result.judged:<{wide}}"
        lines.append(f"{shown(name):<{width}}  {numbers}  {said}".rstrip())
    if len(chosen) < len(rows):
        lines.insert(1 + ends, f"... {len(rows) - len(chosen)} more of {len(rows)} files ...")
    return "\n".join(lines)


def answer(name: str, result: Result, verdict: Verdict | None = None) -> str:
    """One file's result in a line."""
    if result.reason and not (verdict and verdict.word):
        return shown(f"{name}: not judged: {result.reason}")
    word = f"{verdict.word}, " if verdict and verdict.word else ""
    remark = f"; {result.remark}" if result.remark else ""
    return shown(f"{name}: {word}probability of fake {result.probability:.3f} ({result.judged}{remark})")
