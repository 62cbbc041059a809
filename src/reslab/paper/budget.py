"""The number of iterations that a time allows. Importing this module imports no torch."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from reslab.errors import ReslabError
from reslab.models import parse_model
from reslab.paper.choices import format_time
from reslab.paper.engines import Engine
from reslab.paper.jobs import Job
from reslab.paper.measures import find_measure
from reslab.paper.plan import Plan
from reslab.paper.progress import PlanProgress
from reslab.paper.rates import Rate, keep_rate, kept_rate, rate_key, read_rate
from reslab.paper.scheduler import run_jobs

__all__ = ["LEAST_USEFUL", "fit_iterations", "is_enough", "measured_rates", "plan_seconds"]

LEAST_USEFUL = 200
"""Iterations of an arm below which its errors say nothing."""
_SHARE = 0.94  # of the budget that is planned; the rest is for what takes longer than it was measured to
_MEASURE_SECONDS = 1.0  # of each measure, besides the images that it looks at


def measured_rates(plan: Plan, engine: Engine, progress: bool) -> tuple[dict[str, Rate], str | None]:
    """The rate of every arm, from the user's cache or measured now, as many side by side as there will be.

    Returns:
        Rates by arm; and the signal that asked to stop meanwhile, or None.

    Raises:
        ReslabError: a training cannot start.
    """
    first = {job.arm: number for number, job in reversed(list(enumerate(plan.jobs)))}
    keys = {arm: rate_key(plan, plan.jobs[number], engine.slots) for arm, number in first.items()}
    rates = {arm: rate for arm, key in keys.items() if (rate := kept_rate(key)) is not None}
    missing, seen = [], {keys[arm] for arm in rates}
    for arm, number in first.items():
        if keys[arm] not in seen:
            seen.add(keys[arm])
            missing.append(number)
    if missing:
        # Of its own: stopped here, the experiment has no plan yet, and does not go on with one of the full length.
        plan = replace(plan, folder=plan.folder / "rates")
        plan.write()

        def target(number: int) -> Path:
            return plan.folder / f"{number:03}.json"

        with PlanProgress(plan, missing, "measuring speeds", silent=not progress) as shown:
            if (stopped := run_jobs(plan, [(number,) for number in missing], engine, shown, rate=target)) is not None:
                return {}, stopped
        for number in missing:
            keep_rate(keys[plan.jobs[number].arm], read_rate(target(number)))
    found = {}
    for arm, key in keys.items():
        rate = kept_rate(key) or _of_same_key(plan, keys, key)
        found[arm] = rate
    return found, None


def _of_same_key(plan: Plan, keys: Mapping[str, str], key: str) -> Rate:
    """Where the cache cannot be written: what was measured just now."""
    for number, job in enumerate(plan.jobs):
        path = plan.folder / f"{number:03}.json"
        if keys[job.arm] == key and path.is_file():
            return read_rate(path)
    raise ReslabError(f"the speed of {plan.experiment} could not be measured; leave --budget out.")


def plan_seconds(plan: Plan, rates: Mapping[str, Rate], slots: int) -> float:
    """How long a plan takes with so many jobs side by side, its evaluations included."""
    return makespan([_job_seconds(plan, job, rates[job.arm]) for job in plan.jobs], slots)


def makespan(seconds: Sequence[float], slots: int) -> float:
    """How long jobs take that are started in this order, each as soon as a place is free."""
    ends = [0.0] * slots
    for duration in seconds:
        heapq.heappush(ends, heapq.heappop(ends) + duration)
    return max(ends)


def _job_seconds(plan: Plan, job: Job, rate: Rate) -> float:
    splits = plan.data["splits"]
    test, train = splits["test"]["num_images"], splits["train"]["num_images"]
    recipe = job.subject.followed
    assert recipe is not None
    curve = max(1, round(recipe.iterations / int(recipe.monitoring.eval_every))) * test
    depth = parse_model(job.subject.net).depth
    evaluated, extra = float(curve + test + min(train, 10_000)), 0.0
    for measure in job.measures:
        kind = find_measure(measure.name)
        looked_at = measure.options.get("images") or kind.images or test
        evaluated += kind.passes(depth, measure.options) * min(test, looked_at)
        extra += kind.seconds + _MEASURE_SECONDS
    return rate.training_seconds(job.subject.iterations, round(evaluated)) + extra


def is_enough(
    make_plan: Callable[[int], Plan], rates: Mapping[str, Rate], slots: int, budget: float, most: int
) -> bool:
    """Whether a budget has time for enough iterations of every arm; arguments as of `fit_iterations`."""
    return plan_seconds(make_plan(min(LEAST_USEFUL, most)), rates, slots) <= budget * _SHARE


def fit_iterations(
    make_plan: Callable[[int], Plan], rates: Mapping[str, Rate], slots: int, budget: float, most: int
) -> int:
    """The number of iterations with which a plan takes the budget, and no more than the full number.

    Args:
        make_plan: of a number of iterations.
        rates: of the arms.
        slots: jobs side by side.
        budget: in seconds.
        most: iterations.

    Raises:
        ReslabError: an arm would get too few; the message says the least budget.
    """

    def seconds(iterations: int) -> float:
        return plan_seconds(make_plan(iterations), rates, slots)

    least = min(LEAST_USEFUL, most)
    if not is_enough(make_plan, rates, slots, budget, most):
        useful = format_time(seconds(least) / _SHARE * 1.05)
        raise ReslabError(
            f"--budget {format_time(budget)} gives an arm fewer than {least} iterations, which says nothing; the least "
            f"useful budget here is {useful}. Fewer networks (--depths), smaller photos (--input-size) or fewer "
            "--seeds take less."
        )
    if seconds(most) <= budget * _SHARE:
        return most
    low, high = least, most
    while high - low > max(1, low // 200):
        middle = (low + high) // 2
        low, high = (middle, high) if seconds(middle) <= budget * _SHARE else (low, middle)
    return low
