"""A basic block's branch and what joins it in one call, for training on a CPU (block.cpp)."""

import ctypes
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from reslab.models.blocks import BasicBlock
from reslab.training.kernels import norms, winograd
from reslab.training.kernels.compiled import load_kernels
from reslab.training.kernels.norms import NormArguments, norm_arguments

__all__ = ["block_output"]

_FLOAT = 4  # bytes


class _Arguments(ctypes.Structure):
    """A block as block.cpp has it."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "in_channels", "channels")),
        *((name, ctypes.c_void_p) for name in ("x", "residual", "w1", "w2", "z1", "z2", "y")),
        *((name, NormArguments) for name in ("norm1", "norm2")),
        *((name, ctypes.c_void_p) for name in ("gradient", "by_x", "by_residual", "by_z1", "by_w1", "by_w2")),
        ("scratch", ctypes.c_void_p),
        ("parts", ctypes.c_int),
    ]


@cache
def _kernels() -> ctypes.CDLL:
    library = load_kernels("block")
    assert library is not None
    block = ctypes.POINTER(_Arguments)
    library.reslab_block_scratch.argtypes, library.reslab_block_scratch.restype = [block], ctypes.c_int64
    library.reslab_block.argtypes = library.reslab_block_backward.argtypes = [ctypes.c_int, block]
    library.reslab_block.restype = library.reslab_block_backward.restype = None
    return library


def _arguments(z: Tensor, x: Tensor | None, **others: Tensor | None) -> _Arguments:
    """Of a block whose convolutions write what has the shape of `z`; the tensors, by their names there."""
    images, channels, height, width = z.shape
    arguments = _Arguments(images, height, width, channels if x is None else x.shape[1], channels)
    for name, tensor in {"x": x, **others}.items():
        setattr(arguments, name, None if tensor is None else tensor.data_ptr())
    arguments.parts = torch.get_num_threads()
    return arguments


def _with_scratch(kernels: ctypes.CDLL, arguments: _Arguments) -> Tensor:
    scratch = torch.empty(kernels.reslab_block_scratch(arguments) // _FLOAT)
    arguments.scratch = scratch.data_ptr()
    return scratch


class _Block(torch.autograd.Function):
    """Of x, or of z1 where the first convolution is computed elsewhere."""

    # As many arguments as there are tensors with gradients, which autograd finds among the arguments alone.
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor | None,
        z1: Tensor | None,
        residual: Tensor | None,
        w1: Tensor | None,
        w2: Tensor,
        gamma1: Tensor,
        beta1: Tensor,
        gamma2: Tensor,
        beta2: Tensor,
        block: BasicBlock,
        is_identity: bool,
    ) -> Tensor:
        kernels = _kernels()
        like = x if x is not None else z1
        assert like is not None
        assert isinstance(block.bn1, nn.BatchNorm2d)
        assert isinstance(block.bn2, nn.BatchNorm2d)
        shape = (like.shape[0], w2.shape[0], *like.shape[2:])
        if z1 is None:
            z1 = torch.empty(shape, dtype=like.dtype, memory_format=torch.channels_last)
        z2, y = torch.empty_like(z1), torch.empty_like(z1)
        statistics = torch.empty(2, 2, len(gamma1))
        joined = x if is_identity else residual
        arguments = _arguments(z2, x, residual=joined, w1=w1, w2=w2, z1=z1, z2=z2, y=y)
        arguments.norm1 = norm_arguments(gamma1, beta1, statistics[0], block.bn1)
        arguments.norm2 = norm_arguments(gamma2, beta2, statistics[1], block.bn2)
        scratch = _with_scratch(kernels, arguments)
        kernels.reslab_block(z1.dtype == torch.bfloat16, arguments)
        del scratch
        ctx.save_for_backward(x, z1, z2, y, w1, w2, gamma1, beta1, gamma2, beta2, statistics)
        ctx.is_identity, ctx.has_residual = is_identity, residual is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kernels = _kernels()
        x, z1, z2, y, w1, w2, gamma1, beta1, gamma2, beta2, statistics = ctx.saved_tensors
        gradient = gradient.to(z1.dtype).contiguous(memory_format=torch.channels_last)
        by_x = None if x is None else torch.empty_like(x)
        by_residual = torch.empty_like(y) if ctx.has_residual else None
        by_z1, by_w1, by_w2 = torch.empty_like(z1), None if x is None else torch.empty_like(w1), torch.empty_like(w2)
        by_norms = [(torch.empty_like(gamma1), torch.empty_like(gamma1)) for _ in range(2)]
        joined = x if ctx.is_identity else by_residual  # to the kernel, that there is a shortcut
        kept = {"residual": joined, "w1": w1, "w2": w2, "z1": z1, "z2": z2, "y": y, "gradient": gradient}
        wanted = {"by_x": by_x, "by_residual": by_residual, "by_z1": by_z1, "by_w1": by_w1, "by_w2": by_w2}
        arguments = _arguments(z2, x, **kept, **wanted)
        arguments.norm1 = norm_arguments(gamma1, beta1, statistics[0], by=by_norms[0])
        arguments.norm2 = norm_arguments(gamma2, beta2, statistics[1], by=by_norms[1])
        scratch = _with_scratch(kernels, arguments)
        kernels.reslab_block_backward(z1.dtype == torch.bfloat16, arguments)
        del scratch
        by_norm_parameters = [row for norm in by_norms for row in norm]
        return by_x, None if x is not None else by_z1, by_residual, by_w1, by_w2, *by_norm_parameters, None, None


def block_output(block: BasicBlock, x: Tensor, shortcut: Tensor | None, z1: Tensor | None = None) -> Tensor:
    """relu(norm2(conv2(relu(norm1(conv1(x))))) + shortcut): in one call where everything in it suits that.

    The second convolution has to suit `winograd` and both norms `norms`; the first convolution is part of the call
    where it suits too.

    Args:
        block: of two convolutions, each with a norm, and ReLU.
        x: (N, C, H, W).
        shortcut: what is added, x itself where it is the identity; None in plain nets.
        z1: what the first convolution writes, where it has been computed.
    """
    is_identity = shortcut is x or shortcut is norms.for_shortcut(x)
    if torch.is_autocast_enabled("cpu") and x.device.type == "cpu":
        x = x.to(torch.get_autocast_dtype("cpu"))
    has_conv1 = z1 is None and winograd.takes(block.conv1, x)
    if z1 is None and not has_conv1:
        z1 = block.conv1(x)
    first = x if z1 is None else z1
    channels = block.conv2.out_channels
    shape = (first.shape[0], channels, *first.shape[2:])
    # The kernel reads and writes by this shape alone, so that everything has to have it.
    suits = (
        block.conv1.out_channels == block.conv2.in_channels == channels
        and winograd.takes(block.conv2, first, channels)
        and norms.suits(block.bn1, first, channels)
        and norms.suits(block.bn2, first, channels)
        and (shortcut is None or (shortcut.dtype, shortcut.shape) == (first.dtype, shape))
    )
    if not suits:
        z1 = block.conv1(x) if z1 is None else z1
        return norms.norm_relu(block.bn2, block.conv2(norms.norm_relu(block.bn1, z1)), shortcut)
    is_identity = is_identity and has_conv1  # else it is another tensor to the kernel
    residual = None if is_identity or shortcut is None else shortcut.contiguous(memory_format=torch.channels_last)
    y: Tensor = _Block.apply(
        *(x if has_conv1 else None, z1, residual, block.conv1.weight if has_conv1 else None, block.conv2.weight),
        *(block.bn1.weight, block.bn1.bias, block.bn2.weight, block.bn2.bias, block, is_identity),
    )
    for norm in (block.bn1, block.bn2):
        norms.count_batch(norm)
    return y
