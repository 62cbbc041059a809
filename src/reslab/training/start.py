"""A training run, started or resumed: what is asked is looked up, checked, and written down before the loop begins."""

from pathlib import Path

import torch

from reslab.data.photos import PhotoData
from reslab.environment import describe_environment
from reslab.errors import CheckpointError, ModelError, RecipeError
from reslab.models import NetSpec, parse_model, spell
from reslab.runs import Run, asked_digest
from reslab.training.checkpoint import check_belonging
from reslab.training.execution import Execution, choose_execution
from reslab.training.inputs import AnyData, data_spec, load_inputs
from reslab.training.loop import Trainer, TrainResult
from reslab.training.plan import Asked, Plan
from reslab.training.recipe import Recipe
from reslab.training.recipe_files import load_recipe
from reslab.training.stopping import StopAfter, Stopped, StopRequests

__all__ = ["train"]


def train(
    model: str | NetSpec,
    data: str | Path | AnyData,
    *,
    recipe: str | Recipe = "cifar-paper",
    iterations: int | None = None,
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
        recipe: a name, the path of a TOML file, or a recipe.
        iterations: rescales the recipe's whole schedule to so many.
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
    recipe = _fitting_recipe(recipe, iterations)
    stop = StopRequests(StopAfter.parse(stop_after) if stop_after else None)
    run = Run(Path(run_dir))
    _check_start(run, seed, resume)
    images = load_inputs(data, recipe.data, data_dir, progress, test_curve)
    _check_val_images(recipe, images)
    asked = Asked(_fitting_spec(model, images), images, recipe, seed, weights, test_curve)
    chosen = None if run.exists else _choose_execution(asked)  # before a folder is made
    with run.lock() as held, stop:
        plan = _plan(asked, run, chosen, data_spec(data))
        if run.finished:
            return TrainResult(run, recipe.schedule.iterations, None, run.result())
        try:
            with torch.random.fork_rng(devices=[]), plan.execution.in_force():
                return Trainer(plan, progress=progress, asked_to_stop=stop.check).run_until(stop, held)
        except Stopped as stopped:
            return TrainResult(run, 0, str(stopped), None)


def _check_start(run: Run, seed: int, resume: bool) -> None:
    if not 0 <= seed < 2**63:
        raise CheckpointError(f"the seed must be between 0 and 2^63 - 1, not {seed}.")
    if run.exists and not resume:
        raise CheckpointError(
            f"{run.folder} holds a run already; resume it with --resume, or choose another --run-dir."
        )
    run.check_belongings()


def _fitting_recipe(recipe: str | Recipe, iterations: int | None) -> Recipe:
    recipe = load_recipe(recipe) if isinstance(recipe, str) else recipe
    if iterations is not None and iterations != recipe.schedule.iterations:
        return recipe.rescaled(iterations)
    return recipe


def _choose_execution(asked: Asked) -> Execution:
    side = asked.recipe.data.train_size
    size = (side, side) if isinstance(asked.data, PhotoData) else asked.data.image_shape[:2]
    return choose_execution(asked.recipe, asked.spec, size)


def _plan(asked: Asked, run: Run, chosen: Execution | None, data: str) -> Plan:
    """The plan of a run that is there, checked against what is asked; or of a new one, whose record is written."""
    if run.exists:
        asked.check_same(run)
        return Plan(asked, run, Execution.from_dict(run.record["execution"]))
    execution, record = chosen or _choose_execution(asked), asked.record()
    check_belonging(run.checkpoints, asked=asked_digest(record))  # where a run.json was lost
    run.start(
        {
            **record,
            "data_spec": data,
            "classes": list(asked.data.classes),
            "execution": execution.to_dict(),
            "environment": describe_environment(),
        }
    )
    return Plan(asked, run, execution)


def _check_val_images(recipe: Recipe, data: AnyData) -> None:
    needed_for = {
        "monitoring.weights=best-on-val": recipe.monitoring.weights == "best-on-val",
        "schedule.decay=plateau": recipe.schedule.decay == "plateau",
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
