"""Shows how far a plan is: the jobs that run, and the time left. Importing this module imports no torch."""

import time
from collections.abc import Sequence

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from reslab.console import error_console
from reslab.errors import ReslabError
from reslab.paper.plan import Plan
from reslab.runs import Run
from reslab.streams import say

__all__ = ["PlanProgress"]

_PLAIN_LINES = 10  # lines a job where there is no terminal


class PlanProgress:
    """A bar for the whole and one for each job that runs, in a terminal; now and then a line elsewhere. On stderr.

    Args:
        plan: whose jobs are done.
        numbers: of those that are not done yet.
        title: of what is being done.
        silent: say nothing.
    """

    def __init__(self, plan: Plan, numbers: Sequence[int], title: str, *, silent: bool = False) -> None:
        console = error_console()
        self.live, self.plan, self.title, self.silent = console.is_terminal and not silent, plan, title, silent
        self.work = {number: max(1, plan.jobs[number].subject.iterations) for number in numbers}
        self.finished: set[int] = set()
        self.first = {number: self._iteration(number) for number in numbers}
        self.shown = dict.fromkeys(numbers, -1)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
        )
        self.bar = Progress(*columns, console=console, disable=not self.live)
        self.tasks: dict[int, TaskID] = {}
        self.started_at = time.monotonic()

    def __enter__(self) -> "PlanProgress":
        self.whole = self.bar.add_task(f"{self.title:<28}", total=sum(self.work.values()), figures="")
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def started(self, number: int) -> None:
        """A job was started."""
        if number not in self.tasks:
            name = self.plan.jobs[number].name
            self.tasks[number] = self.bar.add_task(f"{name:<28}", total=self.work[number], figures="")

    def done(self, number: int) -> None:
        """A job has ended well."""
        self.finished.add(number)
        self.bar.remove_task(self.tasks[number])
        self._say(number, self.work[number])

    def update(self) -> None:
        """Shows how far each job is, from its metrics."""
        for number in self.tasks.keys() - self.finished:
            iteration, error = self._iteration(number), self._error(number)
            figures = "" if error is None else f"training error {error:6.2f} %"
            self.bar.update(self.tasks[number], completed=iteration, figures=figures)
            self._say(number, iteration)
        done = sum(self.work[number] if number in self.finished else self._iteration(number) for number in self.work)
        self.bar.update(self.whole, completed=done, figures=self._left(done))

    def _left(self, done: int) -> str:
        """The time left, at the speed so far."""
        gained, total = done - sum(self.first.values()), sum(self.work.values())
        if gained <= 0:
            return ""
        seconds = (total - done) * (time.monotonic() - self.started_at) / gained
        minutes, rest = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"about {hours}:{minutes:02}:{rest:02} left"

    def _say(self, number: int, iteration: int) -> None:
        share = iteration * _PLAIN_LINES // self.work[number]
        if self.live or self.silent or share <= self.shown[number]:
            return
        self.shown[number] = share
        job, error = self.plan.jobs[number], self._error(number)
        of = f"{iteration:>6}/{job.subject.iterations}" if job.subject.iterations else "measured"
        figures = "" if error is None else f"  training error {error:6.2f} %"
        say(f"{job.name:<28} {of}{figures}")

    def _iteration(self, number: int) -> int:
        row = self._last_row(number)
        return int(row["iteration"]) if row else 0

    def _error(self, number: int) -> float | None:
        row = self._last_row(number)
        return float(row["train_error"]) if row else None

    def _last_row(self, number: int) -> dict[str, float]:
        job = self.plan.jobs[number]
        if not job.folder:
            return {}
        try:
            rows = Run(self.plan.store / job.folder).rows()
        except ReslabError:  # it is being written
            return {}
        return rows[-1] if rows else {}
