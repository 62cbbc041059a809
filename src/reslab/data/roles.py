"""Which folder of a data set has the images of which role, whatever it is called."""

import os
from pathlib import Path
from typing import get_args

from reslab.data.dataset import Role
from reslab.data.names import is_image_name, is_litter
from reslab.errors import DataError
from reslab.texts import count, show_name

__all__ = ["find_roles", "has_images", "is_role_name", "role_folders", "role_of", "subfolders"]

_SPELLINGS: dict[str, Role] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def role_of(name: str) -> Role | None:
    """The role that a word stands for, however it is spelt; None for none."""
    return _SPELLINGS.get(name.strip().lower())


def role_folders(folder: Path) -> dict[Role, Path]:
    """The folders of the roles, in their order; the folder itself as train where there are none.

    Raises:
        DataError: a role has two folders, or the folder cannot be read.
    """
    return find_roles(folder)[0]


def find_roles(folder: Path) -> tuple[dict[Role, Path], list[str]]:
    """As `role_folders`, with sentences on what may surprise.

    A folder called Training, valid or TEST is taken for a role's if one of these has class folders: two classes may be
    called `valid` and `invalid`. A test folder of loose images, as in Kaggle's contests, has no labels and counts for
    nothing.
    """
    found: dict[Role, list[str]] = {role: [] for role in get_args(Role)}
    for name in subfolders(folder):
        if role := _SPELLINGS.get(name.lower()):
            found[role].append(name)
    named = [name for names in found.values() for name in names]
    exact = [name for name in named if name in get_args(Role)]
    if not exact and not any(subfolders(folder / name) for name in named):
        return {"train": folder}, []
    for role, names in found.items():
        if len(names) > 1:
            raise DataError(
                f"{show_name(folder)} has both {' and '.join(f'{show_name(name)}/' for name in names)}, which both may "
                f"hold the {role} images; keep one, and rename or move the other."
            )
    folders = {role: folder / names[0] for role, names in found.items() if names}
    notes = []
    renamed = [f"{show_name(path.name)}/ as the {role} images" for role, path in folders.items() if path.name != role]
    if renamed:
        notes.append(f"{show_name(folder)} has {' and '.join(renamed)}, by their names.")
    test = folders.get("test")
    if test and len(folders) > 1 and not subfolders(test) and (number := has_images(test)):
        del folders["test"]
        notes.append(
            f"{show_name(test)} has no class folders, so that its {count(number, 'image')} have no labels and are "
            "passed over; `reslab predict` labels them."
        )
    return folders, notes


def is_role_name(name: str) -> bool:
    """Whether a folder may be a role's, by its name."""
    return name.lower() in _SPELLINGS


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in a folder, sorted; those that begin with a dot and litter are left out.

    Raises:
        DataError: it cannot be read.
    """
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read the folder {show_name(folder)}: {error.strerror}.") from None
    return sorted(name for name in names if not is_litter(name))


def has_images(folder: Path) -> int:
    """How many image files lie in a folder itself."""
    return sum(is_image_name(entry.name) and not is_litter(entry.name) for entry in os.scandir(folder))
