"""Make the lists that training reads, from labels and the face crops that exist; or check lists for leaks.

    python make_split.py dfdc_train/ output/faces --out output/lists
    python make_split.py labels.csv output/faces --out output/lists --fractions train=0.8 val=0.1 test=0.1
    python make_split.py labels.csv output/faces --out output/lists --hold-out 0.05
    python make_split.py labels.csv --faces /crops/part1 /crops/part2 --out output/lists
    python make_split.py --check dfdc-data.csv dfdc.json
    python make_split.py dfdc_train/ --check output/lists/dfdc-data.csv output/lists/dfdc.json

LABELS are DFDC's metadata.json files, folders that are searched for them, tables
`name,is_fake,original[,set_name]` (is_fake 0/1 or real/fake; original = the video that a fake was made from),
or, without originals, tables `filename,label` and lists of names with FAKE or REAL.
A set_name that is given is kept; other videos are drawn by original, so that no original lies in two sets.

Writes OUT/dfdc-data.csv (`name,is_fake,n_frame,set_name`, for Xception), OUT/dfdc.json (`{"train": [[video,
label], ...], "valid": ...}`, for WS-DAN; a key a set, val is called valid there) and, of the labelled videos
that have no crops, OUT/without-crops.txt.

--check writes nothing. A video in two sets is a leak, in one list or across lists, and so is an original,
if LABELS tell the originals. Sets of one use may share videos: val and valid, test and test_all.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from utils.core.console import run
from utils.core.errors import ConfigError
from utils.core.names import shown


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 written, or no leak; 1 leaks, unusable labels, lists, crops or disk; 2 wrong usage."""
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="make_split.py LABELS... FACES_ROOT --out DIR [--seed N] [--fractions SET=SHARE ...]\n"
        "                     [--hold-out SHARE]\n"
        "       make_split.py LABELS... --faces FACES_ROOT... --out DIR ...\n"
        "       make_split.py [LABELS...] --check LIST...",
    )  # fmt: skip
    parser.add_argument(
        "paths", nargs="*", metavar="LABELS... FACES_ROOT", type=Path,
        help="labels; and, to make lists, the folder of <name>/<frame>.png",
    )  # fmt: skip
    parser.add_argument(
        "--faces", nargs="+", type=Path, default=[], metavar="FACES_ROOT",
        help="several such folders, which several machines made; all else that is named are labels",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder for the lists")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the draw (default 0)")
    parser.add_argument(
        "--fractions", nargs="+", default=["train=0.8", "val=0.2"], metavar="SET=SHARE",
        help="shares of the originals without a set (default train=0.8 val=0.2)",
    )  # fmt: skip
    parser.add_argument(
        "--hold-out", type=float, metavar="SHARE",
        help="share of the originals of train to set aside, as the set holdout",
    )  # fmt: skip
    parser.add_argument("--check", nargs="+", type=Path, metavar="LIST", help="lists to check for leaks")
    arguments = parser.parse_intermixed_args(argv)
    return run(lambda: make(arguments))


def make(arguments: argparse.Namespace) -> int:
    """Make the lists, or check some; exit status."""
    if arguments.check:
        if arguments.out or arguments.faces or arguments.hold_out is not None:
            raise ConfigError("--check writes nothing; leave --out, --faces and --hold-out away")
        return check(arguments.check, arguments.paths)
    labels, roots = arguments.paths, arguments.faces
    if not roots:
        labels, roots = labels[:-1], labels[-1:]
    if not labels or not arguments.out:
        raise ConfigError("needed are LABELS, FACES_ROOT and --out DIR; or --check LIST; see --help")
    split(labels, roots, arguments.out, arguments.seed, arguments.fractions, arguments.hold_out)
    return 0


