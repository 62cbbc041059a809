"""What training minimises: the loss, and the mixing of images and labels that belongs to it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reslab.training.recipe import CrossEntropy, RegularizationRecipe

__all__ = ["class_weights", "count_wrong", "make_loss", "make_mixing"]

Loss = Callable[[Tensor, Tensor], Tensor]
Mixing = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def make_loss(recipe: RegularizationRecipe, num_classes: int, labels: NDArray[np.int64] | None = None) -> Loss:
    """The recipe's loss: of float32 logits (N, num_classes) and labels, (N,) indices or (N, num_classes) shares.

    Args:
        recipe: with the loss.
        num_classes: of the logits.
        labels: (N,) of all training images, where the recipe weights the classes.
    """
    smoothing = recipe.label_smoothing
    asked = recipe.loss
    if isinstance(asked, CrossEntropy):
        weights = None
        if recipe.class_weights == "balanced":
            assert labels is not None
            weights = torch.from_numpy(class_weights(labels, num_classes))
        return lambda logits, labels: functional.cross_entropy(
            logits, labels, None if weights is None else weights.to(logits.device), label_smoothing=smoothing
        )

    def binary(logits: Tensor, labels: Tensor) -> Tensor:
        shares = functional.one_hot(labels, num_classes).to(logits.dtype) if labels.ndim == 1 else labels
        if asked.target_threshold:
            shares = (shares > asked.target_threshold).to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, shares * (1 - smoothing) + smoothing / num_classes)

    return binary


def class_weights(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """(num_classes,) weights by which all classes count alike, N / (num_classes * images of the class).

    scikit-learn's `class_weight="balanced"`; a class without images, which no label has, weighs 0.
    """
    counts = np.bincount(labels, minlength=num_classes)
    return np.where(counts > 0, len(labels) / (num_classes * np.maximum(counts, 1)), 0).astype(np.float32)


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


def count_wrong(logits: Tensor, labels: Tensor) -> Tensor:
    """How many images' highest score is another class's; of a mixed image, than the one with the greatest share."""
    classes = labels if labels.ndim == 1 else labels.argmax(dim=1)
    return (logits.detach().argmax(dim=1) != classes).sum()
