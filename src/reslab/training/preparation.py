"""What a training is asked for, looked up and checked: network, images, recipe, and the run's folder."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reslab.checkpoints import check_belonging, newest_checkpoint
from reslab.data import AnyData, ImageData, PhotoData, absolute_spec
from reslab.data.class_names import order_doubt, read_class_names
from reslab.data.held_out import HeldOut
from reslab.data.listing import DataWarning
from reslab.environment import describe_environment
from reslab.errors import CheckpointError, DataError, ModelError, RecipeError
from reslab.files.reading import naming
from reslab.models import NetSpec, parse_model, spell
from reslab.runs import Run, asked_digest
from reslab.tasks import find_task
from reslab.training.asked_recipe import AskedRecipe
from reslab.training.execution import Execution, choose_execution
from reslab.training.initial import find_beginning
from reslab.training.inputs import keep_initial_normalization, load_inputs
from reslab.training.numerics import NUMERICS_VERSION
from reslab.training.plan import Asked, Plan
from reslab.training.recipe import Photos, Plateau, Recipe
from reslab.training.recipe_files import recipe_from_dict

__all__ = ["Prepared", "Wanted", "choose_asked_execution", "new_plan", "prepare"]


@dataclass(frozen=True)
class Wanted:
    """What `train` was given, of what decides the run; None is the run's own on a resume, or the usual."""

    model: str | NetSpec | None = None
    data: str | Path | AnyData | None = None
    classes: str | Path | Sequence[str] | None = None
    recipe: str | Recipe | None = None
    iterations: int | None = None
    epochs: float | None = None
    fields: Mapping[str, str] | None = None
    seed: int | None = None
    weights: str | Path | None = None
    test_curve: bool = False


@dataclass(frozen=True, eq=False)
class Prepared:
    """What is asked, looked up.

    Args:
        asked: of the run.
        run: its folder, which may not be there yet.
        written: the recipe as it was asked for.
        data_spec: by which the data are found again.
        held_out: which training images became val.
        doubts: sentences to be said before it starts.
    """

    asked: Asked
    run: Run
    written: AskedRecipe
    data_spec: str
    held_out: HeldOut
    doubts: list[str]


def prepare(
    wanted: Wanted, run_dir: str | Path | None, *, known: bool = False, data_dir: Path | None = None, progress: bool
) -> Prepared:
    """Looks up what a training is asked for; nothing is written.

    Args:
        wanted: of the training.
        run_dir: the run's folder; runs/MODEL-DATA-RECIPE-seedN by default.
        known: whether a run that is there is gone on with.
        data_dir: where named data sets are looked for first.
        progress: whether to show progress on stderr.

    Raises:
        ReslabError: a bad argument, or a run that is there and not to be gone on with.
    """
    own = _own_settings(run_dir, known)
    model = own.get("model") if wanted.model is None else wanted.model
    if model is None:
        raise ModelError("which network? `reslab train resnet20 --data digits` trains one; `reslab models` lists them.")
    data = own.get("data_spec", "digits") if wanted.data is None else wanted.data
    seed = int(own.get("seed", 0)) if wanted.seed is None else wanted.seed
    recipe = wanted.recipe
    decided = bool(own) and recipe is None and wanted.iterations is None and wanted.epochs is None
    if decided:
        with naming(Run(Path(str(run_dir))).record_path, CheckpointError):
            recipe = recipe_from_dict(own["recipe"])
    data_spec, named = _spec_of(data), data
    test_curve = wanted.test_curve or own.get("test_curve", False)
    if recipe is None:  # the images decide
        data, _ = load_inputs(data, None, data_dir, progress, test_curve)
    written = AskedRecipe.of(recipe, data, wanted.iterations, wanted.epochs, wanted.fields)
    run = Run(Path(run_dir or Path("runs", _run_name(model, data_spec, written.recipe.name, seed))))
    _check_start(run, seed, known)
    weights = wanted.weights or own.get("weights")
    if not decided:
        written = replace(written, beginning=find_beginning(model, weights))
    within = written.unscaled(flags=True).data
    if isinstance(data, ImageData) and isinstance(within.images, Photos):  # small ones in a folder, wanted as photos
        data = named
    images, held_out = load_inputs(data, within, data_dir, progress, test_curve, _known_parts(own))
    images = _labelled(images, wanted.classes, own.get("classes"))
    asked, doubts = _asked(model, images, written, seed, weights, test_curve)
    return Prepared(asked, run, written, data_spec, held_out, doubts)


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


def _known_parts(own: Mapping[str, Any]) -> HeldOut | None:
    """What a run that is gone on with has held out; None for a new one, or one that did not write it down."""
    return HeldOut.read(dict(own)) if "val_images" in own else None


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
    find_task(images.task).check(recipe.regularization, recipe.data.sampling)
    _check_val_images(recipe, images)
    spec = _fitting_spec(model, images)
    asked = Asked(spec, images, recipe, seed, weights, test_curve, written.beginning)
    return asked, written.doubts(num_images, model, spec)


def choose_asked_execution(asked: Asked) -> Execution:
    """How what is asked is computed on this machine."""
    photos = asked.recipe.data.images
    size = (photos.train_size,) * 2 if isinstance(photos, Photos) else asked.data.image_shape[:2]
    return choose_execution(asked.recipe, asked.spec, size)


def new_plan(ready: Prepared, run: Run, chosen: Execution | None = None) -> Plan:
    """The plan of a new run, whose record is written.

    Args:
        ready: what is asked.
        run: its folder, which this process may write to.
        chosen: how it is computed; decided here by default.

    Raises:
        ReslabError: the folder has checkpoints of another run, or this machine cannot compute it as asked.
    """
    asked = ready.asked
    execution, record = chosen or choose_asked_execution(asked), asked.record()
    check_belonging(run.checkpoints, asked=asked_digest(record))  # where a run.json was lost
    if asked.recipe.data.normalization == "weights":
        keep_initial_normalization(asked, run)
    run.start(
        {
            **record,
            "data_spec": ready.data_spec,
            "recipe_asked": ready.written.to_dict(),
            **ready.held_out.to_dict(),
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
        "monitoring.patience": recipe.monitoring.patience > 0,
    }
    for name, needed in needed_for.items():
        if needed and "val" not in data.splits:
            raise RecipeError(
                f"{name} needs val images, and {data.name} has none; hold some out with --data.val-share 0.2."
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
