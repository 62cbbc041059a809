"""What goes in: data sets in memory, their normalisation, their augmentation, and the batches made of them."""

import os
from pathlib import Path

from reslab.data.dataset import ImageData, Role, Split
from reslab.errors import DataError

__all__ = ["NAMED_DATA", "ImageData", "Role", "Split", "absolute_spec", "load_data"]

NAMED_DATA = ("digits", "fashion-mnist", "cifar10", "cifar100")


def absolute_spec(spec: str | Path) -> str:
    """A data set's name or address as it is, and a folder's path from the root, so that it is found from anywhere."""
    named = spec in NAMED_DATA or (spec == "imagenet" and not os.path.isdir(spec)) or "://" in str(spec)
    return str(spec) if named else str(Path(spec).resolve())


def load_data(
    spec: str | Path, *, data_dir: Path | None = None, role: Role | None = None, progress: bool = False
) -> ImageData:
    """Loads a data set into memory.

    Args:
        spec: `digits`, `fashion-mnist`, `cifar10`, `cifar100`, or the path of a folder of class folders.
        data_dir: where a named data set is looked for first, and downloaded to; by default `$RESLAB_DATA`, the
            system's places, then the user's cache.
        role: of a folder, decode the images of this role only, where a whole data set is not needed.
        progress: whether long reading and downloads show a progress bar.

    Raises:
        DataError: no such data set, a damaged file, or a download that failed; the message names it.
    """
    if spec == "digits":
        from reslab.data.digits import load_digits

        return load_digits()
    if spec == "fashion-mnist":
        from reslab.data.fashion_mnist import load_fashion_mnist

        return load_fashion_mnist(data_dir, progress)
    if spec in ("cifar10", "cifar100"):
        from reslab.data.cifar import load_cifar

        return load_cifar(str(spec), data_dir, progress)
    folder = Path(spec)
    if not os.path.isdir(folder):  # Path.is_dir raises where a name is too long or a folder is closed
        raise DataError(f"no data at {str(spec)!r}: it is neither {', '.join(NAMED_DATA)} nor the path of a folder.")
    from reslab.data.folder import load_folder

    return load_folder(folder, progress, role)
