"""What is wrong with a folder of image files: found by reading every one of them."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from reslab.console import progress_bar
from reslab.data.dataset import UNBALANCED
from reslab.data.findings import CheckReport, Finding, ShardReport
from reslab.data.inspection import Place, Seen, look, repeated
from reslab.data.listing import Listing, list_folder
from reslab.data.names import UNREADABLE_SUFFIXES, how_to_convert, is_image_name, walk
from reslab.data.roles import role_folders, subfolders
from reslab.data.shards import INDEX_NAME, check_shards
from reslab.data.table import is_table, list_table, split_column
from reslab.data.targets import ONE_LABEL, form_of
from reslab.environment import available_cores
from reslab.errors import DataError
from reslab.texts import show_name

__all__ = ["check_data", "check_folder"]


def check_data(folder: Path, *, progress: bool = False) -> CheckReport | ShardReport:
    """Reads every image of a folder, or every byte of shards.

    Args:
        folder: of class folders, of train/, val/ and test/ that hold them, or of shards.
        progress: whether to show a bar.

    Raises:
        DataError: there is no such folder, it has no class folders, or a shard is not the index's.
    """
    if (folder / INDEX_NAME).is_file():
        return ShardReport(num_images=check_shards(folder))
    with progress_bar(enabled=progress) as bar:
        task = bar.add_task("Reading images", total=None)
        return check_folder(folder, advance=lambda done, all: bar.update(task, completed=done, total=all))


def check_folder(folder: Path, *, advance: Callable[[int, int], object] | None = None) -> CheckReport:
    """Reads and decodes every image below a folder of class folders, or of train/, val/ and test/ that hold them.

    Args:
        folder: to be checked, or a table of images and their classes; nothing in it is changed.
        advance: told of the number of images done and of all, from time to time.

    Raises:
        DataError: there is no such folder, or it has no class folders.
    """
    if is_table(folder):
        return _check_table(folder, advance)
    if not folder.is_dir():
        raise DataError(f"there is no folder {show_name(folder)}.")
    findings: list[Finding] = []
    places: list[Place] = []
    counts: dict[str, dict[str, int]] = {}
    folders = {role if path != folder else "": path for role, path in role_folders(folder).items()}
    for role, path in folders.items():
        below = os.path.relpath(path, folder) if role else ""
        names = subfolders(path)
        for name in names:
            found = [Place(image, role, name) for image in _files(folder, os.path.join(below, name), findings)]
            counts.setdefault(name, dict.fromkeys(folders, 0))[role] = len(found)
            places += found
        findings += _uneven(below, {name: numbers[role] for name, numbers in counts.items() if numbers[role]})
    if not counts:
        raise DataError(
            f"{show_name(folder)} has no class folders; put the images of each class into a folder of its own."
        )
    notes: tuple[str, ...] = ()
    if not any(finding.problem == "empty-class" for finding in findings):  # at which listing would stop
        try:
            notes = list_folder(folder).notes
        except DataError as error:
            findings.append(Finding(path=".", problem="structure", detail=str(error).rstrip(".")))
    return _report(folder, places, counts, list(folders), findings, notes, advance)


def _check_table(table: Path, advance: Callable[[int, int], object] | None) -> CheckReport:
    listing = list_table(table)
    folder = split_column(table)[0].parent
    if listing.task != ONE_LABEL.task:
        return _check_targets(folder, listing, advance)
    counts: dict[str, dict[str, int]] = {name: dict.fromkeys(listing.files, 0) for name in listing.classes}
    places: list[Place] = []
    findings: list[Finding] = []
    for role, classes in listing.files.items():
        for name, files in zip(listing.classes, classes, strict=True):
            places += [Place(os.path.relpath(file, folder), role, name) for file in files]
            counts[name][role] = len(files)
        findings += _uneven("", {name: numbers[role] for name, numbers in counts.items() if numbers[role]})
    return _report(folder, places, counts, list(listing.files), findings, listing.notes, advance)


def _check_targets(folder: Path, listing: Listing, advance: Callable[[int, int], object] | None) -> CheckReport:
    """Of images with several labels each."""
    form, classes = form_of(listing.task), listing.classes
    counts: dict[str, dict[str, int]] = {name: {} for name in classes}
    places: list[Place] = []
    without: dict[str, int] = {}
    for role, groups in listing.files.items():
        targets = listing.targets[role]
        for file, target in zip((file for files in groups for file in files), targets, strict=True):
            places.append(Place(os.path.relpath(file, folder), role, form.names(target, classes)))
        for name, number in zip(classes, form.counts(targets, len(classes)).tolist(), strict=True):
            counts[name][role] = number
        without[role] = int((~targets.any(axis=1)).sum())
    totals = {name: sum(numbers.values()) for name, numbers in counts.items()}
    findings = [Finding(path=name, problem="unused-label") for name, number in totals.items() if not number]
    findings += [Finding(path=name, problem="single-image") for name, number in totals.items() if number == 1]
    found = _report(folder, places, counts, list(listing.files), findings, listing.notes, advance)
    return replace(found, task=listing.task, num_without=without)


def _report(  # of what was listed in one way or another
    folder: Path,
    places: Sequence[Place],
    counts: Mapping[str, dict[str, int]],
    roles: Sequence[str],
    findings: list[Finding],
    notes: tuple[str, ...],
    advance: Callable[[int, int], object] | None,
) -> CheckReport:
    seen = list(_all_seen(folder, places, advance))
    findings += [finding for image in seen for finding in image.findings]
    findings += repeated(seen)
    sizes = [image.size for image in seen if min(image.size) > 0] or [(0, 0)]
    return CheckReport(
        num_images={role: sum(place.role == role for place in places) for role in roles},
        num_classes=len(counts),
        sizes=(
            (min(width for width, _ in sizes), min(height for _, height in sizes)),
            (max(width for width, _ in sizes), max(height for _, height in sizes)),
        ),
        kinds=dict(sorted(Counter(kind for image in seen for kind in image.kinds).items())),
        findings=tuple(sorted(findings, key=lambda finding: (finding.path, finding.problem))),
        class_counts=dict(sorted(counts.items())),
        notes=notes,
    )


def _files(folder: Path, below: str, findings: list[Finding]) -> list[str]:
    """Images of a class, as paths below the folder; what else is there becomes findings."""
    images: list[str] = []
    for parent, names in sorted(walk(folder / below)):
        for name in names:
            path = os.path.relpath(os.path.join(parent, name), folder)
            suffix = os.path.splitext(name)[1].lower()
            if is_image_name(name):
                images.append(path)
            elif suffix in UNREADABLE_SUFFIXES:
                findings.append(Finding(path=path, problem="needs-converting", detail=how_to_convert({suffix})))
            else:
                findings.append(Finding(path=path, problem="no-image"))
    if not images:
        findings.append(Finding(path=below, problem="empty-class"))
    return images


def _uneven(below: str, counts: dict[str, int]) -> Iterator[Finding]:
    """Classes of a role that have one image, and a largest class that is far larger than the smallest."""
    for name, number in counts.items():
        if number == 1:
            yield Finding(path=os.path.join(below, name), problem="single-image")
    if counts:
        most, least = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
        if counts[most] > UNBALANCED * counts[least]:
            detail = f"{most} has {counts[most]:,} images, and {least} {counts[least]:,}"
            yield Finding(path=below or ".", problem="unbalanced", detail=detail)


def _all_seen(folder: Path, places: Sequence[Place], advance: Callable[[int, int], object] | None) -> Iterator[Seen]:
    with ThreadPoolExecutor(available_cores(), "decoding") as pool:
        for done, image in enumerate(pool.map(lambda place: look(folder, place), places, chunksize=1), start=1):
            if advance and (done % 20 == 0 or done == len(places)):
                advance(done, len(places))
            yield image
