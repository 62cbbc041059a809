"""Which image files a folder of class folders has, in torchvision's order."""

import os
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from reslab.data.dataset import Labels, Role
from reslab.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "Listing", "is_image_name", "list_folder", "role_folders"]

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}


@dataclass(frozen=True)
class Listing:
    """The image files of a folder.

    Args:
        name: the folder's own.
        classes: the class folders' names, sorted.
        files: of each role, of each class, the paths.
    """

    name: str
    classes: tuple[str, ...]
    files: Mapping[Role, Sequence[Sequence[str]]]

    def labels(self, role: Role) -> Labels:
        """(N,) class indices of a role's files, one class after the other."""
        counts = [len(files) for files in self.files[role]]
        return np.repeat(np.arange(len(counts)), counts).astype(np.int64)


def role_folders(folder: Path) -> dict[Role, Path]:
    """The folders of the roles, in their order; the folder itself as train where there are none."""
    return {role: folder / role for role in get_args(Role) if (folder / role).is_dir()} or {"train": folder}


def list_folder(folder: Path, roles: Collection[Role] | None = None) -> Listing:
    """Lists a folder of class folders, or one with train/ and, where they exist, val/ and test/ that hold them.

    Classes are the folders' names in sorted order, and files stand as in torchvision's ImageFolder; links to folders
    are followed, except below the class folders, where they may lead in circles.

    Args:
        folder: to be listed.
        roles: that are wanted; all by default. The others are not looked at, but that classes are compared with
            those of train.

    Raises:
        DataError: no such role, a class is empty, or the splits have different classes; the message names the file or
            folder.
    """
    name = folder.resolve().name
    folders = role_folders(folder)
    if folder not in folders.values() and (others := sorted(set(_subfolders(folder)) - set(folders))):
        raise DataError(
            f"{folder} has both {'/, '.join(folders)}/ and other folders ({others[0]}/); keep one or the other."
        )
    wanted = {role: path for role, path in folders.items() if roles is None or role in roles}
    if not wanted:
        raise DataError(f"{name} has no {' or '.join(roles or ())} images; it has {' and '.join(folders)}.")
    listings = {role: _list_classes(path) for role, path in wanted.items()}
    reference_role = next(iter(folders)) if "train" in folders else next(iter(wanted))
    reference = listings[reference_role] if reference_role in listings else _class_names(folders[reference_role])
    for role, listing in listings.items():
        _check_same_classes(folders[reference_role], tuple(reference), folders[role], tuple(listing))
    files = {role: tuple(listing.values()) for role, listing in listings.items()}
    return Listing(name, tuple(reference), files)


def _subfolders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}.") from None


def _class_names(folder: Path) -> list[str]:
    names = _subfolders(folder)
    normal: dict[str, str] = {}
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(name).decode(errors="backslashreplace")
            raise DataError(f"the name of the class folder '{shown}' in {folder} is not UTF-8; rename it.") from None
        if normal.setdefault(unicodedata.normalize("NFC", name), name) != name:
            raise DataError(f"{folder} has the class {name!r} twice, in different Unicode forms; put them together.")
    return names


def _list_classes(folder: Path) -> dict[str, list[str]]:
    classes = {name: list(_image_files(folder / name)) for name in _class_names(folder)}
    if not classes:
        raise DataError(f"{folder} has no class folders; put the images of each class into a folder of its own.")
    for name, files in classes.items():
        if not files:
            raise DataError(f"the class folder {folder / name} has no images; add some, or remove it.")
    return classes


def _image_files(folder: Path) -> Iterator[str]:
    for parent, _, files in sorted(os.walk(folder, onerror=_refuse)):
        yield from (os.path.join(parent, name) for name in sorted(files) if is_image_name(name))


def _refuse(error: OSError) -> None:
    raise DataError(f"cannot read the folder {error.filename}: {error.strerror}.")


def is_image_name(name: str) -> bool:
    """Whether a file's name ends as an image's."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def _check_same_classes(folder: Path, classes: tuple[str, ...], other: Path, others: tuple[str, ...]) -> None:
    ours = [unicodedata.normalize("NFC", name) for name in classes]
    theirs = [unicodedata.normalize("NFC", name) for name in others]
    if missing := sorted(set(ours) - set(theirs)):
        raise DataError(f"{other} lacks the class {missing[0]!r} that {folder} has.")
    if unknown := sorted(set(theirs) - set(ours)):
        raise DataError(f"{other} has a class {unknown[0]!r} that {folder} does not have.")
    if ours != theirs:
        raise DataError(
            f"the classes of {folder} and {other} are spelt in different Unicode forms; rename the folders."
        )
