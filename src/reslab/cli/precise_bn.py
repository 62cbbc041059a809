"""`reslab precise-bn`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from reslab.cli.arguments import NetFlags, OptionalCount, OptionalPath, OptionalText, parse, print_json
from reslab.cli.members import Member, MemberArguments, choose_device, find_members
from reslab.console import progress_bar
from reslab.errors import ReslabError, WeightsError
from reslab.runs import Run

_DESCRIPTION = """Batch-norm statistics of a finished run as strict averages over training images, not moving averages.

  reslab precise-bn runs/resnet20-cifar10-cifar-paper-seed0 --out resnet20-precise
  reslab precise-bn runs/resnet20-cifar10-cifar-paper-seed0 --in-place --images 50000

The authors' released models hold such statistics, computed after training. Weights stay as they are; the images are
seen as in tests, in full batches of those of the training, and every batch weighs the same. The result is a folder
that `reslab eval` takes as it takes a run's, with --data."""

_DEFAULT_IMAGES = 10_000


@dataclass(frozen=True, kw_only=True)
class Arguments:
    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of a finished run."""
    data: OptionalText = None
    """Whose train images; the run's own by default."""
    images: int = _DEFAULT_IMAGES
    """Of train, drawn at random, the same ones every time; all of them where there are fewer."""
    batch_size: OptionalCount = None
    """Images a batch; as many as in training by default."""
    out: OptionalPath = None
    """Write weights.safetensors and card.json, which says so, to this folder."""
    in_place: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Replace the run's own weights and card; the old ones are lost."""
    device: OptionalText = None
    """auto, cpu, cuda, cuda:1, mps."""
    data_dir: OptionalPath = None
    """Where named data sets are looked for first."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Measures a run's batch-norm statistics anew."""
    asked = parse(Arguments, arguments, "precise-bn", _DESCRIPTION)

    from reslab.evaluation.precise_bn import Measurement, measure_batch_norm, save_measured
    from reslab.evaluation.trained import Trained
    from reslab.models.weights import read_card

    run = Run(asked.run)
    _check(asked, run)
    batch_size = asked.batch_size or run.record["recipe"]["data"]["batch_size"]
    (member,) = find_members(
        MemberArguments(
            names=[str(asked.run)],
            weights=None,
            mean=None,
            std=None,
            net=NetFlags(),
            data=asked.data,
            split="train",
            data_dir=asked.data_dir,
            all_splits=True,
        )
    )
    if member.model.spec.norm != "batch":
        raise ReslabError(f"{asked.run} has no batch norm, and so no statistics to measure.")
    member.model.to(choose_device(asked.device))
    data, card = member.data, read_card(asked.run, verify=False)
    wanted = Measurement(
        num_images=asked.images, batch_size=batch_size, seed=card["seed"], iteration=card["iterations"]
    )
    before = _val_error(member)
    with progress_bar() as bar:
        task = bar.add_task("Measuring", total=wanted.among(len(data.split("train"))).num_images)
        done = measure_batch_norm(
            member.model, data.split("train"), member.normalization, wanted, lambda count: bar.advance(task, count)
        )
    after = _val_error(member)
    note = done.describe(data.name)
    trained = Trained(member.model, member.normalization, None, member.sha256)
    save_measured(run, asked.out or asked.run, trained, note, after)
    record = {
        "run": str(asked.run),
        "batch_norm": note,
        "num_images": done.num_images,
        "batch_size": done.batch_size,
        "val_error_before": before,
        "val_error_after": after,
        "out": str(asked.out or asked.run),
    }
    if asked.json:
        print_json(record)
        return 0
    text = f"{data.name} has no val images to compare on"
    if before is not None:
        text = f"val error {before:.2f} % before, {after:.2f} % after"
    print(f"{text}\nbatch norm: {note}\n{asked.out or asked.run}")
    return 0


def _check(asked: Arguments, run: Run) -> None:
    if not run.exists:
        raise WeightsError(f"{asked.run} is not the folder of a run.")
    if (asked.out is None) == (not asked.in_place):
        raise ReslabError("say where to write: either --out DIR, or --in-place to replace the run's own weights.")
    if asked.out is not None and asked.out.exists() and asked.out.samefile(asked.run):
        raise ReslabError(f"--out {asked.out} is the run itself; give --in-place to replace its weights.")
    if asked.batch_size is not None and asked.batch_size < 2:
        raise ReslabError(f"--batch-size must be at least 2, not {asked.batch_size}: one image has no variance.")
    if asked.images < 2:
        raise ReslabError(f"--images must be at least 2, not {asked.images}.")


def _val_error(member: Member) -> float | None:
    from reslab.evaluation import evaluate

    if "val" not in member.data.splits:
        return None
    with progress_bar() as bar:
        split = member.data.split("val")
        task = bar.add_task("Evaluating", total=len(split))
        found = evaluate(member.model, split, member.normalization, advance=lambda done: bar.advance(task, done))
    return found.top1_error
