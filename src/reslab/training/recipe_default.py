"""Which recipe data are trained with where none is named: one rule for the command line and for Python.

Importing this imports no torch.
"""

from pathlib import Path

from reslab.data import NAMED_DATA, AnyData, ImageData, PhotoData, kind_and_classes
from reslab.data.imagenet import imagenet_names

__all__ = ["are_photos", "default_recipe"]


def default_recipe(data: str | Path | AnyData) -> str:
    """The name of the recipe for some data: digits-quick, cifar-paper, photos, or imagenet-90.

    Args:
        data: loaded; or its name or folder, which then is listed, and of whose images some headers are read.

    Raises:
        DataError: there is no such data.
    """
    if str(data) == "imagenet":
        return "imagenet-90"
    if "://" in str(data):  # nothing is asked of a server to find out
        return "photos"
    if isinstance(data, ImageData) or data in NAMED_DATA:
        name = data.name if isinstance(data, ImageData) else data
        return "digits-quick" if name == "digits" else "cifar-paper"
    kind, classes = ("photos", data.classes) if isinstance(data, PhotoData) else kind_and_classes(data)
    if kind == "small":
        return "cifar-paper"
    known = {*imagenet_names(), *imagenet_names().values()}
    return "imagenet-90" if len(set(classes)) == len(imagenet_names()) and set(classes) <= known else "photos"


def are_photos(data: str | Path | AnyData) -> bool:
    """Whether data are photos in files, and not small images.

    Args:
        data: as in `default_recipe`.

    Raises:
        DataError: there is no such data.
    """
    if isinstance(data, ImageData) or data in NAMED_DATA:
        return False
    return isinstance(data, PhotoData) or "://" in str(data) or kind_and_classes(data)[0] == "photos"
