"""What training shows while it runs: a bar in a terminal, plain lines elsewhere."""

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from reslab.console import error_console
from reslab.streams import say
from reslab.tasks.words import ONE_LABEL_WORDS, Words

__all__ = ["TrainingProgress"]


_WIDE = 120  # columns that a bar takes with all figures
_NARROW_TITLE = 20


class TrainingProgress:
    """Shows rows of metrics as they come. Writes to stderr, so that stdout stays for results.

    Args:
        title: of the bar or line.
        total: iterations in all.
        start: iterations done before.
        enabled: whether to show anything.
        work: that so many iterations take, in any unit; for the bar and the time left.
        words: what the errors are called.
    """

    def __init__(
        self,
        title: str,
        total: int,
        start: int,
        enabled: bool,
        work: Callable[[int], float] = float,
        words: Words = ONE_LABEL_WORDS,
    ) -> None:
        self.console = error_console(markup=False)
        self.title, self.total, self.start, self.enabled, self.work = title, total, start, enabled, work
        self.words = words
        self.started_at = time.monotonic()
        self.live = enabled and self.console.is_terminal
        self.narrow = self.console.width < _WIDE
        self.bar = Progress(
            TextColumn("{task.description}", style="bold", markup=False),
            BarColumn(bar_width=12 if self.narrow else 24),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
        )
        shown = title if len(title) <= _NARROW_TITLE or not self.narrow else f"{title[: _NARROW_TITLE - 1]}…"
        self.task = self.bar.add_task(shown, total=work(total), completed=round(work(start)), figures="")

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def advance(self, iteration: int) -> None:
        """Notes how many iterations are done."""
        if self.live:
            self.bar.update(self.task, completed=self.work(iteration))

    def show(self, row: dict[str, Any]) -> None:
        """Shows a row of metrics."""
        figures = format_row(row, short=self.live and self.narrow, words=self.words)
        if self.live:
            self.bar.update(self.task, completed=self.work(row["iteration"]), figures=figures)
        elif self.enabled:
            done = self.work(row["iteration"])
            pace = (time.monotonic() - self.started_at) / ((done - self.work(self.start)) or 1)
            left = pace * (self.work(self.total) - done)
            say(f"{self.title}  {row['iteration']}/{self.total}  {figures}  {_clock(left)} left")

    def say(self, sentence: str) -> None:
        """Shows a sentence."""
        if self.enabled:
            self.console.print(sentence, highlight=False, soft_wrap=True)


def format_row(row: dict[str, Any], *, short: bool = False, words: Words = ONE_LABEL_WORDS) -> str:
    """A row of metrics in one line: errors in %, loss, rate, speed; short, the training error alone."""
    wrong, error = (f" {name}" if name != "error" else "" for name in (words.wrong, words.error))
    if short:
        return f"train{wrong} {row['train_error']:.1f} %"
    parts = [f"train{wrong} {row['train_error']:.2f} %"]
    parts += [f"{name}{error} {row[f'{name}_error']:.2f} %" for name in ("val", "test") if f"{name}_error" in row]
    parts += [f"loss {row['loss']:.4f}", f"rate {row['learning_rate']:g}", f"{row['images_per_second']:.0f} images/s"]
    return "  ".join(parts)


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
