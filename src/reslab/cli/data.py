"""`reslab data`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reslab.cli.command import Command, argument
from reslab.cli.output import JsonArguments, print_json, print_report, print_table
from reslab.errors import DataError
from reslab.fields import knob

INTRO = """Look after data: what there is, what is wrong with it, its mean, and shards of it.

  reslab data list                              named data sets, and where they are found on this machine
  reslab data check photos/                     damaged, duplicate, leaked and misnamed images, images a class
  reslab data stats photos/                     mean and std of the training images
  reslab data pack photos/ --out shards/        WebDataset's tar files with an index, which training reads too"""
_DATA_DIR = "Folder where named data sets are looked for first."


@dataclass(frozen=True, kw_only=True)
class ListArguments(JsonArguments):
    data_dir: Path | None = knob(None, _DATA_DIR)


@dataclass(frozen=True, kw_only=True)
class CheckArguments(JsonArguments):
    folder: Path = argument(
        help="Folder of class folders, of train/, val/ and test/ that hold them, or of shards, whose checksums count; "
        "or a table of files and labels.",
        metavar="FOLDER",
    )
    policy: Literal["fail", "skip", "quarantine"] = knob(
        "fail",
        "Policy for what training would stop at: fail ends with exit code 1 if there is any; skip only reports it; "
        "quarantine moves the images that cannot be used to another folder.",
    )
    quarantine: Path | None = knob(None, "Folder that they are moved to.")


@dataclass(frozen=True, kw_only=True)
class StatsArguments(ListArguments):
    data: str = argument(help="Name of a data set, folder of class folders, or shards.", metavar="DATA")
    size: int = knob(224, "Side of the central crop of photos that is measured.", least=1, most=1 << 14)
    resize: int = knob(256, "Shorter side to which photos are resized before.", least=1, most=1 << 14)
    out: Path | None = knob(None, "File (.safetensors) for the mean of every pixel, (H, W, C), and the std.")


@dataclass(frozen=True, kw_only=True)
class PackArguments(JsonArguments):
    data: str = argument(help="Folder of class folders, or of train/, val/ and test/ that hold them.", metavar="FOLDER")
    out: Path = knob(help="Folder for the shards.")
    shard_size: str = knob("256MiB", "Size after which a shard is closed.", metavar="SIZE")


def list_sets(asked: ListArguments) -> int:
    """Lists named data sets."""
    from reslab.data.catalogue import describe_places

    places = describe_places(asked.data_dir)
    if asked.json:
        print_json(places)
        return 0
    rows = []
    for place in places:
        absent = "not here" if place["name"] == "imagenet" else "not here; downloaded when asked for"
        numbers = (f"{place['num_train_images']:,}", f"{place['num_test_images']:,}", f"{place['num_classes']:,}")
        rows.append((place["name"], place["images"], *numbers, place["path"] or absent))
    print_table(
        ("data set", "images", "train", "test", "classes", "on this machine"), rows, right=("train", "test", "classes")
    )
    return 0


def check(asked: CheckArguments) -> int:
    """Reads every image of a folder."""
    if (asked.quarantine is None) == (asked.policy == "quarantine"):
        raise DataError("--policy quarantine and --quarantine FOLDER belong together.")
    from reslab.data.check import check_data
    from reslab.data.quarantine import quarantine

    report = check_data(asked.folder, progress=True)
    moved = quarantine(asked.folder, report, asked.quarantine) if asked.quarantine else []
    if asked.json:
        print_json({**report.to_dict(), "moved": moved})
    else:
        print(report)
        if moved:
            print(f"{len(moved):,} moved to {asked.quarantine}")
    return 1 if report.blocking and asked.policy == "fail" else 0


def stats(asked: StatsArguments) -> int:
    """Measures mean and std."""
    from reslab.data.statistics import measure_data

    found = measure_data(asked.data, size=asked.size, resize=asked.resize, out=asked.out, data_dir=asked.data_dir)
    return print_report(found, asked.json, and_then=asked.out)


def pack(asked: PackArguments) -> int:
    """Packs photos into shards."""
    from reslab.data.packing import pack_folder

    report = pack_folder(asked.data, asked.out, shard_size=asked.shard_size, progress=True)
    return print_report(report, asked.json, and_then=asked.out)


COMMANDS = {
    "list": Command(
        ListArguments,
        "named data sets, and where they are found on this machine",
        "  reslab data list --json",
        list_sets,
    ),
    "check": Command(
        CheckArguments,
        "read every image of a folder, and list what is wrong",
        """\
  reslab data check photos/
  reslab data check photos/ --policy quarantine --quarantine bad/

Ends with code 0 where all can be used, and with 1 where some cannot and nothing was done about it.""",
        check,
    ),
    "stats": Command(
        StatsArguments,
        "mean and std of the training images, in units of [0, 1]",
        """\
  reslab data stats cifar10
  reslab data stats photos/ --size 224 --resize 256 --out mean.safetensors""",
        stats,
    ),
    "pack": Command(
        PackArguments,
        "write a folder's photos, as they are, into WebDataset's tar files with an index",
        """\
  reslab data pack photos/ --out shards/
  reslab train resnet50 --data shards/ --recipe imagenet-90
  reslab train resnet50 --data https://server/shards/ --recipe imagenet-90

Training from shards visits the same photos in the same order as from the folder, and comes to the same weights.""",
        pack,
    ),
}
