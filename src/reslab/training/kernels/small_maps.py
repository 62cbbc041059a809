"""Convolutions of 3x3 on maps of 1x1 and 2x2 pixels as one matrix product, for training on a CPU.

There each pixel of the output sees every pixel of the input, so that a convolution is a product of (N, pixels x C) with
a matrix whose entries are the weights at the taps between two pixels. A direct convolution multiplies the padding, too:
of nine taps it needs one on a map of 1x1, and four on one of 2x2. The last stages of ImageNet's networks have such maps
for images of 32 and 64 pixels.
"""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["MOST_PIXELS", "convolve", "suits", "takes"]

MOST_PIXELS = 2
"""Of a map, wide and high."""
_LEAST_IMAGES = 16  # for which it pays to put the matrix together

_Pair = tuple[int, int, int]  # pixels of the output and of the input, and the tap between them


def _pairs(shape: torch.Size, stride: int) -> list[_Pair]:
    """Of maps (N, C, H, W); all pixels of the output with all of the input, row by row."""
    height, width = shape[2:]
    high, wide = -(-height // stride), -(-width // stride)
    return [
        (i * wide + j, k * width + m, (k - i * stride + 1) * 3 + m - j * stride + 1)
        for i in range(high)
        for j in range(wide)
        for k in range(height)
        for m in range(width)
    ]


def _by_tap(weight: Tensor) -> Tensor:
    """(O, 9, C) of weights (O, C, 3, 3) in channels-last layout: the same memory."""
    return weight.permute(0, 2, 3, 1).flatten(1, 2)


def _matrix(weight: Tensor, pairs: list[_Pair], dtype: torch.dtype) -> Tensor:
    """(pixels of the output x O, pixels of the input x C)."""
    taps = _by_tap(weight)
    outputs, inputs = (1 + max(pair[side] for pair in pairs) for side in (0, 1))
    matrix = torch.empty(outputs, taps.shape[0], inputs, taps.shape[2], dtype=dtype)
    for p, q, tap in pairs:
        matrix[p, :, q] = taps[:, tap]
    return matrix.flatten(2).flatten(0, 1)


def _rows(maps: Tensor) -> Tensor:
    """(N, H x W x C) of maps (N, C, H, W) in channels-last layout: the same memory."""
    return maps.permute(0, 2, 3, 1).flatten(1)


def _maps(rows: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """(N, C, H, W) in channels-last layout, of rows (N, H x W x C)."""
    channels, height, width = shape
    return rows.view(-1, height, width, channels).permute(0, 3, 1, 2)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.pairs = pairs = _pairs(x.shape, stride)
        y = _rows(x) @ _matrix(weight, pairs, x.dtype).t()
        height, width = (-(-side // stride) for side in x.shape[2:])
        return _maps(y, (weight.shape[0], height, width))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None]:
        x, weight = ctx.saved_tensors
        by_y = _rows(gradient.to(x.dtype).contiguous(memory_format=torch.channels_last))
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = _maps(by_y @ _matrix(weight, ctx.pairs, x.dtype), tuple(x.shape[1:]))
        by_matrix = (by_y.t() @ _rows(x)).view(-1, weight.shape[0], x.shape[2] * x.shape[3], x.shape[1])
        by_weight = torch.zeros_like(weight)  # channels-last, as the weights are
        by_tap = _by_tap(by_weight)
        for p, q, tap in ctx.pairs:
            by_tap[:, tap] += by_matrix[p, :, q]
        return by_x, by_weight, None


def suits(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a convolution that can be done so: 3x3, stride 1 or 2, no bias."""
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (3, 3)
        and module.stride in ((1, 1), (2, 2))
        and module.padding == module.dilation == (1, 1)
        and module.groups == 1
        and module.bias is None
        and module.padding_mode == "zeros"
    )


def takes(module: nn.Module, x: Tensor) -> bool:
    """Whether a module's work in training is done so: on a CPU, in channels-last layout, for maps that small.

    Args:
        module: any.
        x: (N, C, H, W).
    """
    return (
        suits(module)
        and module.training
        and x.dim() == 4
        and x.shape[0] >= _LEAST_IMAGES
        and x.shape[1] == module.in_channels
        and max(x.shape[2:]) <= MOST_PIXELS
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.is_contiguous(memory_format=torch.channels_last)
        and module.weight.dtype == torch.float32
        and module.weight.is_contiguous(memory_format=torch.channels_last)
    )


def convolve(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """What a convolution gives for a tensor that `takes` takes.

    Args:
        convolution: the module.
        x: (N, C, H, W).
    """
    y: Tensor = _Product.apply(x, convolution.weight, convolution.stride[0])
    return y
