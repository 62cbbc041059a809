"""Reading a file whole only if it is one, and of a size that it can have."""

import os
import stat
from pathlib import Path

from reslab.errors import DataError

__all__ = ["read_regular"]


def read_regular(path: Path, most: int) -> bytes:
    """A file's content.

    A pipe would keep its reader waiting, a device might never end, and a file of any size would fill the memory.

    Args:
        path: of the file.
        most: bytes that it may have.

    Raises:
        DataError: it is a folder, pipe, socket or device, or too large; the message does not repeat its name.
        OSError: it cannot be read.
    """
    _check(os.stat(path), most)
    # It may have become something else since.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as stream:
        _check(os.fstat(descriptor), most)
        return stream.read(most)


def _check(found: os.stat_result, most: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
        kind = kinds.get(stat.S_IFMT(found.st_mode), "a device")
        raise DataError(f"it is {kind} and not a regular file; remove it.")
    if found.st_size > most:
        raise DataError(f"it has {found.st_size:,} bytes, and {most:,} are the most that are read; it is damaged.")
