#!/usr/bin/env python3
"""Write training lists of real faces, one for each source: OUT/<source>.csv, `name,is_fake,n_frame,set_name`.

    python tools/list_reals.py ../shared/reals/reals.csv output/faces --out output/lists

The table has the columns name, source, set_name. Sets are kept, so that one that is held back stays so.
Faces without crops in FACES are left out.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from utils.core.console import run  # noqa: E402
from utils.core.errors import DataError  # noqa: E402
from utils.data.lists import write_list  # noqa: E402
from utils.data.shards import crop_numbers  # noqa: E402

NEEDED = ("name", "source", "set_name")


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 written, 1 a table that can't be used or a disk that failed, 2 wrong usage."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, metavar="TABLE", help="such as reals.csv")
    parser.add_argument("faces", type=Path, metavar="FACES", help="folder of <name>/<frame>.png")
    parser.add_argument("--out", type=Path, metavar="DIR", required=True, help="folder for the lists")
    arguments = parser.parse_args(argv)
    return run(lambda: write(arguments.table, arguments.faces, arguments.out))


def write(table_path: Path, faces: Path, out: Path) -> int:
    """Write the lists and say what is in them; exit status. DataError for a table of no use."""
    table = read_reals(table_path)
    table = table.assign(is_fake=0, n_frame=[len(crop_numbers(faces / name)) for name in table["name"]])
    if not table["n_frame"].any():
        raise DataError(f"{faces} holds no crop of the {len(table)} faces of {table_path}")
    out.mkdir(parents=True, exist_ok=True)
    for source, rows in table.groupby("source"):
        write_list(rows, out / f"{source}.csv")
        sets = rows.loc[rows["n_frame"] > 0, "set_name"].value_counts()
        print(f"{out / f'{source}.csv'}: " + ", ".join(f"{count:,} {name}" for name, count in sets.items()))
    return 0


def read_reals(path: Path) -> pd.DataFrame:
    """The table as strings; DataError if it can't be read, or lacks a column."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} can't be read as CSV: {' '.join(str(error).split())}") from None
    missing = [column for column in NEEDED if column not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; needed are {','.join(NEEDED)}")
    for source in table["source"].unique():
        if not source or source.startswith(".") or set(source) & {"/", "\0"}:
            raise DataError(f"{path}: the source {source!r} can't be the name of a list")
    return table


if __name__ == "__main__":
    sys.exit(main())
