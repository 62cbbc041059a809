"""Where data sets lie on this machine."""

import os
from pathlib import Path

from reslab.files.cache import cache_folder

__all__ = ["download_folder", "find_first"]

_SYSTEM_FOLDERS = (Path("/usr/share/datasets"), Path("/usr/local/share/datasets"))


def search_folders(data_dir: Path | None) -> list[Path]:
    """Where to look, in order: the folder asked for, $RESLAB_DATA, the system's places, earlier downloads."""
    asked = [data_dir] if data_dir else []
    named = [Path(folder)] if (folder := os.environ.get("RESLAB_DATA")) else []
    return [*asked, *named, *_SYSTEM_FOLDERS, cache_folder("data")]


def find_first(data_dir: Path | None, names: tuple[str, ...]) -> Path | None:
    """The first of several file or folder names that exists in one of the places; None where none does."""
    for folder in search_folders(data_dir):
        for name in names:
            if (folder / name).exists():
                return folder / name
    return None


def download_folder(data_dir: Path | None) -> Path:
    """Where downloads go: the folder asked for, else $RESLAB_DATA, else the user's cache."""
    if data_dir:
        return data_dir
    named = os.environ.get("RESLAB_DATA")
    return Path(named) if named else cache_folder("data")
