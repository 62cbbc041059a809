"""A training run, started or resumed: what is asked is looked up, checked, and written down before the loop begins."""

import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from reslab.environment import describe_environment
from reslab.errors import CheckpointError, ModelError, RecipeError
from reslab.models import NetSpec, parse_model, spell
from reslab.runs import Run
from reslab.training.asked_recipe import AskedRecipe
from reslab.training.execution import Execution, choose_execution
from reslab.training.expectations import RecipeWarning
from reslab.training.inputs import AnyData, data_spec, load_inputs
from reslab.training.loop import Trainer, TrainResult
from reslab.training.recipe import Photos, Plateau, Recipe
from reslab.training.recipe_files import recipe_from_dict
from reslab.training.schedule import describe_schedule
from reslab.training.stopping import StopAfter, Stopped, StopRequests

__all__ = ["train"]


def train(
    model: str | NetSpec,
    data: str | Path | AnyData,
    *,
    recipe: str | Recipe | None = None,
    iterations: int | None = None,
    epochs: float | None = None,
    fields: Mapping[str, str] | None = None,
    seed: int = 0,
    run_dir: str | Path,
    weights: str | Path | None = None,
    resume: bool = False,
    stop_after: str | None = None,
    test_curve: bool = False,
    data_dir: Path | None = None,
    progress: bool = False,
) -> TrainResult:
    """Trains a network and leaves a run folder with its record, metrics, checkpoints, weights and curves.

    The same arguments give bitwise the same weights on the same machine and versions, however often the run is
    interrupted and resumed.

    Args:
        model: a spelling, whose classes and channels are the data's unless it states them, or a description.
        data: as in `load_data`, or a data set; for a recipe for photos, a folder of class folders.
        recipe: a name, the path of a TOML file, or a recipe; by default `default_recipe`'s for the data.
        iterations: rescales the recipe's whole schedule to so many.
        epochs: likewise, counted in training images; give one of both.
        fields: of the recipe that differ, as texts: `{"optimizer.learning_rate": "0.05"}`. Lengths among them are those
            of the rescaled schedule.
        seed: of the initial weights, the order and the augmentation.
        run_dir: the run's folder.
        weights: initial weights instead of random ones: a file, its address, `torchvision:V2` and the like, or
            `hub:owner/name`. A classifier for another number of classes starts afresh.
        resume: go on from the run's last checkpoint; starts the run if there is none.
        stop_after: iteration (`500`) or time (`30m`) at which to stop early, with the schedule untouched.
        test_curve: record the test error at every evaluation. For experiments: no decision depends on it.
        data_dir: where named data sets are looked for first.
        progress: whether to show progress on stderr.

    Raises:
        ReslabError: a bad argument, a run that cannot be resumed so, or a loss that is not finite.
    """
    written = AskedRecipe.of(recipe, data, iterations, epochs, fields)
    unscaled = written.unscaled()
    if not 0 <= seed < 2**63:
        raise CheckpointError(f"the seed must be between 0 and 2^63 - 1, not {seed}.")
    stop = StopRequests(StopAfter.parse(stop_after) if stop_after else None)
    run = Run(Path(run_dir))
    if run.exists and not resume:
        raise CheckpointError(
            f"{run.folder} holds a run already; resume it with --resume, or choose another --run-dir."
        )

    images = load_inputs(data, unscaled.data, data_dir, progress)
    num_images = len(images.split("train"))
    recipe = written.fitted(num_images)
    _check_val_images(recipe, images)
    spec = _fitting_spec(model, images)
    if not run.exists:
        for sentence in written.doubts(num_images, model, spec):
            warnings.warn(sentence, RecipeWarning, stacklevel=2)
        if written.length and progress:
            print(f"Schedule rescaled to {describe_schedule(recipe)}.", file=sys.stderr)
    asked = {
        "model": spell(spec),
        "net": spec.to_dict(),
        "data": images.describe(),
        "recipe": recipe.to_dict(),
        "seed": seed,
        "weights": str(weights) if weights else None,
        "test_curve": test_curve,
    }
    photos = recipe.data.images
    size = (photos.train_size,) * 2 if isinstance(photos, Photos) else images.image_shape[:2]
    chosen = None if run.exists else choose_execution(recipe, spec, size)  # before a folder is made
    with run.lock(), stop:
        if run.exists:
            _check_same(asked, run)
            execution = Execution.from_dict(run.record["execution"])
        else:
            execution = chosen or choose_execution(recipe, spec, size)
            run.start(
                {
                    **asked,
                    "data_spec": data_spec(data),
                    "recipe_asked": written.to_dict(),
                    "classes": list(images.classes),
                    "execution": execution.to_dict(),
                    "environment": describe_environment(),
                }
            )
        if run.finished:
            return TrainResult(run, recipe.iterations, None, run.result())
        try:
            with torch.random.fork_rng(devices=[]), execution.in_force():
                trainer = Trainer(run, spec, images, recipe, seed, execution, weights, test_curve, progress, stop.check)
                return trainer.run_until(stop)
        except Stopped as stopped:
            return TrainResult(run, 0, str(stopped), None)


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


def _check_same(asked: dict[str, Any], run: Run) -> None:
    """Refuses to resume a run as another one."""
    for name, value in asked.items():
        recorded = run.record.get(name)
        if name == "recipe":
            recorded = recipe_from_dict(recorded or {}).to_dict()
            recorded["hardware"]["workers"] = value["hardware"]["workers"]  # which changes nothing
        if name == "net":  # written before some fields were there, it means their defaults
            recorded = NetSpec.from_dict(recorded).to_dict()
        if value != recorded:
            difference = _first_difference(name, value, recorded)
            raise CheckpointError(f"{run.folder} cannot be resumed so: {difference}. Start another run for that.")


def _first_difference(name: str, asked: Any, recorded: Any) -> str:
    if isinstance(asked, dict) and isinstance(recorded, dict):
        for key in [*asked, *recorded]:
            if asked.get(key) != recorded.get(key):
                return _first_difference(f"{name}.{key}", asked.get(key), recorded.get(key))
    return f"{name} is {recorded!r} in the run and {asked!r} now"
