"""A job, done: its training goes on to its end, and its measures are taken and kept."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

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

__all__ = ["do_job"]


def do_job(plan: Plan, job: Job) -> bool:
    """Trains, where the job has a training, and takes the measures that are missing.

    Returns:
        Whether it is done; otherwise it was asked to stop, and what there is is saved.

    Raises:
        ReslabError: the training or a measure failed.
    """
    run = Run(plan.store / job.folder) if job.folder else None
    if run is not None and not run.finished:
        subject = job.subject
        assert subject.recipe is not None
        ended = train(
            parse_model(subject.net),
            subject.data,
            recipe=recipe_from_dict(dict(subject.recipe)),
            seed=subject.seed,
            run_dir=run.folder,
            resume=True,
            test_curve=True,
            data_dir=Path(subject.data_dir) if subject.data_dir else None,
        )
        if ended.stopped_by is not None:
            return False
    measured = MeasuredNetwork(job, run)
    missing = [measure for measure in job.measures if not measure_path(plan.store, measure, job).is_file()]
    with StopRequests(None) as stop, _threads(plan.threads):
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
def _threads(count: int) -> Iterator[None]:
    """As many threads as the plan's trainings have: sums are the same on every engine."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
