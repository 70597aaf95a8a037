"""Say of every weights file in the table of external/README.md: present, sha256, loads strictly.

    python tools/check_weights.py                             # as make weights-check does
    python tools/check_weights.py --folder /mnt/weights       # the same files somewhere else

A file that isn't there is reported as absent and is no failure. Exit codes: 0 every file that is there is
fine, 1 one is not, 2 usage or a broken table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, default=ROOT / "external/README.md", help="the Markdown file")
    parser.add_argument("--folder", type=Path, help="where the files lie; default: the table's folder")
    arguments = parser.parse_args(argv)

    from utils.core.console import run

    return run(lambda: check_all(arguments.table, arguments.folder or arguments.table.parent))


def check_all(table: Path, folder: Path) -> int:
    """Say of every file of the table how it is; exit status. ConfigError for a broken table."""
    from utils.core.errors import ConfigError, DataError
    from utils.weights.table import check, read_table

    try:
        entries = read_table(table)
    except DataError as error:
        raise ConfigError(str(error)) from None
    fine = True
    for entry in entries:
        status = check(entry, folder)
        print(status.line())
        fine &= status.fine
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
