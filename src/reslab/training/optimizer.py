"""The optimizer that a recipe describes, with parameters grouped by the kind of module that holds them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from reslab.errors import CheckpointError
from reslab.models.features import FeatureNetwork
from reslab.training import lamb, muon
from reslab.training.fine_tuning import block_distances
from reslab.training.recipe import AdamW, FineTuningRecipe, Lamb, Muon, OptimizerRecipe

__all__ = ["check_optimizer", "make_optimizer", "set_rate"]

_DECAYED_MODULES = (nn.Conv2d, nn.Linear)
_SHARE = "rate_share"
"""Of a group of parameters: what its rate is of the one that the schedule gives."""


def make_optimizer(
    model: nn.Module, recipe: OptimizerRecipe, fine_tuning: FineTuningRecipe | None = None, *, scaled: bool = False
) -> torch.optim.Optimizer:
    """The optimizer over a model's parameters; SGD and AdamW are one fused kernel each, but SGD where it is `scaled`.

    With `decay="weights"` biases and batch norm do not decay, wherever they stand, and with `decay="norms"` nothing
    else does: the module's type decides, not its name, which for a shortcut's batch norm says nothing. Muon makes the
    steps of all convolutions orthogonal but those of the first, whose inputs are few.

    Args:
        model: that is trained; one of ours, whose blocks are known, where it is fine-tuned.
        recipe: of the optimizer.
        fine_tuning: has rates by block, which `set_rate` heeds, and the classifier's own beginning: none by default.
        scaled: whether the loss is scaled, so that steps may be left out. Torch's fused SGD does not endure that of the
            first: it takes for its momentum then what happened to lie in memory.
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
    if fine_tuning and (fine_tuning.layer_decay < 1 or fine_tuning.head_first.value):
        assert isinstance(model, FeatureNetwork)
        groups = _by_block(groups, model, fine_tuning.layer_decay)
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
        groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.nesterov, fused=not scaled
    )


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives all parameters a learning rate, and those of earlier blocks their share of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(_SHARE, 1.0)


def _by_block(groups: list[dict[str, Any]], model: FeatureNetwork, layer_decay: float) -> list[dict[str, Any]]:
    """Groups of parameters that have the same rate, and begin to be trained together: torch's kernels insist on it."""
    distances = block_distances(model)
    names = {parameter: name for name, parameter in model.named_parameters()}
    split = []
    for group in groups:
        parts: dict[int, list[nn.Parameter]] = {}
        for parameter in group["params"]:
            distance = distances[names[parameter]]
            parts.setdefault(distance if layer_decay < 1 else min(distance, 1), []).append(parameter)
        split += [{**group, "params": part, _SHARE: layer_decay**distance} for distance, part in sorted(parts.items())]
    return split


def check_optimizer(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any]) -> None:
    """Holds a saved state to an optimizer's, since torch takes any and fails in the middle of a step.

    Args:
        optimizer: that is to have the state, of parameters with the gradients that they had then.
        saved: its `state_dict`.

    Raises:
        CheckpointError: a number is missing or another kind of thing, or a tensor does not fit its parameter.
    """
    own = optimizer.state_dict()
    groups, states = saved["param_groups"], saved["state"]
    for ours, theirs in zip(own["param_groups"], groups, strict=True):
        for name, value in ours.items():
            if _kind(theirs[name]) != _kind(value) or (name == "params" and theirs[name] != value):
                raise CheckpointError(f"its optimizer has a {name} of {theirs[name]!r}")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    filled = {name: set(state) for name, state in states.items()}
    if len(set(map(frozenset, filled.values()))) > 1:
        raise CheckpointError("its optimizer knows more of some parameters than of others")
    for number, parameter in enumerate(parameters):
        if states and parameter.requires_grad and number not in states:
            raise CheckpointError(f"its optimizer lacks the state of parameter {number}")
        for value in states.get(number, {}).values():
            if not isinstance(value, Tensor) or value.shape not in (parameter.shape, torch.Size()):
                raise CheckpointError(f"its optimizer's state of parameter {number} does not fit it")


def _kind(value: Any) -> Any:
    """Types that may stand for each other are one."""
    if isinstance(value, tuple | list):
        return [_kind(item) for item in value]
    return float if type(value) is int else type(value)
