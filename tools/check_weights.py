"""Say of every weights file in external/weights.json: present, sha256, loads strictly.

    python tools/check_weights.py                             # as make weights-check does
    python tools/check_weights.py --folder /mnt/weights       # the same files somewhere else
    python tools/check_weights.py --table                     # write the table of external/README.md anew
    python tools/check_weights.py --sums                      # state the sums of the files that are there now

A file that isn't there is reported as absent and is no failure. Exit codes: 0 every file that is there is
fine, 1 one is not, 2 usage or a broken list.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

# The table in the README: its lines begin with a bar, and there is no other.
TABLE = re.compile(r"^\|.*\n(?:\|.*\n)*", re.MULTILINE)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", type=Path, default=ROOT / "external/weights.json", help="the JSON file")
    parser.add_argument("--folder", type=Path, help="where the files lie; default: the list's folder")
    parser.add_argument("--table", action="store_true", help="write the table of the README beside the list")
    parser.add_argument("--sums", action="store_true", help="state the sums of the files that are here")
    arguments = parser.parse_args(argv)

    from utils.core.console import run

    if arguments.sums:
        return run(lambda: write_sums(arguments.list, arguments.folder or arguments.list.parent))
    if arguments.table:
        return run(lambda: write_table(arguments.list, arguments.list.with_name("README.md")))
    return run(lambda: check_all(arguments.list, arguments.folder or arguments.list.parent))


def check_all(path: Path, folder: Path) -> int:
    """Say of every file of the list how it is; exit status. ConfigError for a broken list."""
    from utils.weights.table import check

    is_fine = True
    for entry in entries_of(path):
        status = check(entry, folder)
        print(status.line())
        is_fine &= status.is_fine
    return 0 if is_fine else 1


def write_table(path: Path, readme: Path) -> int:
    """Put the list's table in place of the README's; exit status. ConfigError for a broken list."""
    from utils.core.files import write_whole
    from utils.weights.table import markdown

    table = markdown(entries_of(path))
    write_whole(readme, TABLE.sub(lambda _: table, readme.read_text(encoding="utf-8"), count=1))
    return 0


def write_sums(path: Path, folder: Path) -> int:
    """State in the list the sha256 of its files that lie in `folder`; exit status. ConfigError."""
    import json

    from utils.core.files import sha256_of, write_whole

    entries_of(path)
    rows = json.loads(path.read_text(encoding="utf-8"))
    for row in rows:
        if (folder / row["file"]).is_file():
            row["sha256"] = sha256_of(folder / row["file"])
            print(f"{row['file']}: {row['sha256']}")
    write_whole(path, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    return 0


def entries_of(path: Path) -> list:
    """The files of the list; ConfigError for a broken one."""
    from utils.core.errors import ConfigError, DataError
    from utils.weights.table import read_entries

    try:
        return read_entries(path)
    except DataError as error:
        raise ConfigError(str(error)) from None


if __name__ == "__main__":
    sys.exit(main())
