"""Writing a file so that a crash leaves the old one or the new one, never half of either."""

import errno
import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from reslab.errors import WriteError

__all__ = [
    "atomic_path",
    "fsync",
    "json_text",
    "make_durable",
    "naming",
    "unwound_by_sigterm",
    "write_bytes",
    "write_json",
    "write_text",
]

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what was written there is fsynced and renamed to `path` on leaving.

    On an error the temporary file is removed and `path` is untouched. A link is followed: what it leads to is replaced.
    What is no regular file, as /dev/null or a pipe, cannot be replaced: it is written to.

    Raises:
        WriteError: the file cannot be written; a folder has its name, for example, or the disk is full.
    """
    with naming(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        target = Path(os.path.realpath(path))
        if target.exists() and not target.is_file():
            with _written_through(target) as temporary:
                yield temporary
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
        os.close(descriptor)
        temporary = Path(name)
        try:
            yield temporary
            make_durable(temporary)
            os.replace(temporary, target)
            fsync(target.parent)  # the rename itself lies in the folder
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def _written_through(device: Path) -> Iterator[Path]:
    """A temporary path whose content goes to a device or a pipe on leaving."""
    with tempfile.TemporaryDirectory() as folder:
        temporary = Path(folder, device.name)
        yield temporary
        with temporary.open("rb") as source, device.open("wb") as stream:
            shutil.copyfileobj(source, stream)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Around what writes a file: an error of the system becomes a sentence that names it.

    Raises:
        WriteError: it cannot be written.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        if not _is_about(error, path):
            raise
        hint = "; make room, and run the command again" if error.errno in _FULL else ""
        told = WriteError(f"cannot write {path}: {error.strerror or error}{hint}.")
        told.errno = error.errno
        raise told from error


def _is_about(error: OSError, path: Path) -> bool:
    """Whether an error is of writing a file, and not of another one that is read for it."""
    named = [os.path.realpath(name) for name in (error.filename, error.filename2) if isinstance(name, str)]
    folder = os.path.dirname(os.path.realpath(path))
    return not named or any(os.path.dirname(name) == folder or f"{folder}/".startswith(f"{name}/") for name in named)


@contextmanager
def unwound_by_sigterm() -> Iterator[None]:
    """Lets SIGTERM end the process as Ctrl-C does, so that temporary files are removed; with exit code 143.

    Outside the main thread, and where somebody handles the signal already, nothing changes.
    """
    default = signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if threading.current_thread() is not threading.main_thread() or not default:
        yield
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces a file's content atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Replaces a file's content atomically, in UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Replaces a file atomically with indented JSON; NaN and infinity, which JSON lacks, are refused."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Indented JSON; NaN and infinity, which JSON lacks, are refused."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def make_durable(temporary: Path) -> None:
    """Gives a temporary file the permissions of an ordinary one, and waits until its content is on the disk."""
    os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's 0600 would keep a shared run folder to its owner
    fsync(temporary)


def fsync(path: Path) -> None:
    """Waits until a file's content, or a folder's entries, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
