"""Does a plan's jobs on an engine, several side by side. Importing this module imports no torch."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from reslab.errors import ReslabError
from reslab.paper.engines import Engine, Running
from reslab.paper.plan import Plan
from reslab.paper.progress import PlanProgress
from reslab.paper.worker import STOPPED
from reslab.training.stopping import StopRequests

__all__ = ["in_groups", "run_jobs"]

_POLL_SECONDS = 0.2
_MOST_RESTARTS = 3  # of a job whose process something else killed or stopped, as a machine that lacks memory does


def run_jobs(
    plan: Plan,
    groups: Sequence[Sequence[int]],
    engine: Engine,
    progress: PlanProgress,
    rate: Callable[[int], Path] | None = None,
) -> str | None:
    """Does jobs of a plan, in the order given.

    A job whose process was killed or stopped by something else is started again, and goes on where it was.

    Args:
        plan: written already.
        groups: numbers of jobs, those of a group in one process.
        engine: that runs them.
        progress: that is told.
        rate: of a job's number the file for how fast it would go, where only that is measured.

    Returns:
        None once all are done; the signal that asked to stop otherwise, with everything saved.

    Raises:
        ReslabError: a job failed; its message is that job's.
    """
    waiting = [tuple(group) for group in groups]
    restarts = dict.fromkeys(waiting, 0)
    running: dict[tuple[int, ...], Running] = {}
    with StopRequests(None) as stop:
        try:
            while waiting or running:
                while waiting and len(running) < engine.slots:
                    group = waiting.pop(0)
                    target = rate(group[0]) if rate else None
                    running[group] = engine.start(plan.folder, group, log_path(plan, group[0]), target)
                    for number in group:
                        progress.started(number)
                time.sleep(_POLL_SECONDS)
                for group, status in _ended(running):
                    del running[group]
                    if status == 0:
                        for number in group:
                            progress.done(number)
                    elif (status < 0 or status == STOPPED) and restarts[group] < _MOST_RESTARTS:
                        restarts[group] += 1
                        waiting.insert(0, group)
                    else:
                        raise ReslabError(_failure(plan, group, status))
                progress.update()
                if (reason := stop.reason(0)) is not None:
                    return reason
        finally:
            for job in running.values():
                job.stop()
            for job in running.values():
                job.wait()
    return None


def in_groups(plan: Plan, numbers: Sequence[int], slots: int) -> list[tuple[int, ...]]:
    """Jobs as groups: a training alone, and what is only measured in as many groups as run side by side, since a
    process takes longer to start than such a job."""
    trainings = [(number,) for number in numbers if plan.jobs[number].folder]
    others = [number for number in numbers if not plan.jobs[number].folder]
    return trainings + [tuple(others[place::slots]) for place in range(min(slots, len(others)))]


def log_path(plan: Plan, number: int) -> Path:
    """What a process printed that does this job, and perhaps others after it."""
    return plan.folder / "logs" / f"{number:03}.log"


def _ended(running: dict[tuple[int, ...], Running]) -> list[tuple[tuple[int, ...], int]]:
    found = [(group, job.ended()) for group, job in running.items()]
    return [(group, status) for group, status in found if status is not None]


def _failure(plan: Plan, group: Sequence[int], status: int) -> str:
    path = log_path(plan, group[0])
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines() if path.exists() else []
    last = lines[-1].removeprefix("reslab: ") if lines else f"it printed nothing and ended with {status}"
    names = plan.jobs[group[0]].name + (f" or one of {len(group) - 1} after it" if len(group) > 1 else "")
    return f"{names} failed: {last} (all of it: {path}). The same command goes on from here."
