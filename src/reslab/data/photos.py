"""Photographs of any size, which stay in their files until a batch needs them."""

import hashlib
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reslab.data.dataset import DataSet, Images, Role
from reslab.data.decoding import LARGEST_FILE, decode_image
from reslab.data.listing import Listing
from reslab.data.preprocessing import Preprocessing
from reslab.data.targets import Targets
from reslab.environment import available_cores
from reslab.errors import DataError
from reslab.files.hashing import hash_arrays
from reslab.files.regular import read_regular
from reslab.texts import show_name

__all__ = ["Files", "FolderFiles", "Paths", "PhotoData", "PhotoSplit", "list_photos"]


@dataclass(frozen=True, eq=False)
class Paths:
    """Many paths as one block of bytes.

    A list of as many texts would take several times the memory, in every loader process over again: each use of a text
    writes its reference count, and so copies its page.

    Args:
        text: the paths one after the other, uint8.
        ends: (N,) int64, where each ends.
    """

    text: NDArray[np.uint8]
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, paths: Iterable[str]) -> Self:
        """Packs paths."""
        encoded = [os.fsencode(path) for path in paths]
        ends = np.cumsum([len(path) for path in encoded], dtype=np.int64)
        return cls(np.frombuffer(b"".join(encoded), np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        start = 0 if index == 0 else self.ends[index - 1]
        return os.fsdecode(self.text[start : self.ends[index]].tobytes())


class Files(Protocol):
    """Numbered image files, in a folder or elsewhere."""

    def __len__(self) -> int:
        """How many there are."""

    def name(self, number: int) -> str:
        """A file's name, unique and the same on every machine."""

    def size(self, number: int) -> int:
        """Bytes of a file."""

    def read(self, number: int) -> bytes:
        """A file's content; raises DataError where it cannot be read."""

    def show(self, number: int) -> str:
        """Where a file is, for messages."""


@dataclass(frozen=True, eq=False)
class FolderFiles:
    """Files below a folder.

    Args:
        root: the folder.
        paths: below it.
    """

    root: Path
    paths: Paths

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, number: int) -> str:
        """The path below the root."""
        return self.paths[number]

    def size(self, number: int) -> int:
        """As in `Files`."""
        return self._path(number).stat().st_size

    def read(self, number: int) -> bytes:
        """As in `Files`."""
        path = self._path(number)
        try:
            return read_regular(path, LARGEST_FILE)
        except DataError as error:
            raise DataError(f"cannot read the image {show_name(path)}: {error}") from None
        except OSError as error:
            raise DataError(f"cannot read the image {show_name(path)}: {error.strerror}.") from None

    def show(self, number: int) -> str:
        """As in `Files`."""
        return show_name(self._path(number))

    def _path(self, number: int) -> Path:
        return self.root / self.paths[number]


@dataclass(frozen=True, eq=False)
class PhotoSplit:
    """Image files of one role.

    Args:
        files: of the data set, whatever their role.
        chosen: (N,) numbers of the files of this split, in its order.
        labels: (N,) int64, indices into the classes; or the targets of another task.
        preprocessing: how `read` sees them.
    """

    files: Files
    chosen: NDArray[np.int64]
    labels: Targets
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what `read` gives; the files have sizes of their own."""
        return self.preprocessing.shape

    @cached_property
    def digest(self) -> str:
        """Sha256 of the files' names and sizes in bytes, and of the labels, in order; contents are not read."""
        digest = hashlib.sha256(hash_arrays(self.labels).encode())
        for number in self.chosen.tolist():
            digest.update(f"{self.files.name(number)}\0{self.files.size(number)}\0".encode(errors="surrogateescape"))
        return digest.hexdigest()

    def name(self, index: int) -> str:
        """A file's name."""
        return self.files.name(int(self.chosen[index]))

    def file(self, index: int) -> bytes:
        """A file's content.

        Raises:
            DataError: it cannot be read.
        """
        return self.files.read(int(self.chosen[index]))

    def image(self, index: int) -> Image.Image:
        """An image as a whole, decoded and upright, RGB or grey as the preprocessing says.

        Raises:
            DataError: it cannot be read or decoded.
        """
        data = self.file(index)
        try:
            return decode_image(data, self.preprocessing.channels)
        except DataError as error:
            raise self.named(error, index) from None

    def named(self, error: DataError, index: int) -> DataError:
        """What is wrong with a file, with its name."""
        return DataError(f"cannot use the image {self.files.show(int(self.chosen[index]))}: {error}")

    def read(self, start: int, stop: int) -> Images:
        """As in `Samples`: the central crop of the preprocessing."""
        return self.map(lambda index: self.preprocessing(self.image(index)), start, stop)

    def map(self, view: Callable[[int], Images], start: int, stop: int) -> Images:
        """What a function makes of consecutive images, stacked; computed in threads, as Pillow lets go of the lock."""
        with ThreadPoolExecutor(available_cores(), "decoding") as pool:
            return np.stack(list(pool.map(view, range(start, min(stop, len(self))))))

    def subset(self, chosen: NDArray[np.int64]) -> Self:
        """As in `Samples`."""
        return replace(self, chosen=self.chosen[chosen], labels=self.labels[chosen])

    def with_labels(self, labels: Targets) -> Self:
        """As in `Samples`."""
        return replace(self, labels=labels)


class PhotoData(DataSet[PhotoSplit]):
    """A data set of image files; its arguments are those of `DataSet`."""

    def seen_by(self, preprocessing: Preprocessing) -> "PhotoData":
        """The same photos, seen in another way when a network is tested."""
        splits = {role: replace(split, preprocessing=preprocessing) for role, split in self.splits.items()}
        return PhotoData(self.name, self.classes, splits, self.note, self.task)


def list_photos(folder: Path, listing: Listing, preprocessing: Preprocessing) -> PhotoData:
    """The photos of a listed folder; none is opened.

    Args:
        folder: that was listed.
        listing: of its files.
        preprocessing: how the images are seen when a network is tested.
    """
    prefix = len(os.path.join(folder, ""))  # os.path.relpath would take a quarter of a minute for ImageNet
    splits: dict[Role, PhotoSplit] = {}
    for name, classes in listing.files.items():
        below = Paths.of(path[prefix:] for files in classes for path in files)
        files = FolderFiles(folder.resolve(), below)
        splits[name] = PhotoSplit(files, np.arange(len(files)), listing.labels(name), preprocessing)
    return PhotoData(listing.name, listing.classes, splits, task=listing.task)
