"""Which weights of a network are trained when, and how fast, where it begins with those of another training."""

import re
from collections.abc import Mapping
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from reslab.models.features import LAST_GROUP, FeatureNetwork
from reslab.training.recipe import FineTuningRecipe

__all__ = ["block_distances", "choose_trained"]

_CLASSIFIER = (float("inf"),)


def block_distances(model: FeatureNetwork) -> dict[str, int]:
    """How many blocks lie between a parameter and the classifier.

    Args:
        model: whose `group_matcher` says what a block is, as timm reads it.

    Returns:
        By the parameters' names: 0 for the classifier's, 1 for the last block's, and so on to the stem's.
    """
    matcher = model.group_matcher()
    groups = {name: _group(matcher, name) for name, _ in model.named_parameters()}
    numbers: dict[tuple[float, ...], int] = {}
    for group in sorted(set(groups.values())):
        joins = group[-1] == LAST_GROUP[0] and numbers  # a last norm belongs to the block before it
        numbers[group] = max(numbers.values(), default=-1) + (0 if joins else 1)
    last = max(numbers.values())
    return {name: last - numbers[group] for name, group in groups.items()}


def _group(matcher: Mapping[str, Any], name: str) -> tuple[float, ...]:
    """The place of a parameter's group among the others: the stem's first, blocks by their numbers, the classifier."""
    if re.match(matcher["stem"], name):
        return (0.0,)
    blocks = matcher["blocks"]
    for pattern, group in [(blocks, None)] if isinstance(blocks, str) else blocks:
        if found := re.match(pattern, name):
            return (1.0, *(map(float, found.groups())), *(group or ()))
    return _CLASSIFIER


def choose_trained(model: FeatureNetwork, recipe: FineTuningRecipe, iteration: int) -> None:
    """Lets those parameters have gradients, and those layers be in training mode, that are trained at an iteration.

    Where nothing is fine-tuned nothing is done. It depends on nothing but the arguments, so that a resume is the same.

    Args:
        model: in training.
        recipe: resolved.
        iteration: that comes next, from 0.
    """
    if recipe == FineTuningRecipe():
        return
    head_only = iteration < int(recipe.head_first)
    model.train(not head_only)
    for parameter in model.parameters():
        parameter.requires_grad_(not head_only)
    if head_only:
        classifier = model.get_classifier().train()
        for parameter in classifier.parameters():
            parameter.requires_grad_(True)
    elif recipe.norms == "frozen":
        for norm in (module for module in model.modules() if isinstance(module, _BatchNorm)):
            norm.eval()
            for parameter in norm.parameters():
                parameter.requires_grad_(False)
