"""Progress on stderr, so that stdout holds results alone."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

from reslab.streams import forgiving

__all__ = ["counting", "error_console", "progress_bar"]

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())


def error_console(*, markup: bool = True) -> Console:
    """rich's console of stderr, which passes over errors of writing to it.

    Args:
        markup: whether brackets in texts are styles.
    """
    return Console(file=forgiving(sys.stderr), markup=markup)


def progress_bar(*columns: ProgressColumn, enabled: bool = True) -> Progress:
    """A progress bar that shows itself in a terminal only and is gone when it is done.

    Args:
        *columns: rich's; description, bar, share and time left by default.
        enabled: False shows nothing anywhere.
    """
    console = error_console()
    return Progress(
        *(columns or _COLUMNS), console=console, disable=not enabled or not console.is_terminal, transient=True
    )


@contextmanager
def counting(text: str, total: int | None, *, enabled: bool = True) -> Iterator[Callable[[int], None]]:
    """A progress bar of one task, as the function that is told how many more are done.

    Args:
        text: what is being done.
        total: how many there are; None where that is not known.
        enabled: False shows nothing anywhere.
    """
    with progress_bar(enabled=enabled) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.advance(task, done)
