"""Make the list that training reads, from labels and the face crops that exist.

    python make_split.py labels.csv output/faces --out output/lists
    python make_split.py part1.csv part2.csv output/faces --out output/lists --fractions train=0.9 val=0.1

LABELS are tables `name,is_fake,original[,set_name]`: is_fake 0/1 or real/fake; original = the video that a
fake was made from. A set_name that is given is kept; other videos are drawn by original, so that no original
lies in two sets. Writes OUT/dfdc-data.csv (`name,is_fake,n_frame,set_name`) and, of the labelled videos that
have no crops, OUT/without-crops.txt.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from utils.errors import ConfigError, UserError


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 written, 1 unusable tables, crops or disk, 2 wrong usage."""
    summary, _, usage = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=summary, epilog=usage, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("labels", nargs="+", metavar="LABELS", type=Path, help="label tables")
    parser.add_argument("faces_root", metavar="FACES_ROOT", type=Path, help="folder of <name>/<frame>.png")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the lists")
    parser.add_argument("--seed", type=int, default=0, help="of the draw (default 0)")
    parser.add_argument(
        "--fractions", nargs="+", default=["train=0.8", "val=0.2"], metavar="SET=SHARE",
        help="shares of the originals without a set (default train=0.8 val=0.2)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    try:
        split(arguments.labels, arguments.faces_root, arguments.out, arguments.seed, arguments.fractions)
        return 0
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def split(labels: list[Path], faces_root: Path, out: Path, seed: int, fractions: list[str]) -> None:
    """Read, count, draw, check and write; says what came of it."""
    shares = parse_fractions(fractions)
    if seed < 0:
        raise ConfigError(f"--seed must be 0 or more; got {seed}")
    from utils import split as splitting  # pandas: slow to import, not for --help

    table = splitting.count_crops(splitting.read_tables(labels), faces_root)
    table = splitting.assign_sets(table, shares, seed)
    missing = table.loc[table["n_frame"] == 0, "name"].tolist()
    out.mkdir(parents=True, exist_ok=True)
    splitting.write_list(table, out / "dfdc-data.csv")
    write_names(missing, out / "without-crops.txt")
    print(splitting.describe(table))
    if missing:
        print(f"{len(missing):,} labelled videos have no crops and are left out: {out / 'without-crops.txt'}")
    print(f"written: {out / 'dfdc-data.csv'}")


def parse_fractions(fractions: list[str]) -> dict[str, float]:
    """`["train=0.8", "val=0.2"]` as a dict; ConfigError unless the shares are above 0 and sum to 1."""
    shares = {}
    for text in fractions:
        name, _, share = text.partition("=")
        try:
            shares[name] = float(share)
        except ValueError:
            raise ConfigError(f"--fractions: {text!r} is not SET=SHARE, such as val=0.2") from None
    if min(shares.values()) <= 0 or abs(sum(shares.values()) - 1) > 1e-6 or "" in shares:
        raise ConfigError(f"--fractions: shares must be above 0 and sum to 1; got {' '.join(fractions)}")
    return shares


def write_names(names: list[str], path: Path) -> None:
    """A name a line, aside first."""
    aside = path.with_name(path.name + ".part")
    aside.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    os.replace(aside, path)


if __name__ == "__main__":
    sys.exit(main())
