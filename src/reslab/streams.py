"""What a process says: results on stdout, all else on stderr. Nothing that is said on stderr ever costs what it is of.

Importing this module imports nothing but Python's own.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, suppress
from typing import Any, TextIO, cast

__all__ = ["drop_stdout", "forgiving", "open_missing_streams", "say", "stdout_takes", "telling"]


class _Forgiving:
    """A stream of text that drops what it cannot pass on: its reader has gone, its disk is full, it is closed."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Passes the text on if that is possible."""
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Likewise."""
        with suppress(OSError, ValueError):
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        with suppress(OSError, ValueError):
            return self._stream is not None and self._stream.isatty()
        return False


def forgiving(stream: TextIO | None) -> TextIO:
    """The stream, but that errors of writing to it are passed over; None, as of a process without one, is none.

    For what is said beside the results: a training whose log's disk is full, or whose terminal was closed, goes on.
    """
    return cast("TextIO", stream if isinstance(stream, _Forgiving) else _Forgiving(stream))


def say(text: str) -> None:
    """Prints a line to stderr, if that is possible."""
    print(text, file=forgiving(sys.stderr), flush=True)


@contextmanager
def telling() -> Iterator[None]:
    """Around a command: stderr forgives, and stdout takes every text, with escapes where its encoding lacks a letter.

    File names that are not UTF-8 have such letters on any stdout.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")
    with redirect_stderr(forgiving(sys.stderr)):
        yield


def stdout_takes(letters: str) -> bool:
    """Whether stdout's encoding has these letters."""
    try:
        letters.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def drop_stdout() -> None:
    """What waits to be written to stdout goes nowhere, also when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def open_missing_streams() -> None:
    """Gives a process that was started without stdin, stdout or stderr empty ones.

    Else the next file that it opens would get the number of the missing one, and what libraries print would be written
    into that file.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            descriptor = os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            setattr(sys, name, os.fdopen(descriptor, mode, encoding="utf-8", closefd=False))
