"""Files that belong together, replaced together: after a crash all are the old ones, or all become the new ones.

The new files are written under temporary names beside the old ones. Then a journal is written, which says what is to
be renamed to what; from that moment on the new files count. A crash between two renames leaves the journal, and whoever
reads the files next finishes what it says. Names are used once, so that two processes may finish the same replacement
at the same time.
"""

import os
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from reslab.errors import ReslabError
from reslab.files.atomic import fsync, make_durable, naming
from reslab.files.records import read_record, write_record

__all__ = ["finish_replacement", "read_set", "replace_set"]

_SCHEMA = 1
_JOURNALS = ".replacing-*.json"
_TRIES = 10

Read = TypeVar("Read")


@contextmanager
def replace_set(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Gives a temporary path for each name; what was written there replaces the files of these names on leaving.

    On an error the temporary files are removed and the old ones are untouched.

    Args:
        folder: of the files; made where it is missing.
        names: of the files. The last one is renamed last: `read_set` watches it.

    Raises:
        WriteError: a file cannot be written.
    """
    with naming(folder / names[0]):
        folder.mkdir(parents=True, exist_ok=True)
        token = secrets.token_hex(8)
        temporary = {name: folder / f".{name}.{token}.partial" for name in names}
        journal = folder / _JOURNALS.replace("*", token)
        try:
            yield temporary
            for path in temporary.values():
                make_durable(path)
            fsync(folder)
            write_record(
                journal, {"schema_version": _SCHEMA, "files": {name: path.name for name, path in temporary.items()}}
            )
        except BaseException:
            if not journal.exists():  # else the new files count already
                for path in temporary.values():
                    path.unlink(missing_ok=True)
            raise
        _finish(folder, journal, {name: path.name for name, path in temporary.items()})


def finish_replacement(folder: Path, error: type[ReslabError]) -> None:
    """Finishes a replacement of files that a crash cut short; does nothing where there is none.

    Args:
        folder: of the files.
        error: what to raise.

    Raises:
        error: it cannot be finished: the journal is damaged, or the folder cannot be written to.
    """
    for journal in sorted(folder.glob(_JOURNALS)):
        try:
            record = read_record(journal, schema_version=_SCHEMA, checksum=True, error=error, if_missing="")
            if not _renames(record.get("files")):
                raise error(f"{journal} is damaged: its entry files must be names by names.")
        except error:
            if journal.exists():
                raise
            continue  # another process has finished it
        try:
            _finish(folder, journal, record["files"])
        except OSError as problem:
            raise error(
                f"a replacement of files in {folder} was cut short, and cannot be finished: "
                f"{problem.strerror or problem}; run the command again where the folder can be written to."
            ) from None


def read_set(folder: Path, watched: str, read: Callable[[], Read], error: type[ReslabError]) -> Read:
    """What a function makes of files that belong together, all of them from before a replacement or from after it.

    Args:
        folder: of the files.
        watched: name of the file that is replaced last.
        read: reads them; called again if they were replaced meanwhile.
        error: what it raises where the files do not belong together.

    Raises:
        error: as `read` does.
    """
    for _ in range(_TRIES):
        finish_replacement(folder, error)
        before = _identity(folder / watched)
        try:
            found = read()
        except error:
            if _settled(folder, watched, before):
                raise
        else:
            if _settled(folder, watched, before):
                return found
    raise error(f"the files in {folder} were replaced while they were read, {_TRIES} times; try again.")


def _finish(folder: Path, journal: Path, files: dict[str, str]) -> None:
    for name, temporary in files.items():
        try:
            os.replace(folder / Path(temporary).name, folder / Path(name).name)  # of a journal, too, only names
        except FileNotFoundError:  # done already, before the crash or by another process
            continue
    fsync(folder)
    journal.unlink(missing_ok=True)


def _renames(files: object) -> bool:
    return isinstance(files, dict) and all(isinstance(name, str) for pair in files.items() for name in pair)


def _settled(folder: Path, watched: str, before: tuple[int, ...] | None) -> bool:
    return not any(folder.glob(_JOURNALS)) and _identity(folder / watched) == before


def _identity(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns
