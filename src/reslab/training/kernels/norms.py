"""Batch norm, the addition of a shortcut and ReLU in one kernel, for training on a CPU (norms.cpp)."""

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from reslab.training.kernels.compiled import have_kernels, load_kernels

__all__ = ["NormArguments", "count_batch", "for_shortcut", "has_kernels", "norm_arguments", "norm_relu", "suits"]

_FOR_SHORTCUT = "_reslab_for_shortcut"
_LANES = 16  # channels that the kernels take at once, where vectors are widest


class NormArguments(ctypes.Structure):
    """A batch norm as norms.h has it."""

    _fields_ = [
        *((name, ctypes.c_void_p) for name in ("weight", "bias", "running_mean", "running_variance")),
        *((name, ctypes.c_void_p) for name in ("mean", "inverse_std", "by_weight", "by_bias")),
        *((name, ctypes.c_float) for name in ("eps", "momentum")),
    ]


def norm_arguments(
    weight: Tensor,
    bias: Tensor,
    statistics: Tensor,
    norm: nn.BatchNorm2d | None = None,
    by: tuple[Tensor, Tensor] | None = None,
) -> NormArguments:
    """What the kernels are told of a norm.

    Args:
        weight: (C,).
        bias: (C,).
        statistics: (2, C), for mean and 1 / std of the batch.
        norm: whose moving averages are updated, on the way forward.
        by: for the gradients by weight and bias, on the way back.
    """
    arguments = NormArguments(weight.data_ptr(), bias.data_ptr())
    arguments.mean = statistics.data_ptr()
    arguments.inverse_std = arguments.mean + statistics[0].nbytes
    if norm is not None:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        arguments.running_mean, arguments.running_variance = norm.running_mean.data_ptr(), norm.running_var.data_ptr()
        arguments.eps, arguments.momentum = norm.eps, norm.momentum
    if by is not None:
        arguments.by_weight, arguments.by_bias = (row.data_ptr() for row in by)
    return arguments


@cache
def _kernels() -> ctypes.CDLL:
    library = load_kernels("norms")
    assert library is not None
    flag, address, count, norm = ctypes.c_int, ctypes.c_void_p, ctypes.c_int64, ctypes.POINTER(NormArguments)
    library.reslab_norm_relu.argtypes = [flag, *[address] * 3, count, count, norm, flag]
    library.reslab_norm_relu_backward.argtypes = [flag, *[address] * 4, count, count, norm, *[address] * 2, flag]
    library.reslab_norm_relu.restype = library.reslab_norm_relu_backward.restype = None
    return library


def has_kernels() -> bool:
    """Whether this machine has them, which takes a C++ compiler with OpenMP once."""
    return have_kernels("norms")


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, norm: nn.BatchNorm2d
    ) -> tuple[Tensor, Tensor]:
        kernels, channels, y = _kernels(), x.shape[1], torch.empty_like(x)
        statistics = torch.empty(2, channels)
        kernels.reslab_norm_relu(
            x.dtype == torch.bfloat16,
            *(x.data_ptr(), None if residual is None else residual.data_ptr(), y.data_ptr()),
            *(x.numel() // channels, channels, norm_arguments(weight, bias, statistics, norm)),
            torch.get_num_threads(),
        )
        ctx.save_for_backward(x, y, weight, bias, statistics)
        ctx.has_residual = residual is not None
        ctx.set_materialize_grads(False)
        # The same memory twice, with a gradient for each.
        return y, torch.empty(0, dtype=y.dtype).set_(y.untyped_storage(), 0, y.shape, y.stride())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *by_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        kernels, (x, y, weight, bias, statistics) = _kernels(), ctx.saved_tensors
        channels = x.shape[1]
        gradients = [
            gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
            for gradient in by_outputs
            if gradient is not None
        ]
        second = gradients[1].data_ptr() if len(gradients) > 1 else None
        by_x, by_norm = torch.empty_like(x), (torch.empty_like(weight), torch.empty_like(bias))
        by_residual = torch.empty_like(x) if ctx.has_residual else None
        kernels.reslab_norm_relu_backward(
            x.dtype == torch.bfloat16,
            *(gradients[0].data_ptr(), second, y.data_ptr(), x.data_ptr(), x.numel() // channels, channels),
            norm_arguments(weight, bias, statistics, by=by_norm),
            *(by_x.data_ptr(), None if by_residual is None else by_residual.data_ptr(), torch.get_num_threads()),
        )
        return by_x, *by_norm, by_residual, None


def norm_relu(norm: nn.Module, x: Tensor, residual: Tensor | None = None) -> Tensor:
    """relu(norm(x) + residual), in one kernel where norm is batch norm in training and the tensors suit it.

    They do in float32 and bfloat16, in channels-last layout, with channels by the sixteen.

    Args:
        norm: whose moving averages are updated as its own `forward` does.
        x: (N, C, H, W).
        residual: the same; none by default.
    """
    if not suits(norm, x) or (residual is not None and (residual.shape, residual.dtype) != (x.shape, x.dtype)):
        normalized: Tensor = norm(x)
        return functional.relu(normalized if residual is None else normalized + residual)
    assert isinstance(norm, nn.BatchNorm2d)
    if residual is not None:
        residual = residual.contiguous(memory_format=torch.channels_last)
    y: Tensor
    y, for_shortcut = _NormReLU.apply(x, norm.weight, norm.bias, residual, norm)
    setattr(y, _FOR_SHORTCUT, for_shortcut)
    count_batch(norm)
    return y


def for_shortcut(y: Tensor) -> Tensor:
    """What `norm_relu` gave, for a second use: the kernel reads the gradients of the two, which autograd would add up.

    Args:
        y: any tensor; of `norm_relu` where that used the kernel, or it is given back as it is.
    """
    other: Tensor = getattr(y, _FOR_SHORTCUT, y)
    return other


def count_batch(norm: nn.Module) -> None:
    """What a batch norm's own `forward` does besides computing."""
    if isinstance(norm.num_batches_tracked, Tensor):
        norm.num_batches_tracked.add_(1)


def suits(norm: nn.Module, x: Tensor, channels: int | None = None) -> bool:
    """Whether a norm and its input are what the kernels are for.

    Args:
        norm: any.
        x: (N, C, H, W).
        channels: of the norm's input, where that is computed from x by a layer before it; C by default.
    """
    return (
        type(norm) is nn.BatchNorm2d
        and norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and norm.weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.dim() == 4
        and norm.num_features == (x.shape[1] if channels is None else channels)
        and norm.num_features % _LANES == 0
        and x.numel() > x.shape[1]
        and x.is_contiguous(memory_format=torch.channels_last)
    )
