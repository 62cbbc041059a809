"""Which image files a folder of class folders has, in torchvision's order."""

import os
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from reslab.data.dataset import Role
from reslab.data.names import is_image_name, walk
from reslab.data.roles import find_roles, is_role_name, subfolders
from reslab.data.surprises import check_depth, folder_notes, unreadable_notes
from reslab.data.targets import ONE_LABEL, Targets
from reslab.errors import DataError, ReslabWarning
from reslab.texts import show_name

__all__ = ["DataWarning", "Listing", "list_folder"]


class DataWarning(ReslabWarning):
    """What is unusual of data, and may not be meant so."""


@dataclass(frozen=True)
class Listing:
    """The image files of a folder.

    Args:
        name: the folder's own.
        classes: the class folders' names, sorted.
        files: of each role, of each class, the paths; where images have other targets than one class, in one group.
        notes: sentences on what its owner may not have meant so.
        task: that the targets are for.
        targets: of each role's files, in the form of the task; of classification they follow from the groups.
    """

    name: str
    classes: tuple[str, ...]
    files: Mapping[Role, Sequence[Sequence[str]]]
    notes: tuple[str, ...] = ()
    task: str = ONE_LABEL.task
    targets: Mapping[Role, Targets] = field(default_factory=dict)

    def labels(self, role: Role) -> Targets:
        """The targets of a role's files, in their order; of classification (N,) class indices, class by class."""
        if role in self.targets:
            return self.targets[role]
        counts = [len(files) for files in self.files[role]]
        return np.repeat(np.arange(len(counts)), counts).astype(np.int64)


def list_folder(folder: Path, roles: Collection[Role] | None = None) -> Listing:
    """Lists a folder of class folders, or one with train/ and, where they exist, val/ and test/ that hold them.

    Roles may be spelt in other ways (`find_roles`). What an operating system leaves behind is passed over. Classes are
    the folders' names in sorted order, and files stand as in torchvision's ImageFolder; links to folders are followed,
    except below the class folders, where they may lead in circles.

    Args:
        folder: to be listed.
        roles: that are wanted; all by default. The others are not looked at, but that classes are compared with
            those of train.

    Raises:
        DataError: no such role, a class is empty, the classes lie further down, or the splits have different classes;
            the message names the file or folder.
    """
    name = show_name(folder.resolve().name)
    folders, notes = find_roles(folder)
    if folder not in folders.values():
        if others := [name for name in subfolders(folder) if not is_role_name(name)]:
            raise DataError(
                f"{show_name(folder)} has both {'/, '.join(folders)}/ and other folders ({show_name(others[0])}/); "
                "keep one or the other."
            )
        notes += folder_notes(folder)
    wanted = {role: path for role, path in folders.items() if roles is None or role in roles}
    if not wanted:
        raise DataError(f"{name} has no {' or '.join(roles or ())} images; it has {' and '.join(folders)}.")
    listings = {role: _list_classes(path) for role, path in wanted.items()}
    for role, path in wanted.items():
        notes += [*folder_notes(path), *check_depth(path, listings[role])]
        notes += [note for name in listings[role] for note in unreadable_notes(path / name)]
    reference_role = next(iter(folders)) if "train" in folders else next(iter(wanted))
    reference = listings[reference_role] if reference_role in listings else _class_names(folders[reference_role])
    for role, listing in listings.items():
        _check_same_classes(folders[reference_role], tuple(reference), folders[role], tuple(listing))
    files = {role: tuple(listing.values()) for role, listing in listings.items()}
    return Listing(name, tuple(reference), files, tuple(notes))


def _class_names(folder: Path) -> list[str]:
    names = subfolders(folder)
    normal: dict[str, str] = {}
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise DataError(
                f"the name of the class folder '{show_name(name)}' in {show_name(folder)} is not UTF-8; rename it."
            ) from None
        if normal.setdefault(unicodedata.normalize("NFC", name), name) != name:
            raise DataError(
                f"{show_name(folder)} has the class {name!r} twice, in different Unicode forms; put them together."
            )
    return names


def _list_classes(folder: Path) -> dict[str, list[str]]:
    classes = {name: list(_image_files(folder / name)) for name in _class_names(folder)}
    if not classes:
        raise DataError(
            f"{show_name(folder)} has no class folders; put the images of each class into a folder of its own, or name "
            f"a table of images and their classes, as {show_name(folder / 'labels.csv')}."
        )
    for name, files in classes.items():
        if not files:
            mend = "".join(unreadable_notes(folder / name)) or "add some, or remove it."
            raise DataError(f"the class folder {show_name(folder / name)} has no images; {mend}")
    return classes


def _image_files(folder: Path) -> Iterator[str]:
    for parent, names in sorted(walk(folder)):  # torchvision's order, not quite that of a walk
        yield from (os.path.join(parent, name) for name in names if is_image_name(name))


def _check_same_classes(folder: Path, classes: tuple[str, ...], other: Path, others: tuple[str, ...]) -> None:
    ours = [unicodedata.normalize("NFC", name) for name in classes]
    theirs = [unicodedata.normalize("NFC", name) for name in others]
    if missing := sorted(set(ours) - set(theirs)):
        raise DataError(f"{show_name(other)} lacks the class {missing[0]!r} that {show_name(folder)} has.")
    if unknown := sorted(set(theirs) - set(ours)):
        raise DataError(f"{show_name(other)} has a class {unknown[0]!r} that {show_name(folder)} does not have.")
    if ours != theirs:
        raise DataError(
            f"the classes of {folder} and {other} are spelt in different Unicode forms; rename the folders."
        )
