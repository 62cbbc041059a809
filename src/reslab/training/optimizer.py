"""SGD or LAMB as the recipe describes it, with parameters grouped by the kind of module that holds them."""

import torch
from torch import nn

from reslab.training.lamb import Lamb
from reslab.training.recipe import OptimizerRecipe

__all__ = ["make_optimizer"]

_DECAYED_MODULES = (nn.Conv2d, nn.Linear)


def make_optimizer(model: nn.Module, recipe: OptimizerRecipe) -> torch.optim.Optimizer:
    """The optimizer over a model's parameters; SGD is one fused kernel.

    With `decay="weights"` biases and batch norm do not decay, wherever they stand: the module's type decides, not its
    name, which for a shortcut's batch norm says nothing.
    """
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            decays = recipe.decay == "all" or (isinstance(module, _DECAYED_MODULES) and name == "weight")
            (decayed if decays else undecayed).append(parameter)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}]
    if undecayed:
        groups.append({"params": undecayed, "weight_decay": 0.0})
    if recipe.kind == "lamb":
        return Lamb(groups, recipe.learning_rate, betas=(recipe.momentum, 0.999))
    return torch.optim.SGD(
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=True
    )
