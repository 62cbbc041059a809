"""`reslab data`."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from rich.table import Table

from reslab.cli.arguments import OptionalPath, output_console, parse, print_json
from reslab.console import progress_bar
from reslab.errors import DataError, ReslabError

if TYPE_CHECKING:
    from reslab.data.check import CheckReport
    from reslab.data.preprocessing import Preprocessing

_HELP = """Look after data: what there is, what is wrong with it, its mean, and shards of it.

  reslab data list                              named data sets, and where they are found on this machine
  reslab data check photos/                     damaged, truncated, duplicate and misnamed images, empty classes
  reslab data check photos/ --policy quarantine --quarantine bad/
  reslab data stats photos/                     mean and std of the training images
  reslab data pack photos/ --out shards/        WebDataset's tar files with an index, which training reads too

`reslab data check --help` and the like tell more of each.
"""


@dataclass(frozen=True, kw_only=True)
class ListArguments:
    data_dir: OptionalPath = None
    """Where named data sets are looked for first."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class CheckArguments:
    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Of class folders, of train/, val/ and test/ that hold them, or of shards, whose checksums are compared."""
    policy: Literal["fail", "skip", "quarantine"] = "fail"
    """Of what training would stop at: fail ends with exit code 1 if there is any; skip only reports it; quarantine
    moves the images that cannot be used to another folder."""
    quarantine: OptionalPath = None
    """Where they are moved to."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON, with every finding."""


@dataclass(frozen=True, kw_only=True)
class StatsArguments:
    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """digits, fashion-mnist, cifar10, cifar100, a folder of class folders, or shards."""
    size: int = 224
    """Of photos: side of the central crop that is measured."""
    resize: int = 256
    """Of photos: shorter side to which they are resized before."""
    out: OptionalPath = None
    """Write the mean of every pixel, (H, W, C), and the std to this file (.safetensors)."""
    data_dir: OptionalPath = None
    """Where named data sets are looked for first."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


@dataclass(frozen=True, kw_only=True)
class PackArguments:
    data: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """Of class folders, or of train/, val/ and test/ that hold them."""
    out: Path
    """Folder of the shards."""
    shard_size: str = "256MiB"
    """After which a shard is closed."""
    json: Annotated[bool, tyro.conf.FlagCreatePairsOff] = False
    """Print JSON."""


def main(arguments: Sequence[str]) -> int:
    """Runs one of the subcommands."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_HELP)
        return 0
    name, *rest = arguments
    commands: dict[str, Callable[[Sequence[str]], int]] = {
        "list": _list,
        "check": _check,
        "stats": _stats,
        "pack": _pack,
    }
    if name not in commands:
        raise ReslabError(f"there is no `reslab data {name}`, only {', '.join(commands)}.")
    return commands[name](rest)


def _list(arguments: Sequence[str]) -> int:
    asked = parse(ListArguments, arguments, "data list", "Named data sets, and where they are found on this machine.")
    from reslab.data.catalogue import describe_places

    places = describe_places(asked.data_dir)
    if asked.json:
        print_json(places)
        return 0
    table = Table("data set", "images", "train", "test", "classes", "on this machine", box=None)
    for place in places:
        numbers = (f"{place['num_train_images']:,}", f"{place['num_test_images']:,}", str(place["num_classes"]))
        absent = "not here" if place["name"] == "imagenet" else "not here; downloaded when asked for"
        table.add_row(place["name"], place["images"], *numbers, place["path"] or absent)
    output_console().print(table)
    return 0


def _check(arguments: Sequence[str]) -> int:
    description = """Read every image of a folder, and list what is wrong.

  reslab data check photos/
  reslab data check photos/ --policy quarantine --quarantine bad/

Ends with code 0 where all can be used, and with 1 where some cannot and nothing was done about it."""
    asked = parse(CheckArguments, arguments, "data check", description)
    if (asked.quarantine is None) == (asked.policy == "quarantine"):
        raise DataError("--policy quarantine and --quarantine FOLDER belong together.")
    from reslab.data.check import BLOCKING, check_folder, quarantine
    from reslab.data.preprocessing import Preprocessing
    from reslab.data.shards import INDEX_NAME, load_shards

    if (asked.folder / INDEX_NAME).is_file():
        view = Preprocessing(height=1, width=1, channels=3, resize=1)
        shards = load_shards(asked.folder, view, verify=True)
        counts = {role: len(split) for role, split in shards.splits.items()}
        if asked.json:
            print_json({"num_images": counts, "checksums": "equal"})
        else:
            images = ", ".join(f"{number:,} {role}" for role, number in counts.items())
            print(f"{images} images in shards with the checksums of the index")
        return 0
    with progress_bar() as bar:
        task = bar.add_task("Reading images", total=None)
        report = check_folder(asked.folder, advance=lambda done, all: bar.update(task, completed=done, total=all))
    moved = quarantine(asked.folder, report, asked.quarantine) if asked.quarantine else []
    if asked.json:
        print_json({**report.to_dict(), "moved": moved})
    else:
        _show_report(report)
        if moved:
            print(f"{len(moved):,} moved to {asked.quarantine}")
    blocking = any(finding.problem in BLOCKING for finding in report.findings)
    return 1 if blocking and asked.policy == "fail" else 0


