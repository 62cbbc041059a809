"""Fashion-MNIST (arXiv 1708.07747): 60,000 + 10,000 grey 28x28 images, from IDX files."""

import gzip
import struct
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reslab.data.dataset import ImageData, Role, Split
from reslab.data.search_path import download_folder, find_first
from reslab.errors import DataError
from reslab.files.download import Resource, fetch

__all__ = ["load_fashion_mnist", "read_idx"]

_CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_RESOURCES = {
    name: Resource(_URL + name, f"md5:{md5}", size)
    for name, md5, size in (
        ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
        ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
        ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
        ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
    )
}
_PARTS: tuple[tuple[Role, str, int], ...] = (("train", "train", 60_000), ("test", "t10k", 10_000))


def load_fashion_mnist(data_dir: Path | None, progress: bool, roles: Collection[Role] = ("train", "test")) -> ImageData:
    """Fashion-MNIST from a folder `fashion-mnist` of the usual places, or downloaded.

    Args:
        data_dir: where to look first, and where to download to.
        progress: whether a download shows a progress bar.
        roles: whose files are read.

    Raises:
        DataError: a file is damaged, or cannot be downloaded.
    """
    splits: dict[Role, Split] = {}
    for role, prefix, num_images in _PARTS:
        if role not in roles:
            continue
        images = read_idx(_locate(f"{prefix}-images-idx3-ubyte", data_dir, progress), (num_images, 28, 28))
        labels_path = _locate(f"{prefix}-labels-idx1-ubyte", data_dir, progress)
        labels = read_idx(labels_path, (num_images,))
        if labels.max() >= len(_CLASSES):
            raise DataError(f"{labels_path} holds a label {labels.max()}, but there are {len(_CLASSES)} classes.")
        splits[role] = Split(images[..., np.newaxis], labels.astype(np.int64))
    return ImageData("fashion-mnist", _CLASSES, splits)


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Reads an IDX file of bytes, gzipped or not.

    Args:
        path: of the file.
        shape: that it must have.

    Raises:
        DataError: it is no such file, is cut short, or has another shape.
    """
    # Nothing beyond the expected size is unpacked, however much a hostile file would unpack to.
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    expected = len(header) + int(np.prod(shape))
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(expected + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}; delete it to have it downloaded anew.") from None
    if content[: len(header)] != header or len(content) != expected:
        raise DataError(
            f"{path} is not an IDX file of {' x '.join(map(str, shape))} bytes; delete it to have it downloaded anew."
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def file_names(name: str) -> tuple[str, ...]:
    """Paths that one of the four official files is found at."""
    return tuple(
        f"{folder}{name}{suffix}" for folder in ("fashion-mnist/", "FashionMNIST/raw/", "") for suffix in ("", ".gz")
    )


def _locate(name: str, data_dir: Path | None, progress: bool) -> Path:
    found = find_first(data_dir, file_names(name))
    return found or fetch(_RESOURCES[f"{name}.gz"], download_folder(data_dir) / "fashion-mnist", progress=progress)
