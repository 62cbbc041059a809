"""A training run, started or resumed: what is asked is looked up, checked, and written down before the loop begins."""

import re
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from reslab.checkpoints import check_belonging, newest_checkpoint
from reslab.data import AnyData, ImageData, PhotoData, absolute_spec
from reslab.data.class_names import order_doubt, read_class_names
from reslab.data.listing import DataWarning
from reslab.environment import describe_environment
from reslab.errors import CheckpointError, DataError, ModelError, RecipeError, ReslabWarning
from reslab.models import NetSpec, parse_model, spell
from reslab.runs import Run, asked_digest
from reslab.streams import say
from reslab.training.asked_recipe import AskedRecipe
from reslab.training.execution import Execution, choose_execution
from reslab.training.expectations import RecipeWarning
from reslab.training.initial import check_initial_weights
from reslab.training.inputs import keep_normalization, load_inputs
from reslab.training.loop import Trainer
from reslab.training.numerics import NUMERICS_VERSION
from reslab.training.plan import Asked, Plan
from reslab.training.recipe import Photos, Plateau, Recipe
from reslab.training.recipe_files import recipe_from_dict
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
        weights: initial weights instead of random ones: a file, its address, `torchvision:V2` and the like, or
            `hub:owner/name`. A classifier for another number of classes starts afresh.
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
    own = _own_settings(run_dir, resume or finish)
    model = own.get("model") if model is None else model
    if model is None:
        raise ModelError("which network? `reslab train resnet20 --data digits` trains one; `reslab models` lists them.")
    data = own.get("data_spec", "digits") if data is None else data
    seed = int(own.get("seed", 0)) if seed is None else seed
    if own and recipe is None and iterations is None and epochs is None:
        recipe = recipe_from_dict(own["recipe"])
    data_spec, named = _spec_of(data), data
    if recipe is None:  # the images decide
        data = load_inputs(data, None, data_dir, progress, test_curve)
    written = AskedRecipe.of(recipe, data, iterations, epochs, fields)
    run = Run(Path(run_dir or Path("runs", _run_name(model, data_spec, written.recipe.name, seed))))
    _check_start(run, seed, resume or finish)
    weights, test_curve = weights or own.get("weights"), test_curve or own.get("test_curve", False)
    wanted = written.unscaled(flags=True).data
    if isinstance(data, ImageData) and isinstance(wanted.images, Photos):  # small ones in a folder, wanted as photos
        data = named
    images = _labelled(load_inputs(data, wanted, data_dir, progress, test_curve), classes, own.get("classes"))
    asked, doubts = _asked(model, images, written, seed, weights, test_curve)
    if not run.exists:
        for sentence in doubts:
            warnings.warn(sentence, RecipeWarning, stacklevel=2)
        if written.length and progress:
            say(f"Schedule rescaled to {describe_schedule(asked.recipe)}.")
    chosen = None
    if not run.exists:  # what can go wrong does so before a folder is made
        check_initial_weights(asked, progress=progress)
        chosen = _choose_execution(asked)
    with run.lock() as held, stop:
        origin = {"data_spec": data_spec, "recipe_asked": written.to_dict()}
        plan = _known_plan(asked, run, data_spec, accept_data) if run.exists else _new_plan(asked, run, chosen, origin)
        if run.finished:
            return TrainResult(run, asked.recipe.iterations, None, run.figures())
        try:
            with torch.random.fork_rng(devices=[]), plan.execution.in_force():
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


def _labelled(images: AnyData, classes: str | Path | Sequence[str] | None, own: Sequence[str] | None) -> AnyData:
    """The images with labels in the order that is asked for, or that the run has."""
    if images.num_classes < 2:
        raise DataError(
            f"{images.name} has a single class, {images.classes[0]!r}, of which there is nothing to learn; give a "
            "folder that has a folder for each class."
        )
    if classes is not None:
        return images.in_order(read_class_names(classes))
    if own is not None:
        return images.in_order(own) if set(own) == set(images.classes) else images  # said when it is compared
    if doubt := order_doubt(images.classes):
        warnings.warn(DataWarning(f"of {images.name}, {doubt}"), stacklevel=3)
    return images


