"""Which recipe data are trained with where none is named: one rule for the command line and for Python.

Importing this imports no torch.
"""

import json
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from reslab.data import NAMED_DATA, ImageData
from reslab.data.imagenet import imagenet_names

if TYPE_CHECKING:
    from reslab.data.photos import PhotoData

__all__ = ["are_photos", "default_recipe"]

_SMALL_SIDE = 64
_LOOKED_AT = 8  # files, of which some may be no images


def default_recipe(data: "str | Path | ImageData | PhotoData") -> str:
    """The name of the recipe for some data: digits-quick, cifar-paper, photos, or imagenet-90.

    Args:
        data: loaded; or its name or folder, of which then a few directory entries and the first image's size are read.
    """
    if not are_photos(data):
        name = data.name if isinstance(data, ImageData) else data
        return "digits-quick" if name == "digits" else "cifar-paper"
    if str(data) == "imagenet":
        return "imagenet-90"
    return _for_photos(_classes(Path(data)) if isinstance(data, str | os.PathLike) else data.classes)


def are_photos(data: "str | Path | ImageData | PhotoData") -> bool:
    """Whether data are photos in files, and not small images; of a folder its first image tells.

    Args:
        data: as in `default_recipe`.
    """
    if not isinstance(data, str | os.PathLike):
        return not isinstance(data, ImageData)
    if data in NAMED_DATA:
        return False
    if str(data) == "imagenet" or "://" in str(data):
        return True
    # Of a folder that is not there, loading small images says what data there are.
    return os.path.isdir(data) and not _has_small_images(_class_folders(Path(data)))


def _for_photos(classes: Iterable[str]) -> str:
    known = {*imagenet_names(), *imagenet_names().values()}
    names = set(classes)
    return "imagenet-90" if len(names) == len(imagenet_names()) and names <= known else "photos"


def _classes(folder: Path) -> list[str]:
    from safetensors import SafetensorError, safe_open

    from reslab.data.shards import INDEX_NAME

    try:
        with safe_open(folder / INDEX_NAME, "numpy") as index:
            return list(json.loads(index.metadata()["reslab"])["classes"])
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):  # a folder of class folders, or an address
        return [path.name for path in _entries(_class_folders(folder)) if path.is_dir()]


def _class_folders(folder: Path) -> Path:
    return next((folder / name for name in ("train", "val", "test") if os.path.isdir(folder / name)), folder)


def _has_small_images(folder: Path) -> bool:
    from PIL import Image

    files = (path for below in _entries(folder) if os.path.isdir(below) for path in _entries(below))
    for path in islice(files, _LOOKED_AT):
        try:
            with Image.open(path) as image:
                return max(image.size) <= _SMALL_SIDE
        except (OSError, ValueError, Image.DecompressionBombError):
            continue
    return False


def _entries(folder: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as found:
            yield from sorted(Path(entry.path) for entry in found)
    except OSError:
        return
