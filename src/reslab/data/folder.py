"""A folder of class folders of small images, read into memory."""

from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np

from reslab.console import counting
from reslab.data.dataset import ImageData, Images, Role, Split
from reslab.data.decoding import in_mode, is_grey, open_image, upright, upright_size
from reslab.data.listing import Listing
from reslab.errors import DataError
from reslab.texts import show_name

__all__ = ["LARGEST_SMALL_SIDE", "are_small", "read_folder"]

LARGEST_SMALL_SIDE = 128
"""Pixels: images that all have one size of at most this many a side are taken for small ones, seen whole."""
_SAMPLE = 64  # images whose headers say which kind they are: photos of one size are rare, and each class has a say
_MAX_SIDE = 512
_MAX_GIB = 8
_WORTH_A_BAR = 2000


def are_small(listing: Listing) -> bool:
    """Whether a folder's images are small ones, by the headers of some of them: one size, at most 128 pixels a side.

    Test images have no say. Those that cannot be read have none either: reading them says what is wrong.
    """
    roles: list[Role] = [role for role in listing.files if role != "test"] or list(listing.files)
    paths = [path for role in roles for files in listing.files[role] for path in files]
    chosen = {int(at) for at in np.linspace(0, len(paths) - 1, min(_SAMPLE, len(paths)))}
    sizes = set()
    for at in sorted(chosen):
        try:
            with open_image(Path(paths[at])) as image:
                sizes.add(upright_size(image))
        except DataError:
            continue
    return len(sizes) <= 1 and all(max(size) <= LARGEST_SMALL_SIDE for size in sizes)


def read_folder(listing: Listing, progress: bool, channels: int | None = None) -> ImageData:
    """Reads every image of a listed folder into memory; all must have one size.

    Classes are the folders' names in sorted order, as in torchvision's ImageFolder. Images are grey if those of train
    and val all are, and RGB otherwise; test images have no say.

    Args:
        listing: of the files.
        progress: whether to show a progress bar.
        channels: 1 for grey, 3 for RGB, where it is known.

    Raises:
        DataError: an image is damaged or of another size; the message names the file.
    """
    num_images = sum(len(files) for classes in listing.files.values() for files in classes)
    shown = progress and num_images >= _WORTH_A_BAR
    with counting(f"Reading {listing.name}", num_images, enabled=shown) as advance:
        reader = _Reader(num_images, lambda: advance(1), channels)
        deciding: list[Role] = [role for role in listing.files if role != "test"] or list(listing.files)
        pixels = {role: reader.read_all(listing.files[role]) for role in deciding}
        reader.channels = reader.channels or (1 if reader.grey else 3)
        pixels |= {role: reader.read_all(listing.files[role]) for role in listing.files if role not in deciding}
    splits: dict[Role, Split] = {}
    for role in listing.files:
        splits[role] = Split(reader.stack(pixels.pop(role)), listing.labels(role))
    return ImageData(listing.name, listing.classes, splits, task=listing.task)


class _Reader:
    """Decodes images one after the other, and holds them to one size."""

    def __init__(self, num_images: int, advance: Callable[[], object], channels: int | None) -> None:
        self.num_images, self.advance, self.channels = num_images, advance, channels
        self.first: tuple[Path, tuple[int, int]] | None = None
        self.grey = True

    def read_all(self, classes: Collection[Collection[str]]) -> list[Images]:
        """The images of a role, one class after the other."""
        return [self.read(Path(path)) for files in classes for path in files]

    def read(self, path: Path) -> Images:
        """(H, W) uint8 of a grey image, (H, W, 3) of any other."""
        try:
            with open_image(path) as image:
                self._check_size(path, upright_size(image))  # the header's word, before anything is decoded
                grey = is_grey(image)
                self.grey &= grey
                pixels = np.asarray(in_mode(upright(image), self.channels or (1 if grey else 3)))
        except _SizeError:
            raise
        except DataError as error:
            raise DataError(f"cannot use the image {show_name(path)}: {error}") from None
        self.advance()
        return pixels

    def _check_size(self, path: Path, size: tuple[int, int]) -> None:
        if self.first is None:
            if max(size) > _MAX_SIDE:
                raise _SizeError(
                    f"{show_name(path)} is {size[0]}x{size[1]} pixels; images are kept in memory, up to {_MAX_SIDE} "
                    "pixels a side."
                )
            if (gib := self.num_images * size[0] * size[1] * 3 / 2**30) > _MAX_GIB:
                raise _SizeError(
                    f"{self.num_images:,} images of {size[0]}x{size[1]} take {gib:.1f} GiB; images are kept in memory, "
                    f"up to {_MAX_GIB} GiB."
                )
            self.first = path, size
        first_path, first_size = self.first
        if size != first_size:
            raise _SizeError(
                f"{show_name(path)} is {size[0]}x{size[1]} pixels, but {show_name(first_path)} is "
                f"{first_size[0]}x{first_size[1]}; "
                "resize the images to one size, or use a recipe for photos, as in --recipe photos."
            )

    def stack(self, pixels: list[Images]) -> Images:
        """(N, H, W, C) uint8 of the channels that were decided on."""
        if self.channels == 1:
            return np.stack(pixels)[..., np.newaxis]
        return np.stack([np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image for image in pixels])


class _SizeError(DataError):
    """Images that cannot be kept in memory side by side; the message names the file."""
