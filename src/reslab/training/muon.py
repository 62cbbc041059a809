"""Muon: momentum whose matrix is made orthogonal before it becomes a step (kellerjordan.github.io/posts/muon)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Muon", "orthogonalized"]

# Of the Newton-Schulz iteration X <- a X + b X X' X + c X (X X')^2, chosen by Jordan for its slope at 0: five rounds
# bring any singular value above a hundredth of the largest to between 0.7 and 1.2.
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5
_EPS = 1e-7


class Muon(torch.optim.Optimizer):
    """For groups that say `"orthogonal": True` Muon as airbench trains CIFAR-10 with it, for the others SGD.

    A weight of (out, in, height, width) is a matrix of `out` rows. Before each step it is scaled to the norm of an
    orthogonal one, the root of `out`, which batch norm does not notice; the step is then `lr * factor` of its size,
    and weight decay would do nothing. torch.optim.Muon takes matrices only, and lets their norms grow.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        factor: by which it is multiplied for orthogonal groups.
        momentum: of the gradients.
        nesterov: Nesterov's momentum.
        weight_decay: L2 penalty, added to the gradients of the other groups.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        factor: float = 0.25,
        momentum: float = 0.9,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "factor": factor,
            "momentum": momentum,
            "nesterov": nesterov,
            "weight_decay": weight_decay,
            "orthogonal": False,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of the parameters."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            updates = [self._velocity(parameter, group) for parameter in parameters]
            rate = group["lr"]
            if group["orthogonal"]:
                rate *= group["factor"]
                updates = _orthogonalized_by_shape(updates)
                for parameter in parameters:
                    parameter.mul_(len(parameter) ** 0.5 / parameter.norm().clamp(min=_EPS))
            for parameter, update in zip(parameters, updates, strict=True):
                parameter.add_(update, alpha=-rate)
        return loss

    def _velocity(self, parameter: Tensor, group: dict[str, Any]) -> Tensor:
        """Momentum's step, of SGD and before it is made orthogonal."""
        gradient, state = parameter.grad, self.state[parameter]
        assert gradient is not None
        if group["weight_decay"] and not group["orthogonal"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        velocity: Tensor = state["momentum_buffer"]
        velocity.mul_(group["momentum"]).add_(gradient)
        return gradient.add(velocity, alpha=group["momentum"]) if group["nesterov"] else velocity


def orthogonalized(matrices: Tensor) -> Tensor:
    """Matrices (..., m, n) with the same singular vectors and singular values of about 1.

    By five rounds of a Newton-Schulz iteration, in the matrices' own precision. Singular values end between 0.7 and
    1.2, those below a hundredth of the largest lower.
    """
    a, b, c = _COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    wide = matrices.mT if tall else matrices
    wide = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp(min=_EPS)
    # Every round multiplies X from the left by a polynomial of X X', so only these small matrices need to be followed.
    identity = torch.eye(wide.shape[-2], dtype=wide.dtype, device=wide.device)
    gram, product = wide @ wide.mT, identity
    for _ in range(_ROUNDS):
        factor = a * identity + b * gram + c * gram @ gram
        gram, product = factor @ gram @ factor, factor @ product
    done: Tensor = product @ wide
    return done.mT if tall else done


def _orthogonalized_by_shape(weights: list[Tensor]) -> list[Tensor]:
    """Of convolutions, (out, in, height, width) each; those of a shape together."""
    alike: dict[torch.Size, list[int]] = {}
    for index, weight in enumerate(weights):
        alike.setdefault(weight.shape, []).append(index)
    done = list(weights)
    for indices in alike.values():
        # Columns may come in any order; in this one matrices of channels-last weights need no copy.
        stacked = torch.stack([weights[index].permute(0, 2, 3, 1) for index in indices])
        for index, matrix in zip(indices, orthogonalized(stacked.flatten(2)).view_as(stacked), strict=True):
            done[index] = matrix.permute(0, 3, 1, 2)
    return done
