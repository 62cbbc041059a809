"""ImageNet's 1000 classes: WordNet ids in the order of every published model's outputs, and names that people read.

The ids are ILSVRC 2012's in sorted order; the names are torchvision's. Importing this module imports no torch.
"""

from functools import cache
from importlib.resources import files

__all__ = ["imagenet_names", "readable_name"]


@cache
def imagenet_names() -> dict[str, str]:
    """Names by WordNet id, `n01440764: tench` and so on, in the order of the classes' indices."""
    text = files("reslab.data").joinpath("imagenet_classes.txt").read_text(encoding="utf-8")
    return dict(line.split(" ", 1) for line in text.splitlines())


def readable_name(class_name: str) -> str:
    """A class as people call it: of a WordNet id its name with it, anything else as it is."""
    name = imagenet_names().get(class_name)
    return class_name if name is None else f"{name} ({class_name})"
