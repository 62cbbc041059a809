"""What reading a file of any origin can lead to, as sentences that name the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reslab.errors import ReslabError

__all__ = ["naming", "reading"]

_OF_BROKEN_CONTENT = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, EOFError, RuntimeError)


@contextmanager
def reading(path: Path | str, error: type[ReslabError], *, also: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Held while a file is read and made sense of: what its content leads to is raised as a sentence.

    Content of any origin makes libraries raise nearly anything: RecursionError of 20,000 brackets, MemoryError of a
    stated length, KeyError of an entry that is missing.

    Args:
        path: of the file, or whatever else names it.
        error: what to raise.
        also: a library's own exceptions, which are no kin of Python's (`SafetensorError`).

    Raises:
        error: whatever was raised but for our own exceptions, and those that no content leads to.
    """
    try:
        yield
    except ReslabError:
        raise
    except FileNotFoundError:
        raise error(f"there is no file {path}.") from None
    except OSError as problem:
        raise error(f"{path} cannot be read: {problem.strerror or problem}.") from None
    except RecursionError:
        raise error(f"{path} is damaged: its content is nested too deeply; put back a copy of the file.") from None
    except MemoryError:
        raise error(f"{path} is damaged, or too large for this machine's memory.") from None
    except UnicodeDecodeError as problem:
        raise error(f"{path} is damaged: it is no text in UTF-8 (byte {problem.start}).") from None
    except KeyError as problem:
        raise error(f"{path} is damaged: it lacks {problem}.") from None
    except Exception as problem:
        if not isinstance(problem, (*_OF_BROKEN_CONTENT, *also)):
            raise
        raise error(f"{path} is damaged: {_first_line(problem)}.") from None


@contextmanager
def naming(path: Path | str, error: type[ReslabError]) -> Iterator[None]:
    """Held while sense is made of what a file says: sentences on it, which do not know the file, get its name.

    Raises:
        error: with the file's name before the sentence.
    """
    try:
        yield
    except ReslabError as problem:
        if str(path) in str(problem):
            raise
        raise error(f"{path}: {problem}") from None


def _first_line(problem: Exception) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(problem).__name__
