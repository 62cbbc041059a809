"""What is wrong with a folder of image files: found by reading every one of them."""

import hashlib
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from PIL import Image

from reslab.console import progress_bar
from reslab.data.dataset import Role
from reslab.data.decoding import LARGEST_IMAGE, ORIENTATION, in_mode, open_image, upright, upright_size
from reslab.data.listing import list_folder
from reslab.data.names import is_image_name, walk
from reslab.data.roles import find_roles, subfolders
from reslab.data.shards import INDEX_NAME, check_shards
from reslab.environment import available_cores
from reslab.errors import DataError
from reslab.files.atomic import write_json
from reslab.files.records import read_record
from reslab.texts import count

__all__ = ["PROBLEMS", "CheckReport", "Finding", "Problem", "ShardReport", "check_data", "check_folder", "quarantine"]

Problem = Literal[
    "unreadable", "truncated", "too-large", "duplicate", "wrong-extension", "no-image", "empty-class", "structure"
]

PROBLEMS: dict[Problem, str] = {
    "unreadable": "cannot be decoded",
    "truncated": "ends before the image does",
    "too-large": f"has more than {LARGEST_IMAGE:,} pixels",
    "duplicate": "has the same bytes as another image",
    "wrong-extension": "is of another format than its name says; it is decoded all the same",
    "no-image": "has no image's extension, and is passed over",
    "empty-class": "is a class folder without images",
    "structure": "lists as no data set",
}

UNUSABLE: tuple[Problem, ...] = ("unreadable", "truncated", "too-large")
"""What training would stop at, and a quarantine takes away."""

_MOST_SHOWN = 20  # of a kind, in words

