"""`reslab data`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from reslab.cli.command import Command, argument
from reslab.cli.output import JSON_HELP, count, print_json, print_table
from reslab.console import progress_bar
from reslab.environment import parse_size
from reslab.errors import DataError
from reslab.fields import knob

if TYPE_CHECKING:
    from reslab.data.check import CheckReport

INTRO = """Look after data: what there is, what is wrong with it, its mean, and shards of it.

  reslab data list                              named data sets, and where they are found on this machine
  reslab data check photos/                     damaged, truncated, duplicate and misnamed images, empty classes
  reslab data stats photos/                     mean and std of the training images
  reslab data pack photos/ --out shards/        WebDataset's tar files with an index, which training reads too"""
_DATA_DIR = "Folder where named data sets are looked for first."
_MOST_SHOWN = 20


@dataclass(frozen=True, kw_only=True)
class ListArguments:
    data_dir: Path | None = knob(None, _DATA_DIR)
    json: bool = knob(False, JSON_HELP)


@dataclass(frozen=True, kw_only=True)
class CheckArguments:
    folder: Path = argument(
        help="Folder of class folders, of train/, val/ and test/ that hold them, or of shards, whose checksums count.",
        metavar="FOLDER",
    )
    policy: Literal["fail", "skip", "quarantine"] = knob(
        "fail",
        "Policy for what training would stop at: fail ends with exit code 1 if there is any; skip only reports it; "
        "quarantine moves the images that cannot be used to another folder.",
    )
    quarantine: Path | None = knob(None, "Folder that they are moved to.")
    json: bool = knob(False, "Print JSON, with every finding.")


@dataclass(frozen=True, kw_only=True)
class StatsArguments:
    data: str = argument(help="Name of a data set, folder of class folders, or shards.", metavar="DATA")
    size: int = knob(224, "Side of the central crop of photos that is measured.", least=1, most=1 << 14)
    resize: int = knob(256, "Shorter side to which photos are resized before.", least=1, most=1 << 14)
    out: Path | None = knob(None, "File (.safetensors) for the mean of every pixel, (H, W, C), and the std.")
    data_dir: Path | None = knob(None, _DATA_DIR)
    json: bool = knob(False, JSON_HELP)


@dataclass(frozen=True, kw_only=True)
class PackArguments:
    data: str = argument(help="Folder of class folders, or of train/, val/ and test/ that hold them.", metavar="FOLDER")
    out: Path = knob(help="Folder for the shards.")
    shard_size: str = knob("256MiB", "Size after which a shard is closed.", metavar="SIZE")
    json: bool = knob(False, JSON_HELP)


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
    from reslab.data.check import BLOCKING, check_folder, quarantine
    from reslab.data.shards import INDEX_NAME, check_shards

    if (asked.folder / INDEX_NAME).is_file():
        counts = check_shards(asked.folder)
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
    classes = count(report.num_classes, "class", "classes")
    print(f"{counts} in {classes}; {low_width}-{high_width} x {low_height}-{high_height} pixels")
    print(", ".join(f"{number:,} {kind}" for kind, number in report.kinds.items()))
    for problem, words in PROBLEMS.items():
        found = [finding for finding in report.findings if finding.problem == problem]
        if found:
            print(f"\n{len(found):,} {problem} ({words}):")
        for finding in found[:_MOST_SHOWN]:
            print(f"  {finding.path}{f': {finding.detail}' if finding.detail else ''}")
        if len(found) > _MOST_SHOWN:
            print(f"  and {len(found) - _MOST_SHOWN:,} more; --json lists all")
    if not report.findings:
        print("nothing is wrong")


def stats(asked: StatsArguments) -> int:
    """Measures mean and std."""
    from reslab.data.statistics import measure_data

    found = measure_data(asked.data, size=asked.size, resize=asked.resize, out=asked.out, data_dir=asked.data_dir)
    if asked.json:
        print_json(found.to_dict())
        return 0
    height, width, _ = found.image_shape
    print(f"{count(found.num_images, 'image')} of {width}x{height}")
    for name in ("mean", "std"):
        print(f"{name}  {','.join(f'{value:.4f}' for value in getattr(found, name))}")
    if asked.out:
        print(asked.out)
    return 0


def pack(asked: PackArguments) -> int:
    """Packs photos into shards."""
    from reslab.data import load_data
    from reslab.data.packing import pack_shards

    if asked.out.resolve().is_relative_to(Path(asked.data).resolve()):
        raise DataError(f"{asked.out} lies in {asked.data} itself, and would be read with it; choose another folder.")
    shard_bytes = parse_size(asked.shard_size)  # refused before a folder is listed
    data = load_data(asked.data, kind="photos")
    with progress_bar() as bar:
        task = bar.add_task("Packing", total=sum(len(split) for split in data.splits.values()))
        advance = lambda done: bar.advance(task, done)  # noqa: E731
        report = pack_shards(data, asked.out, shard_bytes=shard_bytes, advance=advance)
    if asked.json:
        print_json({"shards": list(report.shards), "num_images": report.num_images, "num_bytes": report.num_bytes})
        return 0
    images = ", ".join(f"{number:,} {role}" for role, number in report.num_images.items())
    print(f"{images} images in {count(len(report.shards), 'shard')}, {report.num_bytes / 1e6:,.1f} MB\n{asked.out}")
    return 0


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
