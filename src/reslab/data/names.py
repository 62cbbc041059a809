"""What names of files and folders say: which are images, which an operating system's litter, which need converting."""

import os
from collections.abc import Iterator
from pathlib import Path

from reslab.errors import DataError
from reslab.texts import show_name

__all__ = [
    "IMAGE_SUFFIXES",
    "UNREADABLE_SUFFIXES",
    "how_to_convert",
    "is_image_name",
    "is_litter",
    "is_unreadable_name",
    "walk",
]

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
UNREADABLE_SUFFIXES = {".heic", ".heif", ".hif", ".avif", ".jxl"}
"""Of photos in formats that need another decoder than ours, as phones write them."""

_LITTER = {
    *(".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", ".directory"),
    *("__macosx", ".ipynb_checkpoints", "__pycache__", ".git", ".cache", "@eadir", "lost+found"),
    *("$recycle.bin", "system volume information", ".trashes", ".spotlight-v100", ".fseventsd"),
}


def is_image_name(name: str) -> bool:
    """Whether a file's name ends as an image's."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_unreadable_name(name: str) -> bool:
    """Whether a file's name ends as that of a photo in a format that is not read."""
    return os.path.splitext(name)[1].lower() in UNREADABLE_SUFFIXES


def is_litter(name: str) -> bool:
    """Whether a file or folder is what an operating system or an editor leaves behind, and no data: `._1.jpg`."""
    return name.startswith("._") or name.lower() in _LITTER


def how_to_convert(suffixes: set[str]) -> str:
    """What to do about photos that cannot be read, as the end of a sentence."""
    shown = " and ".join(sorted(suffixes))
    return f"{shown} files cannot be read; convert them to JPEG, as with `pip install pillow-heif` or a photo program"


def walk(folder: str | Path, unreadable: list[str] | None = None) -> Iterator[tuple[str, list[str]]]:
    """Every folder below one, itself included, with its files; both by name, and without litter.

    Links to folders are not followed, since they may lead in circles. A folder that has an image's name and no file in
    it stands among the files: it is an image that went wrong.

    Args:
        folder: where to begin.
        unreadable: gets the folders that cannot be read, which are refused where it is None.

    Raises:
        DataError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        if unreadable is None:
            raise DataError(f"cannot read the folder {show_name(error.filename)}: {error.strerror}.")
        unreadable.append(error.filename)

    for parent, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not is_litter(name))
        hollow = [name for name in folders if is_image_name(name) and _is_empty(os.path.join(parent, name))]
        yield parent, sorted(name for name in [*files, *hollow] if not is_litter(name))


def _is_empty(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False  # said when it is walked
