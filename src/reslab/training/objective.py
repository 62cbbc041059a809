"""The mixing of images and labels that belongs to what training minimises."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from reslab.training.recipe import RegularizationRecipe

__all__ = ["make_mixing"]

Mixing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def make_mixing(recipe: RegularizationRecipe, num_classes: int) -> Mixing | None:
    """Mixup, CutMix, or either with equal probability; None where the recipe has neither.

    The function takes images (N, C, H, W) and labels (N,), and gives mixed ones and shares of the classes
    (N, num_classes). It draws from torch's generator.
    """
    if not (recipe.mixup or recipe.cutmix):
        return None
    from torchvision.transforms import v2

    kinds: list[Any] = []
    if recipe.mixup:
        kinds.append(v2.MixUp(alpha=recipe.mixup, num_classes=num_classes))
    if recipe.cutmix:
        kinds.append(v2.CutMix(alpha=recipe.cutmix, num_classes=num_classes))
    mix = kinds[0] if len(kinds) == 1 else v2.RandomChoice(kinds)

    def mixing(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        mixed, shares = mix(images, labels)
        return mixed.contiguous(memory_format=torch.channels_last), shares

    return mixing
