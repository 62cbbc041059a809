"""Progress on stderr, so that stdout holds results alone."""

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

__all__ = ["progress_bar"]

_COLUMNS = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())


def progress_bar(*columns: ProgressColumn, enabled: bool = True) -> Progress:
    """A progress bar that shows itself in a terminal only and is gone when it is done.

    Args:
        *columns: rich's; description, bar, share and time left by default.
        enabled: False shows nothing anywhere.
    """
    console = Console(stderr=True)
    return Progress(
        *(columns or _COLUMNS), console=console, disable=not enabled or not console.is_terminal, transient=True
    )
