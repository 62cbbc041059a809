"""A training run, started or resumed: what is asked is looked up, checked, and written down before the loop begins."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from reslab.checkpoints import newest_checkpoint
from reslab.data import AnyData
from reslab.errors import CheckpointError, ReslabWarning
from reslab.files.reading import reading
from reslab.files.shapes import check_shape
from reslab.models import NetSpec
from reslab.models.devices import own_random_numbers
from reslab.runs import Run
from reslab.streams import say
from reslab.training.execution import EXECUTION, Execution
from reslab.training.expectations import RecipeWarning
from reslab.training.initial import check_initial_weights
from reslab.training.inputs import keep_normalization
from reslab.training.loop import Trainer
from reslab.training.plan import Plan
from reslab.training.preparation import Prepared, Wanted, choose_asked_execution, new_plan, prepare
from reslab.training.recipe import Recipe
from reslab.training.result import TrainResult
from reslab.training.schedule import describe_schedule
from reslab.training.stopping import StopAfter, Stopped, StopRequests
from reslab.training.tracking import TRACKERS, Tracker, check_tracker

__all__ = ["train"]


def train(
    model: str | NetSpec | None = None,
    data: str | Path | AnyData | None = None,
    *,
    classes: str | Path | Sequence[str] | None = None,
    recipe: str | Recipe | None = None,
    iterations: int | None = None,
    epochs: float | None = None,
    fields: Mapping[str, str] | None = None,
    seed: int | None = None,
    run_dir: str | Path | None = None,
    weights: str | Path | None = None,
    resume: bool = False,
    finish: bool = False,
    stop_after: str | None = None,
    test_curve: bool = False,
    track: str | None = None,
    accept_data: bool = False,
    data_dir: Path | None = None,
    progress: bool = False,
) -> TrainResult:  # a run has as many settings, and each has its line of documentation
    """Trains a network and leaves a run folder with its record, metrics, checkpoints, weights and curves.

    The same arguments give bitwise the same weights on the same machine and versions, however often the run is
    interrupted and resumed.

    Args:
        model: a spelling, whose classes and channels are the data's unless it states them, or a description. What is
            not given is the run's own on a resume.
        data: as in `load_data`, or a data set; for a recipe for photos, a folder of class folders; digits by default.
        classes: the names of the data's classes in the order of their labels, or a text file with one a line; by
            default that of their text, and on a resume the run's.
        recipe: a name, the path of a TOML file, or a recipe; by default `default_recipe`'s for the data.
        iterations: rescales the recipe's whole schedule to so many.
        epochs: likewise, counted in training images; give one of both.
        fields: of the recipe that differ, as texts: `{"optimizer.learning_rate": "0.05"}`. Lengths among them are those
            of the rescaled schedule.
        seed: of the initial weights, the order and the augmentation; 0 by default.
        run_dir: the run's folder; runs/MODEL-DATA-RECIPE-seedN by default.
        weights: initial weights instead of random ones: a file, its address, `torchvision:V2` and the like,
            `hub:owner/name`, or the folder of a run. A classifier for other classes starts afresh.
        resume: go on from the run's last checkpoint; starts the run if there is none.
        finish: end a stopped run where it is: its last checkpoint, or the best one, becomes its weights.
        stop_after: iteration (`500`) or time (`30m`) at which to stop early, with the schedule untouched.
        test_curve: record the test error at every evaluation. For experiments: no decision depends on it.
        track: `tensorboard` writes the rows of metrics.jsonl as its scalars, too, into the run's folder; a resume goes
            on with it.
        accept_data: go on with images that are not those the run began with, as after a damaged one was put right.
            Run.json lists it; the run's weights are then no longer those that the same arguments give.
        data_dir: where named data sets are looked for first.
        progress: whether to show progress on stderr.

    Raises:
        ReslabError: a bad argument, a run that cannot be resumed so, or a loss that is not finite.
    """
    stop = StopRequests(StopAfter.parse(stop_after) if stop_after else None)
    if track is not None:
        check_tracker(track)
    ready = prepare(
        Wanted(model, data, classes, recipe, iterations, epochs, fields or {}, seed, weights, test_curve),
        run_dir,
        known=resume or finish,
        data_dir=data_dir,
        progress=progress,
    )
    run, asked = ready.run, ready.asked
    chosen = None
    if not run.exists:  # what can go wrong does so before a folder is made
        for sentence in ready.doubts:
            warnings.warn(sentence, RecipeWarning, stacklevel=2)
        if ready.written.length and progress:
            say(f"Schedule rescaled to {describe_schedule(asked.recipe)}.")
        check_initial_weights(asked, progress=progress)
        chosen = choose_asked_execution(asked)
    with run.lock() as held, stop:
        plan = _known_plan(ready, accept_data) if run.exists else new_plan(ready, run, chosen)
        if run.finished:
            figures = run.figures()
            return TrainResult(run, figures.get("stopped_at", asked.recipe.iterations), None, figures)
        try:
            with own_random_numbers(plan.execution.device), plan.execution.in_force():
                tracker = _tracker(run, track)
                trainer = Trainer(plan, progress=progress, asked_to_stop=stop.check, tracker=tracker)
                return trainer.finish_early(held) if finish else trainer.run_until(stop, held)
        except Stopped as stopped:
            return TrainResult(run, 0, str(stopped), None)


def _tracker(run: Run, track: str | None) -> Tracker:
    """What is asked for now, or what the run had before; it is noted in the run."""
    if track is not None and run.record.get("track") != track:
        run.note(track=track)
    return Tracker(run.folder / track if (track := run.record.get("track")) in TRACKERS else None)


def _known_plan(ready: Prepared, accept_data: bool) -> Plan:
    """The plan of a run that is there, checked against what is asked."""
    asked, run = ready.asked, ready.run
    if asked.check_same(run, accept_data=accept_data):
        keep_normalization(run)
        newest = newest_checkpoint(run.checkpoints)
        accepted = {"after": newest.name if newest else None, "data": asked.data.describe()}
        run.note(accepted_data=[*run.record.get("accepted_data", []), accepted])
        warnings.warn(
            f"{run.folder} goes on with other images than it began with, which run.json says now; its weights will not "
            "be those that the same command gives from the start.",
            ReslabWarning,
            stacklevel=3,
        )
    if not run.finished and run.record.get("data_spec") != ready.data_spec:  # the folder was moved
        run.note(data_spec=ready.data_spec)
    execution = run.record["execution"]
    check_shape(run.record_path, execution, EXECUTION, CheckpointError, at="execution")
    with reading(run.record_path, CheckpointError):
        return Plan(asked, run, Execution.from_dict(execution))
