"""A folder of class folders, read into memory: `cats/1.png dogs/2.png`, or the same under train/, val/ and test/."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from reslab.console import progress_bar
from reslab.data.dataset import ImageData, Images, Role, Split
from reslab.data.listing import list_folder
from reslab.errors import DataError

__all__ = ["load_folder"]

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
    listing = list_folder(folder, only)
    num_images = sum(len(files) for classes in listing.files.values() for files in classes)
    with progress_bar(enabled=progress and num_images >= _WORTH_A_BAR) as bar:
        task = bar.add_task(f"Reading {folder.name}", total=num_images)
        reader = _Reader(num_images, lambda: bar.advance(task))
        pixels = {
            role: [reader.read(Path(path)) for files in classes for path in files]
            for role, classes in listing.files.items()
        }
    splits: dict[Role, Split] = {}
    for role in listing.files:
        splits[role] = Split(reader.stack(pixels.pop(role)), listing.labels(role))
    return ImageData(listing.name, listing.classes, splits)


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
                "resize the images to one size, or use a recipe for photos, as in --recipe imagenet-90."
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
