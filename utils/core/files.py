"""Writing files so that each is at every moment the old one or the new one, never half."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

from utils.core.errors import ConfigError, UserError
from utils.core.names import cell, shown

# Process ids are a host's own, and a folder may be shared.
HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
ASIDE = re.compile(r"\.(?:([0-9a-f]{8})-)?([0-9]{1,10})-[0-9]{1,20}\.part")
STALE_SECONDS = 24 * 3600  # no file takes so long to be written
STARTED = time.time()
WRITE_SECONDS = 10.0  # that `leave` waits for a file; a disk that hangs must not hold up the end

_changed = threading.Condition()
_writing = 0  # files that threads of this process are at
_leaving = False


def sha256_of(path: str | Path) -> str:
    """The sha256 of a file, in hex; 42 MB take 0.03 s. OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _moved_into(path: str | Path) -> Iterator[str]:
    """A name aside `path`; what is written there is moved to `path` at the end, or removed after an error."""
    aside = os.path.join(os.path.dirname(path), f".{HOST}-{os.getpid()}-{threading.get_ident()}.part")
    with _kept_from_leaving():
        try:
            yield aside
            os.replace(aside, path)
        except OSError as error:
            error.filename, error.filename2 = os.fspath(path), None
            raise
        finally:
            if os.path.lexists(aside):
                os.unlink(aside)


@contextmanager
def _kept_from_leaving() -> Iterator[None]:
    """`leave` waits while this is open; who comes later waits for the end of the process."""
    global _writing
    with _changed:
        _changed.wait_for(lambda: not _leaving)
        _writing += 1
    try:
        yield
    finally:
        with _changed:
            _writing -= 1
            _changed.notify_all()


def leave(status: int) -> NoReturn:
    """End this process at once, whatever its other threads are at, but no file half-written."""
    global _leaving
    with _changed:
        _leaving = True
        _changed.wait_for(lambda: not _writing, WRITE_SECONDS)
        os._exit(status)


def write_whole(path: str | Path, data: bytes | bytearray | memoryview | str, synced: bool = True) -> None:
    """Write aside, then move into place; text as UTF-8, undecodable file names in it as the bytes they are.

    The aside file has a short hidden name of its own, so that neither long names nor two runs at once get in
    the way; whatever goes wrong, it is removed. synced: it is on the disk before it has its name, so that it
    is whole after a power cut, too; else `sync` does that for it. Raises OSError, whose `filename` is `path`.
    """
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogateescape")
    with _moved_into(path) as aside, open(aside, "wb") as file:
        file.write(data)
        if synced:
            file.flush()
            os.fsync(file.fileno())


def sync(path: str | Path) -> None:
    """Have the content of a file on the disk before this returns. Raises OSError, whose `filename` is it."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        error.filename = os.fspath(path)
        raise


def remove_leftovers(folder: str | Path) -> None:
    """Remove what killed processes left half-written in a folder, by the names that `write_whole` gives.

    Those of another host's, whose processes can't be seen from here, once they are a day old. What can't be
    removed stays.
    """
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = ASIDE.fullmatch(entry.name)
            with suppress(OSError):
                if name and entry.is_file(follow_symlinks=False) and _is_left(name, entry):
                    os.unlink(entry.path)


def _is_left(name: re.Match[str], entry: os.DirEntry) -> bool:
    """Whether nobody writes this file any more."""
    written = entry.stat(follow_symlinks=False).st_mtime
    if name[1] != HOST:
        return time.time() - written > STALE_SECONDS
    if int(name[2]) == os.getpid():  # in a container each run may have the same number
        return written < STARTED
    try:
        os.kill(int(name[2]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False


def link_whole(source: str | Path, path: str | Path) -> None:
    """Give the whole file `source` the name `path` as well; a copy where the disk knows no such links.

    Neither is to be written in place from then on. Raises OSError, whose `filename` is `path`.
    """
    with _moved_into(path) as aside:
        try:
            os.link(source, aside)
        except OSError:
            shutil.copyfile(source, aside)


def csv_lines(rows: Iterable[Sequence[object]], exact: bool = False) -> str:
    """Rows as CSV, in which no text is a formula to a spreadsheet; `names.name_in` reads it back as it was.

    exact: texts stay as they are, for what compares them.
    """
    text = io.StringIO(newline="")
    for row in rows:
        row = [cell(value) if isinstance(value, str) and not exact else value for value in row]
        # Before Python 3.13 the writer doesn't quote a lone carriage return, at which readers end the row;
        # and some spreadsheets begin a cell at these.
        is_torn = any(sign in str(value) for value in row for sign in "\r\t;")
        quoting = csv.QUOTE_ALL if is_torn else csv.QUOTE_MINIMAL
        csv.writer(text, lineterminator="\n", quoting=quoting).writerow(row)
    return text.getvalue()


def append_line(path: str | Path, line: str) -> None:
    """Add a line of text to a file, which need not be there. Raises OSError, whose `filename` is `path`."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(line + "\n")
    except OSError as error:
        error.filename = os.fspath(path)  # a full disk is found out by the writing, which knows no name
        raise


def try_folder(folder: Path) -> None:
    """Make the folder and write to it once. Raises OSError where that fails."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(bytes(4096))


def check_output(output: Path, suffix: str, inputs: Sequence[Path] = ()) -> None:
    """Find out before long work whether the file `output` can be written; makes its folder.

    Raises ConfigError for another suffix, a folder, and one of the files that the work reads, UserError where
    it can't be written.
    """
    if output.suffix != suffix:
        raise ConfigError(f"{output}: must end in {suffix}")
    if output.is_dir():
        raise ConfigError(f"{output}: a folder; name a file to write")
    if output.exists() and any(path.exists() and path.samefile(output) for path in inputs):
        raise ConfigError(f"{output}: would be overwritten by what is made of it; name another file to write")
    try:
        try_folder(output.parent)
    except OSError as error:
        reason = f"can't be written ({error.strerror}); name a file in a folder that can"
        raise UserError(f"{output}: {reason}") from None


def check_report(name: Path | None) -> None:
    """`check_output` for the files that `give_report` writes."""
    if name is None:
        return
    if name.name in ("", ".."):
        raise ConfigError(f"--output {name}: a folder; name the report, as {name / 'report'}")
    for suffix in (".md", ".json", ".html"):
        check_output(Path(f"{name}{suffix}"), suffix)


def give_report(
    name: str | Path | None, command: Sequence[str], report: str, data: dict, page: str = ""
) -> int:
    """Print a report; with a name also write `name`.md, with the command, and `name`.json, its figures.

    data: dicts, lists, strings and numbers; NaN, undefined, becomes null. page: the same as HTML, for
    `name`.html; "" = none. Returns the exit status. Raises OSError.
    """
    print("\n".join(map(shown, report.split("\n"))))
    if name is None:
        return 0
    line, path = shlex.join(command), Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(f"{path}.md", f"    {line}\n\n{report}\n")
    write_whole(f"{path}.json", json.dumps({"command": line} | without_nan(data), indent=1) + "\n")
    if page:
        write_whole(f"{path}.html", page)
    return 0


def without_nan(value: Any) -> Any:
    """Nested dicts and lists with None for NaN, which JSON doesn't have."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [without_nan(item) for item in value]
    return None if value != value else value