BLOCKING: tuple[Problem, ...] = (*UNUSABLE, "empty-class", "structure")
"""What training would stop at."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    Args:
        path: below the folder.
        problem: what kind of thing.
        detail: in words; of a duplicate, the other file's path.
    """

    path: str
    problem: Problem
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What `check_folder` found.

    Args:
        num_images: that were read, by role; the role is empty where the folder has none.
        num_classes: class folders, of the role that has most.
        sizes: smallest and largest width and height, in pixels.
        kinds: how many images are grey, CMYK, with a palette, turned by their camera, by format.
        findings: in the order of their paths.
    """

    num_images: dict[str, int]
    num_classes: int
    sizes: tuple[tuple[int, int], tuple[int, int]]
    kinds: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def blocking(self) -> bool:
        """Whether training would stop at something."""
        return any(finding.problem in BLOCKING for finding in self.findings)

    def __str__(self) -> str:
        counts = ", ".join(f"{number:,} {role or 'images'}" for role, number in self.num_images.items())
        (low_width, low_height), (high_width, high_height) = self.sizes
        classes = count(self.num_classes, "class", "classes")
        lines = [f"{counts} in {classes}; {low_width}-{high_width} x {low_height}-{high_height} pixels"]
        lines.append(", ".join(f"{number:,} {kind}" for kind, number in self.kinds.items()))
        for problem, words in PROBLEMS.items():
            found = [finding for finding in self.findings if finding.problem == problem]
            lines += [f"\n{len(found):,} {problem} ({words}):"] if found else []
            lines += [f"  {item.path}{f': {item.detail}' if item.detail else ''}" for item in found[:_MOST_SHOWN]]
            if len(found) > _MOST_SHOWN:
                lines.append(f"  and {len(found) - _MOST_SHOWN:,} more")
        return "\n".join(lines if self.findings else [*lines, "nothing is wrong"])

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "num_images": self.num_images,
            "num_classes": self.num_classes,
            "smallest": list(self.sizes[0]),
            "largest": list(self.sizes[1]),
            "kinds": self.kinds,
            "problems": {problem: sum(finding.problem == problem for finding in self.findings) for problem in PROBLEMS},
            "findings": [vars(finding) for finding in self.findings],
        }


@dataclass(frozen=True)
class _Seen:
    path: str
    digest: str = ""
    size: tuple[int, int] = (0, 0)
    kinds: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShardReport:
    """What `check_data` found of shards: each has the checksum of the index.

    Args:
        num_images: by role.
    """

    num_images: dict[Role, int]
    blocking: ClassVar[bool] = False

    def __str__(self) -> str:
        counts = ", ".join(f"{number:,} {role}" for role, number in self.num_images.items())
        return f"{counts} images in shards with the checksums of the index"

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"num_images": self.num_images, "checksums": "equal"}


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
        folder: to be checked; nothing in it is changed.
        advance: told of the number of images done and of all, from time to time.

    Raises:
        DataError: there is no such folder, or it has no class folders.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}.")
    folders, _ = find_roles(folder)
    findings: list[Finding] = []
    num_images: dict[str, int] = {}
    num_classes = 0
    images: list[str] = []
    for path in folders.values():
        role = os.path.relpath(path, folder) if path != folder else ""
        classes = subfolders(path)
        num_classes = max(num_classes, len(classes))
        start = len(images)
        for name in classes:
            found, others = _files(folder, os.path.join(role, name))
            images += found
            findings += [Finding(path=path, problem="no-image") for path in others]
            if not found:
                findings.append(Finding(path=os.path.join(role, name), problem="empty-class"))
        num_images[role] = len(images) - start
    if not num_classes:
        raise DataError(f"{folder} has no class folders; put the images of each class into a folder of its own.")
    if not any(finding.problem == "empty-class" for finding in findings):  # at which listing would stop
        try:
            list_folder(folder)
        except DataError as error:
            findings.append(Finding(path=".", problem="structure", detail=str(error).rstrip(".")))
    seen = list(_all_seen(folder, images, advance))
    findings += [finding for image in seen for finding in image.findings]
    findings += _duplicates(seen)
    sizes = [image.size for image in seen if min(image.size) > 0] or [(0, 0)]
    kinds: dict[str, int] = defaultdict(int)
    for image in seen:
        for kind in image.kinds:
            kinds[kind] += 1
    return CheckReport(
        num_images=num_images,
        num_classes=num_classes,
        sizes=(
            (min(width for width, _ in sizes), min(height for _, height in sizes)),
            (max(width for width, _ in sizes), max(height for _, height in sizes)),
        ),
        kinds=dict(sorted(kinds.items())),
        findings=tuple(sorted(findings, key=lambda finding: (finding.path, finding.problem))),
    )


def quarantine(folder: Path, report: CheckReport, into: Path) -> list[str]:
    """Moves the images that cannot be used out of a folder, and writes `quarantine.json`, which says why.

    Args:
        folder: that was checked.
        report: what was found.
        into: another folder on any file system; the images keep their paths below it.

    Returns:
        The paths that were moved.

    Raises:
        DataError: the quarantine lies in the folder, or has one of the files already.
    """
    if into.resolve().is_relative_to(folder.resolve()):
        raise DataError(f"the quarantine {into} lies in {folder} itself, and would be read with it; choose another.")
    unusable = [finding for finding in report.findings if finding.problem in UNUSABLE]
    for finding in unusable:
        if (into / finding.path).exists():
            raise DataError(f"{into / finding.path} is there already; choose another quarantine.")
    if unusable:
        into.mkdir(parents=True, exist_ok=True)
        notes = into / "quarantine.json"
        earlier: dict[str, Any] = {"moves": []}
        if notes.exists():
            earlier = read_record(notes, schema_version=None, error=DataError, if_missing="")
        move = {"from": str(folder), "findings": [vars(item) for item in unusable]}
        write_json(notes, {"moves": [*earlier.get("moves", []), move]})
    for finding in unusable:
        (into / finding.path).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(folder / finding.path, into / finding.path)
    return [finding.path for finding in unusable]


def _files(folder: Path, below: str) -> tuple[list[str], list[str]]:
    """Images and other files of a class, as paths below the folder."""
    images: list[str] = []
    others: list[str] = []
    for parent, names in sorted(walk(folder / below)):
        for name in names:
            path = os.path.relpath(os.path.join(parent, name), folder)
            (images if is_image_name(name) else others).append(path)
    return images, others


def _all_seen(folder: Path, images: list[str], advance: Callable[[int, int], object] | None) -> Iterator[_Seen]:
    with ThreadPoolExecutor(available_cores(), "decoding") as pool:
        for done, image in enumerate(pool.map(lambda path: _look(folder, path), images, chunksize=1), start=1):
            if advance and (done % 20 == 0 or done == len(images)):
                advance(done, len(images))
            yield image


def _look(folder: Path, path: str) -> _Seen:
    """Reads one image; whatever is wrong with it ends up in a finding."""
    try:
        if not (folder / path).is_file():
            return _Seen(path, findings=(Finding(path=path, problem="unreadable", detail="it is not a regular file"),))
        data = (folder / path).read_bytes()
    except OSError as error:
        return _Seen(path, findings=(Finding(path=path, problem="unreadable", detail=str(error.strerror)),))
    findings: list[Finding] = []
    size, kinds = (0, 0), []
    try:
        with open_image(data) as image:
            size, kinds = upright_size(image), [image.format or "other"]
            if image.mode not in ("RGB",):
                kinds.append({"L": "grey", "1": "grey", "P": "palette"}.get(image.mode, image.mode))
            if image.getexif().get(ORIENTATION, 1) in range(2, 9):
                kinds.append("turned by the camera")
            expected = Image.registered_extensions().get(os.path.splitext(path)[1].lower())
            # MPO is what phones write as .jpg: a JPEG with more of them behind it.
            if expected not in (image.format, None) and (expected, image.format) != ("JPEG", "MPO"):
                findings.append(Finding(path=path, problem="wrong-extension", detail=f"it is {image.format}"))
            in_mode(upright(image), 3).load()
    except DataError as error:
        text = str(error)
        problem: Problem = "too-large" if "too many" in text else "truncated" if "truncated" in text else "unreadable"
        findings = [Finding(path=path, problem=problem, detail=text.rstrip("."))]
    return _Seen(path, hashlib.sha256(data).hexdigest(), size, tuple(kinds), tuple(findings))


def _duplicates(seen: list[_Seen]) -> Iterator[Finding]:
    first: dict[str, str] = {}
    for image in seen:
        if not image.digest:
            continue
        other = first.setdefault(image.digest, image.path)
        if other != image.path:
            yield Finding(path=image.path, problem="duplicate", detail=other)
