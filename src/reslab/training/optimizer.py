"""The optimizer that a recipe describes, with parameters grouped by the kind of module that holds them."""

from typing import Any

import torch
from torch import nn

from reslab.models.features import FeatureNetwork
from reslab.training import lamb, muon
from reslab.training.fine_tuning import block_distances
from reslab.training.recipe import AdamW, Lamb, Muon, OptimizerRecipe

__all__ = ["make_optimizer", "set_rate"]

_DECAYED_MODULES = (nn.Conv2d, nn.Linear)
_SHARE = "rate_share"
"""Of a group of parameters: what its rate is of the one that the schedule gives."""


def make_optimizer(model: nn.Module, recipe: OptimizerRecipe, *, layer_decay: float = 1.0) -> torch.optim.Optimizer:
    """The optimizer over a model's parameters; SGD and AdamW are one fused kernel each.

    With `decay="weights"` biases and batch norm do not decay, wherever they stand, and with `decay="norms"` nothing
    else does: the module's type decides, not its name, which for a shortcut's batch norm says nothing. Muon makes the
    steps of all convolutions orthogonal but those of the first, whose inputs are few.

    Args:
        model: that is trained; with a `layer_decay` one of ours, whose blocks are known.
        recipe: of the optimizer.
        layer_decay: rate of a block's parameters as a share of the next block's; `set_rate` heeds it.
    """
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    orthogonal: list[nn.Parameter] = []
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            weight = isinstance(module, _DECAYED_MODULES) and name == "weight"
            if isinstance(recipe, Muon) and weight and module in convolutions[1:]:
                orthogonal.append(parameter)
            else:
                decays = recipe.decay == "all" or weight == (recipe.decay == "weights")
                (decayed if decays else undecayed).append(parameter)
    groups: list[dict[str, Any]] = [{"params": decayed, "weight_decay": recipe.weight_decay}]
    if undecayed:
        groups.append({"params": undecayed, "weight_decay": 0.0})
    if orthogonal:
        groups.append({"params": orthogonal, "weight_decay": 0.0, "orthogonal": True})
    if layer_decay < 1:
        assert isinstance(model, FeatureNetwork)
        groups = _by_block(groups, model, layer_decay)
    if isinstance(recipe, AdamW):
        return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.eps, fused=True)
    if isinstance(recipe, Lamb):
        return lamb.Lamb(groups, recipe.learning_rate, betas=recipe.betas, eps=recipe.eps)
    if isinstance(recipe, Muon):
        return muon.Muon(
            groups,
            recipe.learning_rate,
            factor=recipe.orthogonal_factor,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
        )
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives all parameters a learning rate, and those of earlier blocks their share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(_SHARE, 1.0)


def _by_block(groups: list[dict[str, Any]], model: FeatureNetwork, layer_decay: float) -> list[dict[str, Any]]:
    distances = block_distances(model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    split = []
    for group in groups:
        parts: dict[int, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            parts.setdefault(distances[names[parameter]], []).append(parameter)
        split += [{**group, "params": part, _SHARE: layer_decay**distance} for distance, part in sorted(parts.items())]
    return split
