"""What a folder of class folders has that its owner may not have meant: said in sentences, or refused."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from reslab.data.names import UNREADABLE_SUFFIXES, how_to_convert, is_image_name, is_litter, walk
from reslab.data.roles import role_folders, subfolders
from reslab.errors import DataError
from reslab.texts import count, show_name

__all__ = ["check_depth", "folder_notes", "unreadable_notes"]

_TABLES = {".csv", ".tsv", ".txt", ".json", ".jsonl", ".xml", ".xls", ".xlsx", ".parquet", ".mat"}
_NOTES = ("readme", "license", "licence", "notice", "changelog", "citation")
_DEEPEST = 8  # folders in folders that are looked into for the one that is meant


def folder_notes(folder: Path) -> list[str]:
    """Sentences on what lies beside class folders or roles, and is passed over: loose images, tables, dot-folders."""
    images, tables, notes = 0, [], []
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        name = entry.name
        if is_litter(name):
            continue
        if entry.is_dir():
            hidden = walk(entry.path, []) if name.startswith(".") else ()
            if any(is_image_name(file) for _, files in hidden for file in files):
                notes.append(
                    f"{show_name(folder / name)} has images, and is passed over since its name begins with a dot; "
                    "rename it if it is a class."
                )
        elif is_image_name(name):
            images += 1
        elif os.path.splitext(name)[1].lower() in _TABLES and not name.lower().startswith(_NOTES):
            tables.append(name)
    if images:
        notes.append(
            f"{show_name(folder)} has {count(images, 'image')} beside its folders, which belong to no class and are "
            "passed over."
        )
    if tables:
        others = f" and {len(tables) - 1:,} more" if len(tables) > 1 else ""
        notes.append(
            f"{show_name(folder / tables[0])}{others} is not read: the folders alone say which class an image has. To "
            "go by a table, give the file instead of the folder."
        )
    return notes


def unreadable_notes(folder: Path) -> list[str]:
    """A sentence where a class folder has photos in a format that is not read."""
    found = [name for _, files in walk(folder) for name in files if _suffix(name) in UNREADABLE_SUFFIXES]
    if not found:
        return []
    suffixes = {_suffix(name) for name in found}
    return [f"of {show_name(folder)} {count(len(found), 'photo')} are passed over: {how_to_convert(suffixes)}."]


def check_depth(folder: Path, classes: Mapping[str, Sequence[str]]) -> list[str]:
    """Refuses a folder whose classes lie further down.

    Args:
        folder: of class folders.
        classes: the images of each.

    Returns:
        Sentences on what may not be meant so.

    Raises:
        DataError: its class folders hold roles, or it has a single one that holds only folders, or the same folders
            are in each of them; the message names the folder to give instead.
    """
    hollow = [
        name for name, files in classes.items() if all(os.path.dirname(file) != str(folder / name) for file in files)
    ]
    inner = {name: subfolders(folder / name) for name in hollow}
    with_roles = {
        name: paths for name in hollow if folder / name not in (paths := role_folders(folder / name)).values()
    }
    roles = [name for name, paths in with_roles.items() if any(map(subfolders, paths.values()))]
    shared = {below for name in hollow for below in inner[name] if sum(below in names for names in inner.values()) > 1}
    all_hollow = len(hollow) == len(classes)
    if with_roles and not roles:
        name = next(iter(with_roles))
        role = next(iter(with_roles[name].values())).name
        raise DataError(
            f"{show_name(folder / name)} has the role {role}/ in a class; the other way round is read, as "
            f"{show_name(folder / role / name)}."
        )
    if roles or (all_hollow and len(classes) == 1):
        meant = _meant(folder / (roles or hollow)[0])
        raise DataError(
            f"{show_name(folder)} has no images in {_shown(hollow)} itself, but in folders below; give "
            f"{show_name(meant)} instead, or move its folders up."
        )
    if not all_hollow or not hollow:
        return []
    if shared:
        raise DataError(
            f"the folders of {show_name(folder)}, {_shown(hollow)}, each hold {_shown(sorted(shared))}, which look "
            f"like the classes; give one of them instead, as {show_name(folder / hollow[0])}, or call them train/ and "
            "test/."
        )
    return [
        f"the classes of {show_name(folder)} are {_shown(hollow)}, which hold only folders; if those are the classes, "
        "move them up, or give a folder further down."
    ]


def _meant(folder: Path) -> Path:
    """The first folder at or below one that has classes with images, or roles."""
    for _ in range(_DEEPEST):
        below = subfolders(folder)
        roles = role_folders(folder)
        if folder not in roles.values() or len(below) != 1 or any(map(is_image_name, os.listdir(folder / below[0]))):
            break
        folder /= below[0]
    return folder


def _shown(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(f"{show_name(name)}/" for name in names[:most]) + more


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()
