"""LAMB: Adam whose step is scaled, layer by layer, to the size of the weights (arXiv 1904.00962)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["Lamb"]


class Lamb(torch.optim.Optimizer):
    """As timm and NVIDIA's Apex compute it, which "ResNet strikes back" (arXiv 2110.00476) trained with.

    Parameters of groups without weight decay take Adam's step, not scaled.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: of the averages of gradients and their squares.
        eps: added to the root of the latter.
        weight_decay: added to the step, times the weights.
        max_grad_norm: to which the gradients' norm over all parameters is scaled down first.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "max_grad_norm": max_grad_norm,
            "step": 0,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of the parameters."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        gradients = [item.grad for group in self.param_groups for item in group["params"] if item.grad is not None]
        if not gradients:
            return loss
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
        for group in self.param_groups:
            group["step"] += 1
            scale = (norm / group["max_grad_norm"]).clamp(min=1.0)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad / scale, group)
        return loss

    def _update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - beta1)
        square.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        correction1, correction2 = 1 - beta1 ** group["step"], 1 - beta2 ** group["step"]
        update = (mean / correction1) / ((square / correction2).sqrt_() + group["eps"])
        if group["weight_decay"]:
            update.add_(parameter, alpha=group["weight_decay"])
            ratio = parameter.norm() / update.norm()
            update.mul_(torch.where(torch.isfinite(ratio) & (ratio > 0), ratio, torch.ones_like(ratio)))
        parameter.add_(update, alpha=-group["lr"])
