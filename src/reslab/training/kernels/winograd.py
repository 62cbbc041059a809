"""Convolutions of 3x3 by Winograd's F(4x4, 3x3), for training on a CPU (winograd.cpp)."""

import ctypes
from functools import cache
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from reslab.training.kernels import small_maps
from reslab.training.kernels.compiled import have_kernels, load_kernels

__all__ = ["LANES", "convolve", "has_winograd", "scratch_bytes", "suits", "takes"]

LANES = 16
"""Channels that the kernels take at once, where vectors are widest."""
_FLOAT = 4  # bytes
_TILE = 4  # pixels wide and high
_MOST_OF_TILES = 2  # times the image
_CHANNELS_A_TILE = 4  # measured: 512 channels gain from 128 tiles on, and lose with 64


@cache
def _kernels() -> ctypes.CDLL:
    library = load_kernels("winograd")
    assert library is not None
    flag, address, sizes = ctypes.c_int, ctypes.c_void_p, [ctypes.c_int64] * 5
    library.reslab_winograd_scratch.argtypes = [*sizes, flag, flag]
    library.reslab_winograd_scratch.restype = ctypes.c_int64
    library.reslab_winograd.argtypes = [flag, *[address] * 3, *sizes, flag, address]
    library.reslab_winograd_backward.argtypes = [flag, *[address] * 5, *sizes, flag, address]
    library.reslab_winograd.restype = library.reslab_winograd_backward.restype = None
    return library


def has_winograd() -> bool:
    """Whether this machine has them, and those of blocks, which takes a C++ compiler with OpenMP once."""
    return have_kernels("winograd", "block")


def scratch_bytes(channels: int, threads: int) -> int:
    """What the gradients of a convolution take besides tensors, of so many channels and images of a usual size."""
    size: int = _kernels().reslab_winograd_scratch(128, 32, 32, channels, channels, threads, True)
    return size


def _sizes(x: Tensor, weight: Tensor) -> tuple[int, int, int, int, int]:
    return x.shape[0], x.shape[2], x.shape[3], weight.shape[1], weight.shape[0]


def _scratch(kernels: ctypes.CDLL, sizes: tuple[int, ...], threads: int, *, backward: bool) -> Tensor:
    return torch.empty(kernels.reslab_winograd_scratch(*sizes, threads, backward) // _FLOAT)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        kernels, sizes, threads = _kernels(), _sizes(x, weight), torch.get_num_threads()
        images, height, width, _, channels = sizes
        y = torch.empty((images, channels, height, width), dtype=x.dtype, memory_format=torch.channels_last)
        scratch = _scratch(kernels, sizes, threads, backward=False)
        addresses = (x.data_ptr(), weight.data_ptr(), y.data_ptr())
        kernels.reslab_winograd(x.dtype == torch.bfloat16, *addresses, *sizes, threads, scratch.data_ptr())
        ctx.save_for_backward(x, weight)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        kernels, (x, weight), threads = _kernels(), ctx.saved_tensors, torch.get_num_threads()
        sizes = _sizes(x, weight)
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        by_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        by_weight = torch.empty_like(weight)
        scratch = _scratch(kernels, sizes, threads, backward=True)
        kernels.reslab_winograd_backward(
            x.dtype == torch.bfloat16,
            *(x.data_ptr(), gradient.data_ptr(), weight.data_ptr()),
            *(None if by_x is None else by_x.data_ptr(), by_weight.data_ptr()),
            *(*sizes, threads, scratch.data_ptr()),
        )
        return by_x, by_weight


def suits(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a convolution that the kernels can do: 3x3, stride 1, no bias, channels by the sixteen."""
    return (
        type(module) is nn.Conv2d
        and module.kernel_size == (3, 3)
        and module.stride == module.padding == module.dilation == (1, 1)
        and module.groups == 1
        and module.bias is None
        and module.padding_mode == "zeros"
        and module.in_channels % LANES == module.out_channels % LANES == 0
    )


def takes(module: nn.Module, x: Tensor, channels: int | None = None) -> bool:
    """Whether the kernels do a module's work in training: they can, and gain by it.

    They can on a CPU, in float32 and bfloat16 and in channels-last layout. They do not gain where tiles lie half beyond
    the image, or where there are too few of them for the weights that are transformed.

    Args:
        module: any.
        x: (N, C, H, W).
        channels: of the module's input, where that is computed from x by a layer before it; C by default.
    """
    return (
        suits(module)
        and module.training
        and x.dim() == 4
        and module.in_channels == (x.shape[1] if channels is None else channels)
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.is_contiguous(memory_format=torch.channels_last)
        and module.weight.dtype == torch.float32
        and module.weight.is_contiguous(memory_format=torch.channels_last)
        and _gains(x.shape, max(module.in_channels, module.out_channels))
    )


def _gains(shape: torch.Size, channels: int) -> bool:
    images, _, height, width = shape
    tiles = -(-height // _TILE) * -(-width // _TILE)
    return _TILE**2 * tiles <= _MOST_OF_TILES * height * width and images * tiles * _CHANNELS_A_TILE >= channels


def convolve(convolution: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution by the kernels where they take it, as one product on small maps, and by torch elsewhere.

    Under autocast the input takes its type, and the weights stay float32 all the way.

    Args:
        convolution: the module.
        x: (N, C, H, W).
    """
    if torch.is_autocast_enabled("cpu") and x.device.type == "cpu" and convolution.training:
        x = x.to(torch.get_autocast_dtype("cpu"))
    if small_maps.takes(convolution, x):
        return small_maps.convolve(convolution, x)
    if not takes(convolution, x):
        return nn.Conv2d.forward(convolution, x)
    y: Tensor = _Convolution.apply(x, convolution.weight)
    return y