def _show_report(report: "CheckReport") -> None:
    from reslab.data.check import PROBLEMS

    counts = ", ".join(f"{number:,} {role or 'images'}" for role, number in report.num_images.items())
    (low_width, low_height), (high_width, high_height) = report.sizes
    print(f"{counts} in {report.num_classes:,} classes; {low_width}-{high_width} x {low_height}-{high_height} pixels")
    print(", ".join(f"{number:,} {kind}" for kind, number in report.kinds.items()))
    for problem, words in PROBLEMS.items():
        found = [finding for finding in report.findings if finding.problem == problem]
        if found:
            print(f"\n{len(found):,} {problem} ({words}):")
        for finding in found[:20]:
            print(f"  {finding.path}{f': {finding.detail}' if finding.detail else ''}")
        if len(found) > 20:
            print(f"  and {len(found) - 20:,} more; --json lists all")
    if not report.findings:
        print("nothing is wrong")


def _stats(arguments: Sequence[str]) -> int:
    description = """Mean and std of the training images, in units of [0, 1], read once from the first to the last.

  reslab data stats cifar10
  reslab data stats photos/ --size 224 --resize 256 --out mean.safetensors"""
    asked = parse(StatsArguments, arguments, "data stats", description)
    from reslab.data import NAMED_DATA, load_data
    from reslab.data.batches import read_in_parts
    from reslab.data.loading import DataKind
    from reslab.data.normalization import Normalization

    kind: DataKind = "auto" if asked.data in NAMED_DATA else "photos"
    data = load_data(asked.data, data_dir=asked.data_dir, roles=["train"], kind=kind, view=_view(asked), progress=True)
    split: Any = data.split("train")
    per_channel = Normalization.measure(read_in_parts(split), "per-channel")
    values: dict[str, Any] = {
        "num_images": len(split),
        "image_shape": list(split.image_shape),
        "mean": [float(value) for value in per_channel.mean],
        "std": [float(value) for value in per_channel.std],
        "sha256": split.digest,
    }
    if asked.out:
        from safetensors.numpy import save_file

        from reslab.files.atomic import atomic_path

        per_pixel = Normalization.measure(read_in_parts(split), "per-pixel-mean")
        with atomic_path(asked.out) as temporary:
            save_file({"mean": per_pixel.mean, "std": per_pixel.std}, temporary)
    if asked.json:
        print_json(values)
        return 0
    height, width, _ = split.image_shape
    print(f"{len(split):,} images of {width}x{height}")
    for name in ("mean", "std"):
        print(f"{name}  {','.join(f'{value:.4f}' for value in values[name])}")
    if asked.out:
        print(asked.out)
    return 0


def _view(asked: StatsArguments) -> "Preprocessing":
    from reslab.data.preprocessing import Preprocessing

    return Preprocessing(height=asked.size, width=asked.size, channels=3, resize=asked.resize)


def _pack(arguments: Sequence[str]) -> int:
    description = """Write a folder's photos, as they are, into WebDataset's tar files with an index.

  reslab data pack photos/ --out shards/
  reslab train resnet50 --data shards/ --recipe imagenet-90
  reslab train resnet50 --data https://server/shards/ --recipe imagenet-90

Training from shards visits the same photos in the same order as from the folder, and comes to the same weights."""
    asked = parse(PackArguments, arguments, "data pack", description)
    from reslab.data import load_data
    from reslab.data.packing import pack_shards
    from reslab.data.preprocessing import Preprocessing
    from reslab.environment import parse_size

    if Path(asked.out).resolve().is_relative_to(Path(asked.data).resolve()):
        raise DataError(f"{asked.out} lies in {asked.data} itself, and would be read with it; choose another folder.")
    shard_bytes = parse_size(asked.shard_size)
    data = load_data(asked.data, kind="photos", view=Preprocessing(height=224, width=224, channels=3, resize=256))
    with progress_bar() as bar:
        task = bar.add_task("Packing", total=sum(len(split) for split in data.splits.values()))
        report = pack_shards(data, asked.out, shard_bytes=shard_bytes, advance=lambda done: bar.advance(task, done))
    if asked.json:
        print_json({"shards": list(report.shards), "num_images": report.num_images, "num_bytes": report.num_bytes})
        return 0
    images = ", ".join(f"{number:,} {role}" for role, number in report.num_images.items())
    print(f"{images} images in {len(report.shards):,} shards, {report.num_bytes / 1e6:,.1f} MB", file=sys.stdout)
    print(asked.out)
    return 0
