"""A job, done: its training goes on to its end, and its measures are taken and kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from reslab.models import parse_model
from reslab.paper.catalogue import Measure
from reslab.paper.jobs import Job
from reslab.paper.measurements import measure_path, write_measure
from reslab.paper.measures import find_measure
from reslab.paper.plan import Plan
from reslab.paper.subjects import MeasuredNetwork
from reslab.runs import Run
from reslab.training import train
from reslab.training.recipe_files import recipe_from_dict
from reslab.training.stopping import StopRequests

__all__ = ["do_job", "limited_threads"]

_ASK_SECONDS = 0.5  # between two looks whether something asked to stop, while another process does the job


def do_job(plan: Plan, job: Job) -> bool:
    """Trains, where the job has a training, and takes the measures that are missing.

    Another experiment of the same store may need the same training: whoever comes second waits, and finds it done.

    Returns:
        Whether it is done; otherwise it was asked to stop, and what there is is saved.

    Raises:
        ReslabError: the training or a measure failed.
    """
    with _alone(plan, job) as held:
        return held and _train(plan, job) and _measure(plan, job)


@contextmanager
def _alone(plan: Plan, job: Job) -> Iterator[bool]:
    """Held while no other process may do the job; False where something asked to stop before it was free."""
    if not job.folder:
        yield True
        return
    folder = plan.store / ".locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"{job.subject.key[:32]}.lock")
    with StopRequests(None) as stop:
        while not lock.is_locked:
            try:
                lock.acquire(timeout=_ASK_SECONDS)
            except Timeout:
                if stop.reason(0) is not None:
                    yield False
                    return
    try:
        yield True
    finally:
        lock.release()


def _train(plan: Plan, job: Job) -> bool:
    """Takes the training to its end, if there is one; False where it was asked to stop."""
    subject = job.subject
    if not job.folder or Run(plan.store / job.folder).finished:
        return True
    assert subject.recipe is not None
    ended = train(
        parse_model(subject.net),
        subject.data,
        recipe=recipe_from_dict(dict(subject.recipe)),
        seed=subject.seed,
        run_dir=plan.store / job.folder,
        resume=True,
        test_curve=True,
        data_dir=Path(subject.data_dir) if subject.data_dir else None,
    )
    return ended.stopped_by is None


def _measure(plan: Plan, job: Job) -> bool:
    """Takes the measures that are missing; False where it was asked to stop."""
    measured = MeasuredNetwork(job, Run(plan.store / job.folder) if job.folder else None)
    missing = [measure for measure in job.measures if not measure_path(plan.store, measure, job).is_file()]
    with StopRequests(None) as stop, limited_threads(plan.threads):
        for measure in missing:
            if stop.reason(0) is not None:
                return False
            _take(plan, job, measure, measured)
    return True


def _take(plan: Plan, job: Job, measure: Measure, measured: MeasuredNetwork) -> None:
    options = {**measure.options, **job.options}
    found = find_measure(measure.name).function(measured, **options)
    write_measure(plan.store, measure, job, found)


@contextmanager
def limited_threads(count: int) -> Iterator[None]:
    """As many threads as the plan's trainings have: sums are the same on every engine."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
