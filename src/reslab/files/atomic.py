"""Writing a file so that a crash leaves the old one or the new one, never half of either."""

import errno
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "atomic_path",
    "fsync",
    "json_text",
    "make_durable",
    "unwound_by_sigterm",
    "write_bytes",
    "write_json",
    "write_text",
]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; what was written there is fsynced and renamed to `path` on leaving.

    On an error the temporary file is removed and `path` is untouched.

    Raises:
        OSError: the file cannot be written; a folder has its name, for example.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        make_durable(temporary)
        os.replace(temporary, path)
        fsync(path.parent)  # the rename itself lies in the folder
    finally:
        temporary.unlink(missing_ok=True)


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