def split(
    labels: list[Path], roots: list[Path], out: Path, seed: int, fractions: list[str], held_out: float | None
) -> None:
    """Read, count, draw and write; says what came of it."""
    shares = parse_fractions(fractions)
    if held_out is not None and not 0 < held_out < 1:
        raise ConfigError(f"--hold-out must be a share between 0 and 1; got {held_out:g}")
    if seed < 0:
        raise ConfigError(f"--seed must be 0 or more; got {seed}")
    from utils.core.files import write_whole  # here, since pandas is slow to import: not for --help
    from utils.data.labels import read_labels
    from utils.data.lists import write_list, write_wsdan_list
    from utils.data.splits import assign_sets, count_crops, describe, hold_out, unfinished

    table = read_labels(labels)
    given = table.loc[table["set_name"] != "", "original"].nunique()
    table = assign_sets(count_crops(table, roots), shares, seed)
    drawn = table["original"].nunique() - given
    if held_out is not None:
        table = hold_out(table, held_out, seed)
    missing = table.loc[table["n_frame"] == 0, "name"].tolist()
    out.mkdir(parents=True, exist_ok=True)
    write_list(table, out / "dfdc-data.csv")
    write_wsdan_list(table, out / "dfdc.json")
    write_whole(out / "without-crops.txt", "".join(f"{shown(name)}\n" for name in missing))
    wanted = ", ".join(f"{name} {share:g}" for name, share in shares.items())
    print(f"{drawn:,} originals drawn ({wanted}; seed {seed}), {given:,} in their given sets")
    print(describe(table, shares if drawn else ()))
    if missing:
        print(f"{len(missing):,} labelled videos have no crops and are left out: {out / 'without-crops.txt'}")
    print(f"written: {out / 'dfdc-data.csv'} {out / 'dfdc.json'}")
    alone = int((~table["knows_original"]).sum())
    if alone:
        print(
            f"warning: no original is told of {alone:,} fakes: they and the videos that they were made from "
            "may lie in different sets; labels with a column original prevent that",
            file=sys.stderr,
        )
    halves = unfinished(table, roots)
    if halves:
        print(
            f"warning: the crops of {len(halves):,} videos, such as {halves[0]!r}, are of an extraction that "
            "was not finished; run make_dataset.py again, then this",
            file=sys.stderr,
        )
    filled = set(table.loc[table["n_frame"] > 0, "set_name"])
    for name in shares if drawn else ():
        if name not in filled:
            print(f"warning: the set {name} is empty: too few originals, or none with crops", file=sys.stderr)


def check(lists: list[Path], labels: list[Path]) -> int:
    """Report leaks in and across lists; 1 if there is one, else 0."""
    from utils.data import splits as leaks  # pandas: slow to import, not for --help
    from utils.data.labels import read_labels

    known = read_labels(labels) if labels else None
    table = leaks.with_originals(leaks.read_lists(lists), known)
    parts = leaks.parts_of(table)
    overlaps = leaks.find_overlaps(parts)
    for line in (*leaks.count_listed(table), *overlaps, *leaks.wsdan_notes(parts)):
        print(line)
    for line in leaks.warnings(table, known):
        print(line, file=sys.stderr)
    unknown = table.loc[table["original"].isna(), "name"].nunique()
    if unknown:
        print(f"the originals of {unknown:,} videos are unknown: only the videos themselves were compared")
    n_leaks = sum(overlap.is_leak for overlap in overlaps)
    print(f"{n_leaks} pairs of sets leak" if n_leaks else "no leak found")
    return 1 if n_leaks else 0


def parse_fractions(fractions: list[str]) -> dict[str, float]:
    """`["train=0.8", "val=0.2"]` as a dict, `valid` as `val`; ConfigError unless above 0 and 1 in sum."""
    shares = {}
    for text in fractions:
        name, _, share = text.partition("=")
        name = "val" if name == "valid" else name
        try:
            value = float(share)
        except ValueError:
            raise ConfigError(f"--fractions: {text!r} is not SET=SHARE, such as val=0.2") from None
        if not name or name in shares:
            raise ConfigError(f"--fractions: {text!r} names {'no set' if not name else 'a set again'}")
        shares[name] = value
    if not all(0 < share <= 1 for share in shares.values()) or abs(sum(shares.values()) - 1) > 1e-6:
        raise ConfigError(f"--fractions: shares must be above 0 and sum to 1; got {' '.join(fractions)}")
    return shares


if __name__ == "__main__":
    sys.exit(main())
