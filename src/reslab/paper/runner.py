"""Plans an experiment and does what is planned."""

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from reslab.errors import ReslabError
from reslab.paper.budget import fit_iterations, is_enough, measured_rates, plan_seconds
from reslab.paper.catalogue import Experiment
from reslab.paper.choices import Choices, format_time
from reslab.paper.collect import collect_record
from reslab.paper.engines import Engine
from reslab.paper.jobs import Job
from reslab.paper.measurements import measure_path
from reslab.paper.plan import PLAN_NAME, Plan, read_plan
from reslab.paper.planning import Planner
from reslab.paper.progress import PlanProgress
from reslab.paper.rates import Rate
from reslab.paper.report import write_report
from reslab.paper.scheduler import in_groups, run_jobs
from reslab.paper.work import do_job
from reslab.runs import Run
from reslab.streams import say

__all__ = ["Runner", "is_done"]

_WORTH_ASKING_SECONDS = 900.0
_QUICK_DEPTH = 56
_REPORT_SECONDS = 10.0  # at the end, with figures of all layers twice as much
_PROTOCOL_IMAGES = 2_000  # whose error is known to 1 % or so


class Runner:
    """Plans an experiment, does what is planned, and writes its record and report.

    Args:
        experiment: with the arms that were chosen.
        choices: of the user.
        folder: of the plan and the results.
        store: of the runs and measures.
        data_dir: where named data sets are looked for first.
        progress: whether to show it.

    Raises:
        ReslabError: the data are not there, or do not go with the experiment.
    """

    def __init__(
        self,
        experiment: Experiment,
        choices: Choices,
        *,
        folder: Path,
        store: Path,
        data_dir: Path | None,
        progress: bool,
    ) -> None:
        self.planner = Planner(experiment, choices, folder=folder, store=store, data_dir=data_dir, progress=progress)
        self.experiment, self.progress = self.planner.experiment, progress

    def run(self, engine: Engine, budget: float | None, *, ask: bool) -> str | None:
        """Plans, unless there is a plan, and does all that is not done.

        Args:
            engine: that runs the jobs.
            budget: seconds for all of it; None for no limit.
            ask: whether to ask before what takes long.

        Returns:
            None once the record is written; the signal that asked to stop otherwise, with everything saved.

        Raises:
            ReslabError: a folder with other settings, a budget that is too small, or a job that failed.
        """
        folder = self.planner.folder
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / ".lock", timeout=0):
                return self._run(engine, budget, ask=ask)
        except Timeout:
            raise ReslabError(f"another process runs an experiment in {folder}; wait for it or stop it.") from None

    def _run(self, engine: Engine, budget: float | None, *, ask: bool) -> str | None:
        folder = self.planner.folder
        plan, stopped = self._plan(engine, budget, ask)
        if plan is None:
            return stopped
        plan.write()
        missing = [number for number, job in enumerate(plan.jobs) if not is_done(plan, job)]
        if self.experiment.how == "computed":
            for number in missing:
                do_job(plan, plan.jobs[number])
        elif missing:
            with PlanProgress(plan, missing, self.experiment.name, silent=not self.progress) as shown:
                stopped = run_jobs(plan, in_groups(plan, missing, engine.slots), engine, shown)
        if stopped is None:
            collect_record(self.experiment, plan).write(folder)
            write_report(folder)
        return stopped

    def _plan(self, engine: Engine, budget: float | None, ask: bool) -> tuple[Plan | None, str | None]:
        """The plan; or None and the signal that asked to stop before there was one."""
        planner = self.planner
        if (planner.folder / PLAN_NAME).exists():
            return self._known(read_plan(planner.folder), budget), None
        most = planner.full_iterations()
        plan = planner.plan(most, budget)
        if not self.experiment.trains or (budget is None and not ask) or (budget is None and self._is_quick(plan)):
            return plan, None
        began = time.monotonic()
        rates, stopped = measured_rates(plan, engine, self.progress)
        if stopped is not None:
            return None, stopped
        if budget is not None:
            return self._fitted(rates, engine.slots, budget, most, time.monotonic() - began + _REPORT_SECONDS), None
        seconds = plan_seconds(plan, rates, engine.slots)
        if seconds > _WORTH_ASKING_SECONDS:
            self._ask(seconds, most)
        return plan, None

    def _fitted(self, rates: Mapping[str, Rate], slots: int, budget: float, most: int, spent: float) -> Plan:
        """The plan that takes the budget: of fewer seeds, or images of many views, where all would be too much."""
        asked, usual = self.planner.choices.seeds, self.experiment.seeds

        def make(planner: Planner) -> Callable[[int], Plan]:
            return lambda iterations: planner.plan(iterations, budget)

        numbers = [asked] if asked is not None else [None, *range(usual - 1, 0, -1)]
        limits = [None, _PROTOCOL_IMAGES] if self.planner.has_protocols else [None]
        possible = [
            self.planner.with_choices(seeds=seeds, protocol_images=limit) for limit in limits for seeds in numbers
        ]
        # What measuring the speeds took is gone, unless the rest is too little: once known, they need not be measured.
        ways = [(planner, allowed) for allowed in (budget - spent, budget) for planner in possible]
        enough = (
            (planner, allowed) for planner, allowed in ways if is_enough(make(planner), rates, slots, allowed, most)
        )
        planner, allowed = next(enough, ways[-1])
        plan = make(planner)(fit_iterations(make(planner), rates, slots, allowed, most))
        if planner is not possible[0]:
            seeds, limit = planner.choices.seeds, planner.choices.protocol_images
            fewer = [f"--seeds {seeds} (usually {usual})"] if seeds != asked else []
            fewer += [f"{limit:,} test images of many views each"] if limit is not None else []
            say(f"--budget {format_time(budget)} has time for {' and '.join(fewer)}.")
        return plan

    def _is_quick(self, plan: Plan) -> bool:
        """Whether everybody knows that it takes minutes: the digits, and nets that are not very deep."""
        return plan.choices.data == "digits" and all(arm.depth <= _QUICK_DEPTH for arm in self.experiment.arms)

    def _known(self, known: Plan, budget: float | None) -> Plan:
        """The plan that is there, with the seeds that are asked for now; refuses to mix two settings in a folder."""
        planner = self.planner
        if budget is not None:  # it may have chosen fewer than the experiment's, which the same command means again
            seeds = planner.choices.seeds or known.choices.seeds
            planner = planner.with_choices(seeds=seeds, protocol_images=known.choices.protocol_images)
        plan = planner.plan(known.iterations or planner.full_iterations(), budget)

        def settings(item: Plan) -> dict[str, Any]:
            values = replace(item.choices, seeds=None).to_dict()
            digests = {role: split["sha256"] for role, split in item.data.get("splits", {}).items()}
            return {"experiment": item.experiment, **values, "budget": item.budget, "images": digests}

        ours, theirs = settings(plan), settings(known)
        different = [key for key in ours if ours[key] != theirs.get(key)]
        if different:
            words = "; ".join(f"{key} {_shown(theirs.get(key))} there, {_shown(ours[key])} now" for key in different)
            raise ReslabError(f"{plan.folder} holds other settings ({words}); choose another --out, or remove it.")
        return plan

    def _ask(self, seconds: float, iterations: int) -> None:
        said = (
            f"{self.experiment.name} at {iterations:,} iterations takes about {format_time(seconds)} on this machine; "
            "--budget or --iterations takes less."
        )
        say(said)
        if sys.stdin.isatty() and sys.stderr.isatty():
            print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
            if sys.stdin.readline().strip().lower() not in ("y", "yes"):
                raise ReslabError(f"not run; try {shlex.join(['reslab', *sys.argv[1:]])} --budget 30m.")


def is_done(plan: Plan, job: Job) -> bool:
    """Whether a job's training is finished and its measures are there."""
    trained = not job.folder or Run(plan.store / job.folder).finished
    return trained and all(measure_path(plan.store, measure, job).is_file() for measure in job.measures)


def _shown(value: object) -> str:
    """A setting as a reader of a message knows it."""
    if isinstance(value, Mapping):  # checksums of the images, by their role
        return ", ".join(f"{role} {str(digest)[:8]}" for role, digest in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ",".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)
