"""Which data sets have a name, and where they lie on this machine."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from reslab.data.cifar import cifar_names
from reslab.data.fashion_mnist import file_names
from reslab.data.search_path import find_first

__all__ = ["describe_places"]


def describe_places(data_dir: Path | None) -> list[dict[str, Any]]:
    """Every named data set: its images, their numbers, and its path, None where it would have to be downloaded.

    Args:
        data_dir: where they are looked for first.
    """

    def found(names: tuple[str, ...]) -> str | None:
        path = find_first(data_dir, names)
        return None if path is None else str(path)

    rows = (
        ("digits", "16x16 grey", 1_257, 360, 10, f"in scikit-learn {version('scikit-learn')}"),
        ("fashion-mnist", "28x28 grey", 60_000, 10_000, 10, found(file_names("train-images-idx3-ubyte"))),
        ("cifar10", "32x32 colour", 50_000, 10_000, 10, found(cifar_names("cifar10"))),
        ("cifar100", "32x32 colour", 50_000, 10_000, 100, found(cifar_names("cifar100"))),
        ("imagenet", "photos", 1_281_167, 50_000, 1_000, found(("imagenet",))),
    )
    keys = ("name", "images", "num_train_images", "num_test_images", "num_classes", "path")
    return [dict(zip(keys, row, strict=True)) for row in rows]
