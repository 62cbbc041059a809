"""`reslab train`."""

import argparse
import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Annotated, Self

import tyro

from reslab.cli.arguments import NetFlags, OptionalCount, OptionalPath, OptionalText, parse, print_json
from reslab.errors import ModelError
from reslab.models.zoo import with_fields
from reslab.runs import Run
from reslab.training.recipe import (
    DataRecipe,
    HardwareRecipe,
    MonitoringRecipe,
    OptimizerRecipe,
    Recipe,
    RegularizationRecipe,
    ScheduleRecipe,
)
from reslab.training.recipe_files import load_recipe, recipe_from_dict

if TYPE_CHECKING:
    from reslab.training.loop import TrainResult

_DESCRIPTION = """Train a network, or resume a run.

  reslab train resnet20 --data digits
  reslab train resnet56 --data cifar10 --recipe cifar-paper --seed 1
  reslab train resnet20 --data photos/ --iterations 2000 --data.no-flip
  reslab train resnet50 --data photos/ --recipe imagenet-90 --batch-size 64
  reslab train resnet1202 --data cifar10 --memory 2GiB      computes again what does not fit
  reslab train --resume --run-dir runs/resnet20-digits-digits-quick-seed0

The run's folder gets run.json, metrics.jsonl, checkpoints, curves.png, and weights.safetensors with its card.
Ctrl-C and SIGTERM save a checkpoint first. The values shown below are those of the recipe."""


_SHORT = (
    ("monitoring", "checkpoint_every"),
    ("data", "batch_size"),
    ("data", "train_size"),
    ("hardware", "workers"),
    ("hardware", "memory"),
)
"""Fields of the recipe that have a short flag too, by table."""


@dataclass(frozen=True, kw_only=True)
class RecipeFields:
    """Fields of the recipe."""

    optimizer: OptimizerRecipe = field(default_factory=OptimizerRecipe)
    schedule: ScheduleRecipe = field(default_factory=ScheduleRecipe)
    data: DataRecipe = field(default_factory=DataRecipe)
    regularization: RegularizationRecipe = field(default_factory=RegularizationRecipe)
    hardware: HardwareRecipe = field(default_factory=HardwareRecipe)
    monitoring: MonitoringRecipe = field(default_factory=MonitoringRecipe)

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """A recipe's fields."""
        return cls(**{item.name: getattr(recipe, item.name) for item in fields(cls)})

    def onto(self, recipe: Recipe) -> Recipe:
        """The recipe with these fields."""
        return replace(recipe, **{item.name: getattr(self, item.name) for item in fields(self)})


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = None
    """Name or spelling, as in resnet20 or resnet20[shortcut=C]; the run's own with --resume."""
    data: OptionalText = None
    """digits, fashion-mnist, cifar10, cifar100, or a folder of class folders; digits by default."""
    recipe: OptionalText = None
    """cifar-paper, digits-quick, fast; for photos imagenet-paper, imagenet-90, imagenet-v2, imagenet-a1, -a2, -a3; or a
    TOML file. digits-quick for digits and cifar-paper otherwise by default."""
    iterations: OptionalCount = None
    """Rescale the recipe's whole schedule to so many iterations."""
    seed: OptionalCount = None
    """Of the initial weights, the order and the augmentation; 0 by default."""
    weights: OptionalText = None
    """Start from these weights instead of random ones: a file, its address, a released one (torchvision:V2, timm:A1),
    or hub:owner/name. A classifier for another number of classes starts afresh."""
    checkpoint_every: OptionalCount = None
    """Short for --monitoring.checkpoint-every."""
    batch_size: OptionalCount = None
    """Short for --data.batch-size."""
    train_size: OptionalCount = None
    """Short for --data.train-size: side of the crops of photos in training."""
    workers: OptionalCount = None
    """Short for --hardware.workers: processes that decode photos."""
    memory: OptionalText = None
    """Short for --hardware.memory: a limit for the whole process, as in 2GiB."""
    run_dir: OptionalPath = None
    """The run's folder; runs/MODEL-DATA-RECIPE-seedN by default."""
    resume: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Go on from the last checkpoint, to bitwise the same weights; start the run if there is none."""
    stop_after: OptionalText = None
    """Stop early at an iteration (500) or after a time (90s, 30m, 2h), with the schedule untouched."""
    test_curve: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Record the test error at every evaluation, as experiments do; no decision depends on it."""
    data_dir: OptionalPath = None
    """Where named data sets are looked for first, and downloaded to."""
    quiet: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Show no progress."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print the result as JSON."""
    net: Annotated[NetFlags, tyro.conf.arg(name="")] = field(default_factory=NetFlags)
    fields: Annotated[RecipeFields, tyro.conf.arg(name="")] = field(default_factory=RecipeFields)


