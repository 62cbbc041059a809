"""`reslab train`."""

import re
import shlex
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Annotated, Any, get_origin

import tyro

from reslab.cli.arguments import NetFlags, OptionalCount, OptionalNumber, OptionalPath, OptionalText, parse, print_json
from reslab.errors import ModelError, RecipeError
from reslab.models.zoo import with_fields
from reslab.runs import Run
from reslab.training.asked_recipe import AskedRecipe
from reslab.training.expectations import RecipeWarning
from reslab.training.recipe import Recipe
from reslab.training.recipe_files import recipe_from_dict
from reslab.training.recipe_overrides import find_field, is_field, meant_field

if TYPE_CHECKING:
    from reslab.training.loop import TrainResult

_DESCRIPTION = """Train a network, or resume a run.

  reslab train resnet20 --data digits
  reslab train resnet56 --data cifar10 --recipe cifar-paper --seed 1
  reslab train resnet20 --data photos/ --epochs 20 --data.no-flip
  reslab train resnet50 --data photos/ --recipe imagenet-90 --batch-size 64
  reslab train resnet1202 --data cifar10 --memory 2GiB      computes again what does not fit
  reslab train --resume --run-dir runs/resnet20-digits-digits-quick-seed0

The run's folder gets run.json, metrics.jsonl, checkpoints, curves.png, and weights.safetensors with its card.
Every field of the recipe is a flag: --optimizer.learning-rate 0.05, --schedule cosine, --schedule.warmup "5 epochs",
--data.images.pad 2. Ctrl-C and SIGTERM save a checkpoint first."""


_SHORT = {
    "checkpoint_every": "monitoring.checkpoint_every",
    "batch_size": "data.batch_size",
    "train_size": "data.images.train_size",
    "workers": "hardware.workers",
    "memory": "hardware.memory",
}
"""Fields of the recipe that have a short flag too."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = None
    """Name or spelling, as in resnet20 or resnet20[shortcut=C]; the run's own with --resume."""
    data: OptionalText = None
    """digits, fashion-mnist, cifar10, cifar100, or a folder of class folders; digits by default."""
    recipe: OptionalText = None
    """cifar-paper, digits-quick, fast, photos, imagenet-paper, imagenet-90, imagenet-v2, imagenet-a1, -a2, -a3, or a
    TOML file. By default digits-quick for digits, cifar-paper for other small images, and photos for photos."""
    iterations: OptionalCount = None
    """Rescale the recipe's whole schedule to so many iterations."""
    epochs: OptionalNumber = None
    """Likewise, counted in training images."""
    seed: OptionalCount = None
    """Of the initial weights, the order and the augmentation; 0 by default."""
    weights: OptionalText = None
    """Start from these weights instead of random ones: a file, its address, a released one (torchvision:V2, timm:A1),
    or hub:owner/name. A classifier for another number of classes starts afresh."""
    checkpoint_every: OptionalText = None
    """Short for --monitoring.checkpoint-every."""
    batch_size: OptionalCount = None
    """Short for --data.batch-size."""
    train_size: OptionalCount = None
    """Short for --data.images.train-size: side of the crops of photos in training."""
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


_OWN_NAMES = {item.name for form in (Arguments, NetFlags) for item in fields(form)}


def main(arguments: Sequence[str]) -> int:
    """Trains a network, or resumes a run."""
    rest, changes = _field_arguments(arguments)
    asked = parse(Arguments, rest, "train", _DESCRIPTION)
    changes |= {path: str(value) for name, path in _SHORT.items() if (value := getattr(asked, name)) is not None}
    run = Run(asked.run_dir) if asked.run_dir and asked.resume and Run(asked.run_dir).exists else None

    # What is not given is the run's own on a resume, and the default otherwise.
    record = run.record if run else {}
    model = asked.model or record.get("model")
    if model is None:
        raise ModelError("which network? `reslab train resnet20 --data digits` trains one; `reslab models` lists them.")
    data = asked.data or record.get("data_spec", "digits")
    recipe: str | Recipe | None = asked.recipe
    if run and recipe is None and asked.iterations is None and asked.epochs is None:
        recipe = recipe_from_dict(record["recipe"])
    written = AskedRecipe.of(recipe, data, asked.iterations, asked.epochs, changes)
    written.unscaled(flags=True)  # refused here, where messages can name flags, and before torch is imported
    seed = asked.seed if asked.seed is not None else record.get("seed", 0)
    weights = asked.weights or record.get("weights")
    model = with_fields(model, asked.net.overrides())

    from reslab.training.start import train

    with _said_warnings():
        result = train(
            model,
            data,
            recipe=written.recipe,
            iterations=asked.iterations,
            epochs=asked.epochs,
            fields=changes,
            seed=seed,
            run_dir=asked.run_dir or Path("runs", _run_name(model, data, written.recipe.name, seed)),
            weights=weights,
            resume=asked.resume,
            stop_after=asked.stop_after,
            test_curve=asked.test_curve or record.get("test_curve", False),
            data_dir=asked.data_dir,
            progress=not asked.quiet,
        )
    return _report(result, asked)


def _field_arguments(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """The recipe's fields among the arguments, as texts by name; and the other arguments."""
    rest: list[str] = []
    found_fields: dict[str, str] = {}
    waiting = list(arguments)
    while waiting:
        name, equals, text = (argument := waiting.pop(0)).partition("=")
        ours = name.removeprefix("--").replace("-", "_") in _OWN_NAMES
        if not name.startswith("--") or ours or not (is_field(name) or meant_field(name)):
            rest.append(argument)
            continue
        table, _, field = name.rpartition(".")
        if field.startswith(("no-", "no_")) and find_field(name) is None:
            name, equals, text = f"{table}.{field[3:]}", "=", "false"
        found = find_field(name)
        values = [text] if equals else []
        if found and found.knob.type is bool and not values:
            values = [waiting.pop(0)] if waiting and waiting[0] in found.knob.choices else ["true"]
        if not values and waiting and not waiting[0].startswith("--"):
            values = [waiting.pop(0)]
            several = found is not None and get_origin(found.knob.type) is tuple
            while several and waiting and waiting[0][:1].isdigit():
                values.append(waiting.pop(0))
        if name in found_fields:
            raise RecipeError(f"{name} is given twice.")
        if not values:
            raise RecipeError(f"{name} lacks its value.")
        found_fields[name] = ",".join(values)
    return rest, found_fields


@contextmanager
def _said_warnings() -> Iterator[None]:
    """What recipes warn of is a sentence on stderr, without the line of code that warnings come with."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *more: Any, **named: Any) -> None:
            if issubclass(category, RecipeWarning):
                print(f"reslab: {message}", file=sys.stderr)
            else:
                others(message, category, *more, **named)

        warnings.showwarning = show
        warnings.simplefilter("always", RecipeWarning)
        yield


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
