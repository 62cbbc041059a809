"""Random crops, mirror images (Sec. 4.2) and erasing of small images, in vectorised batches and without state.

What happens to an image is a function of seed, epoch and the image's index alone: the draws come from a counter-based
generator (Philox), so that a resumed run computes them anew instead of restoring a generator.
"""

from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ERASED_RATIOS",
    "ERASED_SHARES",
    "Draws",
    "balanced_order",
    "crop_positions",
    "draw",
    "draw_erased",
    "epoch_order",
    "random_crops",
    "within",
]

ERASED_SHARES, ERASED_RATIOS = (0.02, 0.33), (0.3, 3.3)
"""Of random erasing: least and greatest share of an image's area, and height by width; torchvision's."""

Pixel = TypeVar("Pixel", bound=np.generic)
_ORDER_STREAM, _AUGMENTATION_STREAM, _ERASING_STREAM = 0, 1, 2
_ERASING_TRIES = 10


@dataclass(frozen=True, eq=False)
class Draws:
    """One epoch's random numbers, (N,) each: crop offsets in [0, 2 * pad] and whether to mirror."""

    top: NDArray[np.int64]
    left: NDArray[np.int64]
    mirror: NDArray[np.bool_]


def epoch_order(seed: int, epoch: int, num_images: int) -> NDArray[np.int64]:
    """The order in which an epoch visits the images: a permutation of range(num_images)."""
    return _generator(seed, epoch, _ORDER_STREAM).permutation(num_images)


def balanced_order(seed: int, epoch: int, labels: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """An order in which all classes come equally often, or one more of some than of others.

    A class of few images shows these several times, and one of many a part of them, another one in each epoch.

    Args:
        seed: of the run.
        epoch: from 0.
        labels: (N,) of the training images.

    Returns:
        (N,) indices of the images; and (N,) how often the epoch has shown each before.
    """
    generator = _generator(seed, epoch, _ORDER_STREAM)
    classes = generator.permutation(np.unique(labels))
    shares = np.diff(np.arange(len(classes) + 1) * len(labels) // len(classes))
    chosen = []
    for name, share in zip(classes, shares, strict=True):
        images = np.flatnonzero(labels == name)
        rounds = [generator.permutation(images) for _ in range(-(-int(share) // len(images)))]
        chosen.append(np.concatenate(rounds)[:share])
    order = generator.permutation(np.concatenate(chosen))
    before = np.zeros(len(order), np.int64)
    by_image = np.argsort(order, kind="stable")
    first = np.flatnonzero(np.diff(order[by_image], prepend=-1))  # places among the sorted where another image begins
    before[by_image] = np.arange(len(order)) - np.repeat(first, np.diff([*first, len(order)]))
    return order, before


def draw(seed: int, epoch: int, num_images: int, *, pad: int, flip: bool) -> Draws:
    """Draws the crop and mirroring of every image for an epoch.

    Args:
        seed: of the run.
        epoch: from 0.
        num_images: of the training split.
        pad: pixels added on every side; offsets are uniform over 0 .. 2 * pad, both ends included.
        flip: whether half of the images are mirrored.
    """
    generator = _generator(seed, epoch, _AUGMENTATION_STREAM)
    offsets = generator.integers(0, 2 * pad + 1, size=(2, num_images))
    mirror = generator.random(num_images) < 0.5
    return Draws(offsets[0], offsets[1], mirror & flip)


def draw_erased(seed: int, epoch: int, num_images: int, *, share: float, height: int, width: int) -> NDArray[np.int64]:
    """Draws for every image the rectangle that it loses (random erasing, arXiv 1708.04896), as torchvision does.

    Args:
        seed: of the run.
        epoch: from 0.
        num_images: of the training split.
        share: of the images that lose one.
        height: of an image.
        width: of an image.

    Returns:
        (N, 4) top, left, height and width; zeros for none.
    """
    generator = _generator(seed, epoch, _ERASING_STREAM)
    chosen = generator.random(num_images) < share
    tries = (_ERASING_TRIES, num_images)
    areas = height * width * generator.uniform(*ERASED_SHARES, size=tries)
    lowest, highest = np.log(ERASED_RATIOS)
    ratios = np.exp(generator.uniform(lowest, highest, size=tries))
    sizes = np.stack([np.sqrt(areas * ratios), np.sqrt(areas / ratios)]).round().astype(np.int64)
    fitting = (sizes[0] < height) & (sizes[1] < width)  # the first one counts, and there may be none
    sizes = np.where(chosen & fitting.any(axis=0), sizes[:, fitting.argmax(axis=0), np.arange(num_images)], 0)
    corners = generator.integers(0, np.array([[height + 1], [width + 1]]) - sizes)
    return np.concatenate([np.where(sizes, corners, 0), sizes]).T


def within(start: NDArray[np.int64], length: NDArray[np.int64], size: int) -> NDArray[np.bool_]:
    """(B, size): which positions lie in start .. start + length - 1, both (B,)."""
    positions = np.arange(size)
    return (positions >= start[:, None]) & (positions < (start + length)[:, None])


def crop_positions(
    top: NDArray[np.int64], left: NDArray[np.int64], mirror: NDArray[np.bool_], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which rows and columns of padded images make their crops.

    Args:
        top: (B,) first row of each crop.
        left: (B,) first column of each crop.
        mirror: (B,) whether to mirror it.
        height: of a crop.
        width: of a crop.

    Returns:
        rows (B, height) and columns (B, width).
    """
    columns = np.arange(width)
    columns = np.where(mirror[:, None], columns[::-1], columns) + left[:, None]
    return np.arange(height) + top[:, None], columns


def random_crops(
    padded: NDArray[Pixel], top: NDArray[np.int64], left: NDArray[np.int64], mirror: NDArray[np.bool_], pad: int
) -> NDArray[Pixel]:
    """Crops and mirrors a batch.

    Args:
        padded: (B, H + 2 * pad, W + 2 * pad, C).
        top: (B,) first row of each crop.
        left: (B,) first column of each crop.
        mirror: (B,) whether to mirror it.
        pad: the padding on every side.

    Returns:
        (B, H, W, C), contiguous.
    """
    images, height, width, channels = padded.shape
    rows, columns = crop_positions(top, left, mirror, height - 2 * pad, width - 2 * pad)
    lines = np.arange(images)[:, None] * height + rows
    positions = lines[:, :, None] * width + columns[:, None, :]
    # Whole pixels by their numbers: a third of the time that three indices take.
    crops: NDArray[Pixel] = padded.reshape(-1, channels).take(positions, axis=0)
    return crops


def _generator(seed: int, epoch: int, stream: int) -> np.random.Generator:
    key: Any = np.array([seed, (stream << 48) + epoch], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
