"""What a block whose shortcut is option A takes of its input, for training on a CPU: a convolution and the shortcut.

Autograd would fill a tensor of the input's size with zeros for the shortcut's gradient, put that into it, and add the
whole to the convolution's; here it is added to the convolution's where the shortcut took it from.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from reslab.models.shortcuts import ParameterFreeShortcut

__all__ = ["entrance"]


class _Entrance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, convolution: nn.Conv2d, shortcut: ParameterFreeShortcut
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight)
        ctx.convolution, ctx.shortcut = convolution, shortcut
        z = functional.conv2d(x, weight, None, *_settings(convolution))
        return z, shortcut(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_z: Tensor, by_shortcut: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, dilation, groups = _settings(ctx.convolution)
        wanted = (*ctx.needs_input_grad[:2], False)
        by_x, by_weight, _ = torch.ops.aten.convolution_backward(
            by_z, x, weight, None, stride, padding, dilation, False, (0, 0), groups, wanted
        )
        if by_x is not None:
            shortcut: ParameterFreeShortcut = ctx.shortcut
            step = shortcut.stride
            by_x[:, :, ::step, ::step] += by_shortcut[:, shortcut.before : shortcut.before + x.shape[1]]
        return by_x, by_weight, None, None


def _settings(convolution: nn.Conv2d) -> tuple[Any, ...]:
    return convolution.stride, convolution.padding, convolution.dilation, convolution.groups


def entrance(convolution: nn.Module, shortcut: nn.Module | None, x: Tensor) -> tuple[Tensor, Tensor] | None:
    """convolution(x) and shortcut(x), where one has no bias and the other is a zero-padded identity (option A).

    Args:
        convolution: any layer.
        shortcut: any, or none.
        x: (N, C, H, W).

    Returns:
        None where they are something else.
    """
    if not (
        type(convolution) is nn.Conv2d
        and convolution.bias is None
        and convolution.padding_mode == "zeros"
        and type(shortcut) is ParameterFreeShortcut
        and not shortcut.pool
    ):
        return None
    weight: Tensor = convolution.weight
    if torch.is_autocast_enabled("cpu") and x.device.type == "cpu":
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
    z, carried = _Entrance.apply(x, weight, convolution, shortcut)
    return z, carried
