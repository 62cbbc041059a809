"""A folder of class folders, read into memory: `cats/1.png dogs/2.png`, or the same under train/, val/ and test/."""

import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import numpy as np
from PIL import Image, UnidentifiedImageError

from reslab.console import progress_bar
from reslab.data.dataset import ImageData, Images, Role, Split
from reslab.errors import DataError

__all__ = ["IMAGE_SUFFIXES", "load_folder"]

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"}
_GREY_MODES = {"1", "L"}
_MAX_SIDE = 512
_MAX_GIB = 8
_WORTH_A_BAR = 2000


def load_folder(folder: Path, progress: bool, only: Role | None = None) -> ImageData:
    """Reads every image under a folder of class folders; all must have one size.

    Classes are the folders' names in sorted order, as in torchvision's ImageFolder. Images are grey if all are, and
    RGB otherwise.

    Args:
        folder: with class folders, or with train/ and, where they exist, val/ and test/ that hold them.
        progress: whether to show a progress bar.
        only: leave out the images of all other roles.

    Raises:
        DataError: an image is damaged or of another size, a class is empty, or the splits have different classes;
            the message names the file or folder.
    """
    roles: dict[Role, Path] = {role: folder / role for role in get_args(Role) if (folder / role).is_dir()}
    if roles and (others := sorted(set(_subfolders(folder)) - set(roles))):
        raise DataError(
            f"{folder} has both {'/, '.join(roles)}/ and other folders ({others[0]}/); keep one or the other."
        )
    listings = {role: _list_classes(path) for role, path in (roles or {"train": folder}).items()}
    first_role, first = next(iter(listings.items()))
    classes = tuple(first)
    for role, listing in listings.items():
        _check_same_classes(folder / first_role, classes, folder / role, tuple(listing))
    if only in listings:
        listings = {only: listings[only]}

    num_images = sum(len(files) for listing in listings.values() for files in listing.values())
    with progress_bar(enabled=progress and num_images >= _WORTH_A_BAR) as bar:
        task = bar.add_task(f"Reading {folder.name}", total=num_images)
        reader = _Reader(num_images, lambda: bar.advance(task))
        pixels = {
            role: [reader.read(path) for files in listing.values() for path in files]
            for role, listing in listings.items()
        }
    splits: dict[Role, Split] = {}
    for role, listing in listings.items():
        labels = np.repeat(np.arange(len(classes)), [len(files) for files in listing.values()])
        splits[role] = Split(reader.stack(pixels.pop(role)), labels.astype(np.int64))
    return ImageData(folder.resolve().name, classes, splits)


class _Reader:
    """Decodes images one after the other, and holds them to one size."""

    def __init__(self, num_images: int, advance: Callable[[], object]) -> None:
        self.num_images, self.advance = num_images, advance
        self.first: tuple[Path, tuple[int, int]] | None = None
        self.grey = True

    def read(self, path: Path) -> Images:
        """(H, W) uint8 of a grey image, (H, W, 3) of any other."""
        with _opened(path) as image:
            self._check_size(path, image.size)  # the header's word, before anything is decoded
            if image.mode.startswith(("I", "F")):
                raise DataError(f"{path} has more than 8 bits a channel; convert it to 8 bits.")
            grey = image.mode in _GREY_MODES
            self.grey &= grey
            try:
                pixels = np.asarray(image.convert("L" if grey else "RGB"))
            except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError and others
                raise DataError(f"cannot decode the image {path}: {error}; repair or remove it.") from None
        self.advance()
        return pixels

    def _check_size(self, path: Path, size: tuple[int, int]) -> None:
        if self.first is None:
            if max(size) > _MAX_SIDE:
                raise DataError(
                    f"{path} is {size[0]}x{size[1]} pixels; images are kept in memory, up to {_MAX_SIDE} pixels a side."
                )
            if (gib := self.num_images * size[0] * size[1] * 3 / 2**30) > _MAX_GIB:
                raise DataError(
                    f"{self.num_images:,} images of {size[0]}x{size[1]} take {gib:.1f} GiB; images are kept in memory, "
                    f"up to {_MAX_GIB} GiB."
                )
            self.first = path, size
        first_path, first_size = self.first
        if size != first_size:
            raise DataError(
                f"{path} is {size[0]}x{size[1]} pixels, but {first_path} is {first_size[0]}x{first_size[1]}; "
                "resize the images to one size."
            )

    def stack(self, pixels: list[Images]) -> Images:
        """(N, H, W, 1) uint8 if every image read was grey, (N, H, W, 3) otherwise."""
        if not self.grey:
            pixels = [
                np.broadcast_to(image[..., np.newaxis], (*image.shape, 3)) if image.ndim == 2 else image
                for image in pixels
            ]
        images = np.stack(pixels)
        return images[..., np.newaxis] if self.grey else images


def _subfolders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot read the folder {folder}: {error.strerror}.") from None


def _list_classes(folder: Path) -> dict[str, list[Path]]:
    classes = {name: sorted(_image_files(folder / name)) for name in _subfolders(folder)}
    if not classes:
        raise DataError(f"{folder} has no class folders; put the images of each class into a folder of its own.")
    for name, files in classes.items():
        if not files:
            raise DataError(f"the class folder {folder / name} has no images; add some, or remove it.")
    return classes


def _image_files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        folders.sort()
        yield from (Path(parent, name) for name in files if Path(name).suffix.lower() in IMAGE_SUFFIXES)


def _check_same_classes(folder: Path, classes: tuple[str, ...], other: Path, others: tuple[str, ...]) -> None:
    if missing := sorted(set(classes) - set(others)):
        raise DataError(f"{other} lacks the class {missing[0]!r} that {folder} has.")
    if unknown := sorted(set(others) - set(classes)):
        raise DataError(f"{other} has a class {unknown[0]!r} that {folder} does not have.")


def _opened(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked before decoding
            return Image.open(path)
    except UnidentifiedImageError:
        raise DataError(f"{path} is not an image, or is damaged; repair or remove it.") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path} is too large to be decoded safely; resize or remove it.") from None
    except OSError as error:
        raise DataError(f"cannot read the image {path}: {error.strerror or error}.") from None
