"""Progressive resizing: a training's first iterations see smaller images, and take less time (fast.ai; composer).

Batches are resized after the augmentation, on the network's device, so that augmentations mean the same at every size.
The size depends on the iteration alone, as resuming needs it.
"""

import torch
from torch import Tensor
from torch.nn import functional

from reslab.training.recipe import Recipe

__all__ = ["initial_iterations", "initial_side", "resized", "work_until"]

_MULTIPLE = 4  # pixels, so that a side can be halved twice


def initial_iterations(recipe: Recipe) -> int:
    """Iterations, from the first, whose images are smaller; 0 without progressive resizing."""
    data = recipe.data
    return round(data.initial_share * recipe.iterations) if data.initial_scale < 1 else 0


def work_until(recipe: Recipe, iteration: int) -> float:
    """What the iterations before this one take, in iterations of the full size; about, by their images' pixels."""
    small = min(iteration, initial_iterations(recipe))
    return iteration - small * (1 - recipe.data.initial_scale**2)


def initial_side(side: int, scale: float) -> int:
    """The scaled side in pixels: to the nearest multiple of 4, at least 4, and never more than it was."""
    return min(side, max(_MULTIPLE, _MULTIPLE * round(side * scale / _MULTIPLE)))


def resized(images: Tensor, scale: float) -> Tensor:
    """A batch with both sides scaled, bilinearly and antialiased.

    Args:
        images: (N, C, H, W) float32.
        scale: of the sides.

    Returns:
        The same, in channels-last layout, of the sides that `initial_side` gives.
    """
    height, width = (initial_side(side, scale) for side in images.shape[2:])
    small = functional.interpolate(images, (height, width), mode="bilinear", antialias=True)
    return small.contiguous(memory_format=torch.channels_last)
