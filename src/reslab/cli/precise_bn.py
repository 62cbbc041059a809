"""`reslab precise-bn`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from reslab.cli.arguments import NetFlags, OptionalCount, OptionalPath, OptionalText, parse, print_json
from reslab.cli.members import Member, MemberArguments, choose_device, find_members
from reslab.console import progress_bar
from reslab.errors import DataError, ReslabError, WeightsError
from reslab.runs import Run
from reslab.training.recipe_files import recipe_from_dict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

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
    run = Run(asked.run)
    if not run.exists:
        raise WeightsError(f"{asked.run} is not the folder of a run.")
    if (asked.out is None) == (not asked.in_place):
        raise ReslabError("say where to write: either --out DIR, or --in-place to replace the run's own weights.")
    if asked.out is not None and asked.out.exists() and asked.out.samefile(asked.run):
        raise ReslabError(f"--out {asked.out} is the run itself; give --in-place to replace its weights.")
    batch_size = asked.batch_size or recipe_from_dict(run.record["recipe"]).data.batch_size
    if asked.batch_size is not None and asked.batch_size < 2:
        raise ReslabError(f"--batch-size must be at least 2, not {asked.batch_size}: one image has no variance.")
    if asked.images < 2:
        raise ReslabError(f"--images must be at least 2, not {asked.images}.")
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
    data = member.data
    num_images = min(asked.images, len(data.split("train")))
    batch_size = min(batch_size, num_images)
    num_images = num_images // batch_size * batch_size  # full batches, which weigh the same

    has_val = "val" in data.splits
    before = _val_error(member) if has_val else None
    _measure(member, num_images, batch_size)
    after = _val_error(member) if has_val else None
    note = (
        f"strict averages over {num_images:,} train images of {data.name} in batches of {batch_size}, measured after "
        "training (precise-bn)"
    )
    folder = asked.out or asked.run
    with run.lock():
        _write(asked.run, folder, member, note, after)
    record = {
        "run": str(asked.run),
        "batch_norm": note,
        "num_images": num_images,
        "batch_size": batch_size,
        "val_error_before": before,
        "val_error_after": after,
        "out": str(folder),
    }
    if asked.json:
        print_json(record)
        return 0
    if has_val:
        print(f"val error {before:.2f} % before, {after:.2f} % after")
    else:
        print(f"{data.name} has no val images to compare on")
    print(f"batch norm: {note}")
    print(folder)
    return 0


def _val_error(member: Member) -> float:
    from reslab.evaluation import evaluate

    with progress_bar() as bar:
        split = member.data.split("val")
        task = bar.add_task("Evaluating", total=len(split))
        found = evaluate(member.model, split, member.normalization, advance=lambda done: bar.advance(task, done))
    return found.top1_error


def _measure(member: Member, num_images: int, batch_size: int) -> None:
    import numpy as np
    import torch

    from reslab.data.batches import evaluation_batches
    from reslab.evaluation import precise_batch_norm

    train, device = member.data.split("train"), next(member.model.parameters()).device
    # Images of every class, since a folder's come class by class.
    chosen = np.random.default_rng(0).permutation(len(train))[:num_images]
    sample = train.subset(chosen.astype(np.int64))
    torch.manual_seed(0)  # of dropout and stochastic depth, which statistics of training see
    with progress_bar() as bar:
        task = bar.add_task("Measuring", total=num_images)

        def batches() -> "Iterator[Tensor]":
            for images, _ in evaluation_batches(sample, member.normalization, batch_size):
                yield images.to(device)
                bar.advance(task, len(images))

        precise_batch_norm(member.model, batches())


def _write(run: Path, folder: Path, member: Member, note: str, val_error: float | None) -> None:
    """Weights and card, which is the run's with a line on the statistics, and without errors that no longer hold."""
    from safetensors.numpy import save_file

    from reslab.files.atomic import atomic_path
    from reslab.models.weights import NORMALIZATION_NAME, read_card, save_weights

    card: dict[str, Any] = read_card(run)
    for name in ("schema_version", "sha256"):
        card.pop(name)
    errors = {name: card.get("errors", {}).get(name) for name in ("train_error", "num_val_images")}
    errors |= {} if val_error is None else {"val_error": val_error}
    card["errors"] = {name: value for name, value in errors.items() if value is not None}
    card["batch_norm"] = note
    if folder != run and member.normalization.mean.ndim == 3:
        with atomic_path(folder / NORMALIZATION_NAME) as temporary:
            save_file({"mean": member.normalization.mean, "std": member.normalization.std}, temporary)
    try:
        save_weights(member.model, folder, card)
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror or error}.") from None
