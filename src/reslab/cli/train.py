"""`reslab train`."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

from reslab.cli.command import Command, argument
from reslab.cli.networks import net_fields, net_flags
from reslab.cli.output import print_report
from reslab.cli.recipe_flags import recipe_flags
from reslab.errors import RecipeError
from reslab.fields import knob
from reslab.models.zoo import with_fields
from reslab.training.recipe_overrides import as_flag, with_overrides
from reslab.training.recipes import RECIPES

if TYPE_CHECKING:
    from reslab.training.result import TrainResult

_DESCRIPTION = """\
  reslab train resnet20 --data digits
  reslab train resnet56 --data cifar10 --recipe cifar-paper --seed 1
  reslab train resnet18 --data photos/ --recipe fine-tune --weights torchvision:V1
  reslab train resnet50 --data photos/ --recipe imagenet-90 --batch-size 64
  reslab train resnet1202 --data cifar10 --memory 2GiB      recomputes activations to stay within 2 GiB
  reslab train --resume --run-dir runs/resnet20-digits-digits-quick-seed0

The run's folder gets run.json, metrics.jsonl, checkpoints, curves.png, and weights.safetensors with its card. Ctrl-C
and SIGTERM save a checkpoint first; a stopped run can be resumed, used by the other commands, or ended by --finish.
Every field of the recipe is a flag (--help-all): --optimizer.learning-rate 0.05, --schedule.kind cosine,
--schedule.warmup "5 epochs", --data.images.pad 2. `reslab recipes NAME` shows them as a file."""
_SHORT = {
    "checkpoint_every": "monitoring.checkpoint_every",
    "batch_size": "data.batch_size",
    "train_size": "data.images.train_size",
    "workers": "hardware.workers",
    "memory": "hardware.memory",
    "device": "hardware.device",
}
"""Fields of the recipe that have a short flag too."""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    model: str | None = argument(
        None, "Name or spelling, as in resnet20 or resnet20[shortcut=C]; with --resume the run's own.", metavar="MODEL"
    )
    data: str | None = knob(
        None,
        "Data set: digits (the default), fashion-mnist, cifar10, cifar100, imagenet, a folder of class folders, or a "
        "table of files and labels.",
    )
    classes: Path | None = knob(None, "Text file of a folder's classes, one a line: their order is that of the labels.")
    recipe: str | None = knob(
        None,
        f"Recipe: {', '.join(RECIPES)}, or a TOML file. By default digits-quick for digits, cifar-paper for "
        "other small images, and photos for photos, scaled to their number.",
    )
    iterations: int | None = knob(None, "Length to which the recipe's whole schedule is rescaled.", least=1)
    epochs: float | None = knob(None, "Length likewise, counted in training images.", above=0)
    seed: int | None = knob(None, "Seed of the initial weights, the order and the augmentation; 0 by default.", least=0)
    weights: str | None = knob(
        None,
        "Initial weights instead of random ones: a file, its address, released ones (torchvision:V2, timm:A1), "
        "hub:owner/name, or a run's folder. A classifier for other classes starts afresh.",
    )
    batch_size: str | None = knob(None, "Images an iteration: short for --data.batch-size.", metavar="N")
    train_size: str | None = knob(
        None, "Side of the crops of photos in training: short for --data.images.train-size.", metavar="N"
    )
    workers: str | None = knob(None, "Processes that decode photos: short for --hardware.workers.", metavar="N")
    memory: str | None = knob(
        None, "Memory limit of the whole process, as in 2GiB: short for --hardware.memory.", metavar="SIZE"
    )
    device: str | None = knob(None, "Device: auto, cpu, cuda, cuda:1, mps; short for --hardware.device.")
    checkpoint_every: str | None = knob(
        None, "Distance of checkpoints, as in 500 or '1 epochs': short for --monitoring.checkpoint-every.", metavar="N"
    )
    run_dir: Path | None = knob(None, "Folder of the run; by default runs/MODEL-DATA-RECIPE-seedN.")
    resume: bool = knob(False, "Go on from the last checkpoint, to bitwise the same weights; start if there is none.")
    finish: bool = knob(
        False, "End a stopped run where it is: its last checkpoint, or the best one, becomes its weights."
    )
    stop_after: str | None = knob(
        None, "Iteration (500) or time (90s, 30m, 2h) at which to stop early, with the schedule untouched."
    )
    find_rate: bool = knob(
        False,
        "Train for 100 iterations with a rising rate instead, suggest one at which the loss falls, and draw it.",
    )
    test_curve: bool = knob(False, "Record the test error at every evaluation, as experiments do; it decides nothing.")
    track: str | None = knob(
        None,
        "Write the rows of metrics.jsonl for this program as well, into RUN/tensorboard; needs the extra `track`.",
        choices=("tensorboard",),
    )
    accept_data: bool = knob(
        False, "Go on with images that are not those the run began with, as after a damaged one was put right."
    )
    data_dir: Path | None = knob(None, "Folder where named data sets are looked for first, and downloaded to.")
    quiet: bool = knob(False, "Show no progress.")
    json: bool = knob(False, "Print the result as JSON.")
    net: Mapping[str, str] = net_flags()
    fields: Mapping[str, str] = recipe_flags()


def run(asked: Arguments) -> int:
    """Trains a network, or resumes a run."""
    changes = {**asked.fields}
    for name, path in _SHORT.items():
        if (value := getattr(asked, name)) is not None:
            changes[path] = value
    if asked.recipe in RECIPES and asked.iterations is None and asked.epochs is None:
        with_overrides(RECIPES[asked.recipe], changes, flags=True)  # refused before torch is imported
    model = with_fields(asked.model, net_fields(asked.net)) if asked.model else None
    own = {*_SHORT, "model", "net", "fields", "quiet", "json", "find_rate"}
    given = {name: value for name, value in vars(asked).items() if name not in own}
    given |= {"fields": changes, "progress": not asked.quiet}
    if asked.find_rate:
        return _find_rate(model, given, asked.json)
    from reslab.training.start import train

    return _report(train(model, **given), asked)


def _find_rate(model: str | None, given: dict[str, Any], as_json: bool) -> int:
    flags = {name: given.pop(name) for name in ("resume", "finish", "stop_after", "accept_data", "test_curve", "track")}
    for name, value in flags.items():
        if value:
            raise RecipeError(f"--find-rate is for a training that has not begun; leave out {as_flag(name)}.")
    from reslab.training.rate_test import find_rate

    return print_report(find_rate(model, **given), as_json)


def _report(result: "TrainResult", asked: Arguments) -> int:
    if result.advice:
        print(result.advice, file=sys.stderr)
    if asked.json or (result.figures and not asked.quiet):
        print_report(result, asked.json)
    # As a shell counts it for a process that a signal ended; a stop that was asked for is a success.
    stopped_by = result.stopped_by or ""
    return 128 + Signals[stopped_by] if stopped_by in Signals.__members__ else 0


COMMANDS = {"": Command(Arguments, "train a network, or resume a run", _DESCRIPTION, run)}