def _own_settings(run_dir: str | Path | None, resume: bool) -> dict[str, Any]:
    """What a run that is to be gone on with was asked for."""
    if run_dir is None and resume:
        raise CheckpointError("which run? Give --run-dir, as in --resume --run-dir runs/NAME.")
    run = Run(Path(run_dir)) if run_dir is not None else None
    if run and resume and not run.exists and newest_checkpoint(run.checkpoints):
        raise CheckpointError(
            f"{run.folder} has checkpoints, and {run.record_path} is missing, which says of what; put that back."
        )
    return run.record if run and run.exists and resume else {}


def _run_name(model: str | NetSpec, *others: object) -> str:
    """A folder's name from what the run is: letters, digits, dots, dashes and equals signs."""
    *names, seed = [model if isinstance(model, str) else spell(model), *others]
    words = [re.sub(r"[^\w.=-]+", "-", Path(str(name)).name or str(name)).strip("-") for name in names]
    return "-".join([*words, f"seed{seed}"])


def _check_start(run: Run, seed: int, resume: bool) -> None:
    if not 0 <= seed < 2**63:
        raise CheckpointError(f"the seed must be between 0 and 2^63 - 1, not {seed}.")
    if run.exists and not resume:
        raise CheckpointError(
            f"{run.folder} holds a run already; resume it with --resume, or choose another --run-dir."
        )
    run.check_belongings()


def _spec_of(data: str | Path | AnyData) -> str:
    """By which data is found again."""
    return data.name if isinstance(data, ImageData | PhotoData) else absolute_spec(data)


def _asked(
    model: str | NetSpec, images: AnyData, written: AskedRecipe, seed: int, weights: str | Path | None, test_curve: bool
) -> tuple[Asked, list[str]]:
    """What is asked of the run, and what is to be said of it before it starts."""
    num_images = len(images.split("train"))
    recipe = written.fitted(num_images)
    _check_val_images(recipe, images)
    spec = _fitting_spec(model, images)
    return Asked(spec, images, recipe, seed, weights, test_curve), written.doubts(num_images, model, spec)


def _choose_execution(asked: Asked) -> Execution:
    photos = asked.recipe.data.images
    size = (photos.train_size,) * 2 if isinstance(photos, Photos) else asked.data.image_shape[:2]
    return choose_execution(asked.recipe, asked.spec, size)


def _known_plan(asked: Asked, run: Run, data_spec: str, accept_data: bool) -> Plan:
    """The plan of a run that is there, checked against what is asked."""
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
    if not run.finished and run.record.get("data_spec") != data_spec:  # the folder was moved
        run.note(data_spec=data_spec)
    return Plan(asked, run, Execution.from_dict(run.record["execution"]))


def _new_plan(asked: Asked, run: Run, chosen: Execution | None, origin: Mapping[str, Any]) -> Plan:
    """The plan of a new run, whose record is written."""
    execution, record = chosen or _choose_execution(asked), asked.record()
    check_belonging(run.checkpoints, asked=asked_digest(record))  # where a run.json was lost
    run.start(
        {
            **record,
            **origin,
            "iterations": asked.recipe.iterations,
            "numerics": NUMERICS_VERSION,
            "classes": list(asked.data.classes),
            "execution": execution.to_dict(),
            "environment": describe_environment(),
        }
    )
    return Plan(asked, run, execution)


def _check_val_images(recipe: Recipe, data: AnyData) -> None:
    needed_for = {
        "monitoring.weights=best-on-val": recipe.monitoring.weights == "best-on-val",
        "schedule.kind=plateau": isinstance(recipe.schedule, Plateau),
    }
    for name, needed in needed_for.items():
        if needed and "val" not in data.splits:
            raise RecipeError(
                f"{name} needs val images, and {data.name} has none; hold some out with --data.val-images."
            )


def _fitting_spec(model: str | NetSpec, data: AnyData) -> NetSpec:
    channels = data.image_shape[2]
    if isinstance(model, NetSpec):
        spec = model
    else:
        spec = parse_model(model, defaults={"num_classes": data.num_classes, "in_channels": channels})
    for name, ours, theirs in (
        ("classes", spec.num_classes, data.num_classes),
        ("channels", spec.in_channels, channels),
    ):
        if ours != theirs:
            raise ModelError(f"{spell(spec)} has {ours} {name}, but {data.name} has {theirs}.")
    return spec
