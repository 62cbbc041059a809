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

__all__ = ["entrance", "has_entrance"]


class _Entrance(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, convolution: nn.Conv2d, shortcut: ParameterFreeShortcut
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, weight)
        ctx.convolution, ctx.shortcut = convolution, shortcut
        return functional.conv2d(x, weight, None, convolution.stride, convolution.padding), shortcut(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_z: Tensor, by_shortcut: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        convolution, shortcut = ctx.convolution, ctx.shortcut
        settings = (convolution.stride, convolution.padding, convolution.dilation, False, (0, 0), convolution.groups)
        by_x, by_weight, _ = torch.ops.aten.convolution_backward(
            by_z, x, weight, None, *settings, (True, True, False)
        )
        step, kept = shortcut.stride, by_shortcut[:, shortcut.before : shortcut.before + x.shape[1]]
        by_x[:, :, ::step, ::step] += kept
        return by_x, by_weight, None, None


def has_entrance(convolution: nn.Module, shortcut: nn.Module | None) -> bool:
    """Whether `entrance` does the work of both: a convolution without bias, and zero-padded identity (option A)."""
    return (
        type(convolution) is nn.Conv2d
        and convolution.bias is None
        and convolution.padding_mode == "zeros"
        and type(shortcut) is ParameterFreeShortcut
        and not shortcut.pool
    )


def entrance(convolution: nn.Conv2d, shortcut: ParameterFreeShortcut, x: Tensor) -> tuple[Tensor, Tensor]:
    """convolution(x) and shortcut(x).

    Args:
        convolution: as `has_entrance` wants it.
        shortcut: likewise.
        x: (N, C, H, W).
    """
    weight = convolution.weight
    if torch.is_autocast_enabled("cpu") and x.device.type == "cpu":
        dtype = torch.get_autocast_dtype("cpu")
        x, weight = x.to(dtype), weight.to(dtype)
    z, shortcut_of_x = _Entrance.apply(x, weight, convolution, shortcut)
    return z, shortcut_of_x