def main(arguments: Sequence[str]) -> int:
    """Trains a network, or resumes a run."""
    early = _early_arguments(arguments)
    run = Run(early.run_dir) if early.run_dir and early.resume and Run(early.run_dir).exists else None
    recipe = _base_recipe(early, run)
    asked = parse(Arguments, _long_names(arguments), "train", _DESCRIPTION, Arguments(fields=RecipeFields.of(recipe)))
    recipe = asked.fields.onto(recipe)

    # What is not given is the run's own on a resume, and the default otherwise.
    record = run.record if run else {}
    model = asked.model or record.get("model")
    if model is None:
        raise ModelError("which network? `reslab train resnet20 --data digits` trains one; `reslab models` lists them.")
    data = asked.data or record.get("data_spec", "digits")
    seed = asked.seed if asked.seed is not None else record.get("seed", 0)
    weights = asked.weights or record.get("weights")
    model = with_fields(model, asked.net.overrides())
    folder = asked.run_dir or Path("runs", _run_name(model, data, recipe.name, seed))

    if early.iterations is not None and not run and not asked.quiet:
        schedule = recipe.schedule
        drops = ", ".join(f"{milestone:,}" for milestone in schedule.milestones) or "never"
        rate = {
            "steps": f"the rate drops at: {drops}",
            "plateau": "the rate drops when the val error does not",
        }.get(schedule.decay, f"the rate falls to 0 ({schedule.decay})")
        print(f"Schedule rescaled to {schedule.iterations:,} iterations; {rate}.", file=sys.stderr)

    from reslab.training.start import train

    result = train(
        model,
        data,
        recipe=recipe,
        seed=seed,
        run_dir=folder,
        weights=weights,
        resume=asked.resume,
        stop_after=asked.stop_after,
        test_curve=asked.test_curve or record.get("test_curve", False),
        data_dir=asked.data_dir,
        progress=not asked.quiet,
    )
    return _report(result, asked)


def _long_names(arguments: Sequence[str]) -> list[str]:
    """The arguments with the recipe's own names for short flags, so that all fields are checked together."""
    long = {f"--{name.replace('_', '-')}": f"--{table}.{name.replace('_', '-')}" for table, name in _SHORT}
    found = []
    for argument in arguments:
        flag, equals, value = argument.partition("=")
        found.append(f"{long.get(flag.replace('_', '-'), flag)}{equals}{value}")
    return found


def _early_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The few arguments that decide which values the others have by default."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--recipe", "--data"):
        parser.add_argument(name)
    for name in ("--run-dir", "--run_dir"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--resume", action="store_true")
    try:
        return parser.parse_known_args(list(arguments))[0]
    except argparse.ArgumentError:  # a missing or wrong value: the full parser will say so better
        return parser.parse_args([])


def _base_recipe(early: argparse.Namespace, run: Run | None) -> Recipe:
    if run and early.recipe is None and early.iterations is None:
        return recipe_from_dict(run.record["recipe"])
    default = "digits-quick" if (early.data or "digits") == "digits" else "cifar-paper"
    recipe = load_recipe(early.recipe or default)
    return recipe if early.iterations is None else recipe.rescaled(early.iterations)


def _run_name(*parts: object) -> str:
    """A folder's name from what the run is: letters, digits, dots, dashes and equals signs."""
    *names, seed = parts
    words = [re.sub(r"[^\w.=-]+", "-", Path(str(name)).name or str(name)).strip("-") for name in names]
    return "-".join([*words, f"seed{seed}"])


def _report(result: "TrainResult", asked: Arguments) -> int:
    folder = result.run.folder
    if result.result is None:
        print(
            f"Stopped by {result.stopped_by} at iteration {result.iteration}, and saved; go on with: "
            f"reslab train --resume --run-dir {shlex.quote(str(folder))}",
            file=sys.stderr,
        )
        # As a shell counts it for a process that a signal ended; a stop that was asked for is a success.
        stopped_by = result.stopped_by or ""
        return 128 + Signals[stopped_by] if stopped_by in Signals.__members__ else 0
    if asked.json:
        print_json({"run": str(folder), **result.result})
    elif not asked.quiet:
        errors = [
            f"{words} {result.result[name]:.2f} %"
            for name, words in _ERRORS.items()
            if result.result.get(name) is not None
        ]
        print(f"{', '.join(errors)}\n{folder}")
    return 0


_ERRORS = {
    "train_error": "training error",
    "train_error_clean": "not augmented, in eval mode",
    "val_error": "val error",
    "test_error": "test error",
}
