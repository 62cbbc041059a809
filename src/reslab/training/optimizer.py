"""The optimizer that a recipe describes, with parameters grouped by the kind of module that holds them."""

from typing import Any

import torch
from torch import nn

from reslab.training import lamb, muon
from reslab.training.recipe import AdamW, Lamb, Muon, OptimizerRecipe

__all__ = ["make_optimizer"]

_DECAYED_MODULES = (nn.Conv2d, nn.Linear)


def make_optimizer(model: nn.Module, recipe: OptimizerRecipe) -> torch.optim.Optimizer:
    """The optimizer over a model's parameters; SGD and AdamW are one fused kernel each.

    With `decay="weights"` biases and batch norm do not decay, wherever they stand, and with `decay="norms"` nothing
    else does: the module's type decides, not its name, which for a shortcut's batch norm says nothing. Muon makes the
    steps of all convolutions orthogonal but those of the first, whose inputs are few.
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
