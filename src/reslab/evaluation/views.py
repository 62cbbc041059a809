"""What test protocols share: resized images, their pixels, and what is averaged over views."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from reslab.data.dataset import Images
from reslab.data.decoding import in_mode
from reslab.data.preprocessing import FILTERS, LARGEST_SIDE, Interpolation
from reslab.errors import DataError

__all__ = [
    "FILTERS",
    "MOST_PIXELS",
    "Average",
    "Probabilities",
    "check_sides",
    "pixels_of",
    "resized",
    "resized_size",
    "scores_of",
    "softmax",
]

Average = Literal["probabilities", "logits"]

MOST_PIXELS = 16_000_000
"""Of a resized image; a network's activations take a hundred times as many bytes and more."""


Probabilities = Callable[[Tensor], Tensor]
"""(N, num_classes) logits to probabilities."""


def softmax(logits: Tensor) -> Tensor:
    """Probabilities where each image has one label."""
    return logits.softmax(dim=1)


def scores_of(logits: Tensor, average: Average, probabilities: Probabilities = softmax) -> Tensor:
    """What is averaged, in float64, in which the order of the additions does not show."""
    logits = logits.to("cpu", torch.float64)
    return probabilities(logits) if average == "probabilities" else logits


def check_sides(sides: Sequence[int]) -> None:
    """Raises DataError unless all are sides of images."""
    if not all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides):
        raise DataError(f"the sizes of a protocol must be whole numbers from 1 to {LARGEST_SIDE:,}.")


def resized_size(image: Image.Image, side: int) -> tuple[int, int]:
    """Width and height of an image whose shorter side becomes `side`; the longer one is rounded down (torchvision)."""
    width, height = image.size
    return (side, side * height // width) if width <= height else (side * width // height, side)


def resized(image: Image.Image, size: tuple[int, int], interpolation: Interpolation) -> Image.Image:
    """An image of another width and height."""
    return image if image.size == size else image.resize(size, FILTERS[interpolation])


def pixels_of(image: Image.Image) -> Images:
    """(H, W, C) uint8 of an RGB or grey image."""
    pixels = np.asarray(in_mode(image, 1 if image.mode == "L" else 3))
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
