"""Batch norm, the addition of a shortcut and ReLU in one kernel, for training on a CPU (norm_kernels.cpp)."""

import ctypes
from pathlib import Path
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from reslab.models.blocks import BasicBlock, Block, Bottleneck, PreActBasicBlock, PreActBottleneck
from reslab.models.resnet import ResNet
from reslab.models.spec import NetSpec
from reslab.training.native import load_native

__all__ = ["finds_norms", "fuse_norms", "has_kernels", "norm_relu"]

_SOURCE = Path(__file__).with_name("norm_kernels.cpp")
_INSTRUCTIONS = {"AVX512": ["-march=x86-64-v4", "-mprefer-vector-width=512"], "AVX2": ["-march=x86-64-v3"]}
_LANES = 16  # of the kernels
_FLOAT = 4  # bytes


_loaded: list[ctypes.CDLL] = []


def _kernels() -> ctypes.CDLL | None:
    if _loaded:
        return _loaded[0]
    capability = torch.backends.cpu.get_cpu_capability()
    # The OpenMP that torch brings, whatever its file is called: with the system's there could be two pools of threads.
    openmp = sorted(map(str, (Path(torch.__file__).parent / "lib").glob("libgomp*")))
    linked = ["-Wl,--as-needed", *openmp] if openmp else []
    library = load_native(_SOURCE, ["-O3", "-fopenmp", *linked, *_INSTRUCTIONS.get(capability, [])])
    if library is None:
        return None
    address, count = ctypes.c_void_p, ctypes.c_int64
    # fmt: off
    library.reslab_norm_relu.argtypes = [
        ctypes.c_int, *[address] * 3, count, count, *[address] * 2, *[ctypes.c_float] * 2, *[address] * 4, ctypes.c_int,
    ]
    library.reslab_norm_relu_backward.argtypes = [
        ctypes.c_int, *[address] * 3, count, count, *[address] * 7, ctypes.c_int,
    ]
    # fmt: on
    library.reslab_norm_relu.restype = library.reslab_norm_relu_backward.restype = None
    _loaded.append(library)
    return library


def has_kernels() -> bool:
    """Whether this machine has them, which takes a C++ compiler with OpenMP once."""
    return _kernels() is not None


class _NormReLU(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, residual: Tensor | None, norm: nn.BatchNorm2d
    ) -> Tensor:
        kernels, channels, y = _kernels(), x.shape[1], torch.empty_like(x)
        statistics = torch.empty(2, channels)  # mean, 1 / std
        mean = statistics.data_ptr()
        assert kernels is not None
        assert norm.running_mean is not None
        assert norm.running_var is not None
        kernels.reslab_norm_relu(
            x.dtype == torch.bfloat16,
            *(x.data_ptr(), None if residual is None else residual.data_ptr(), y.data_ptr()),
            *(x.numel() // channels, channels, weight.data_ptr(), bias.data_ptr(), norm.eps, norm.momentum),
            *(mean, mean + _FLOAT * channels, norm.running_mean.data_ptr(), norm.running_var.data_ptr()),
            torch.get_num_threads(),
        )
        ctx.save_for_backward(x, y, weight, statistics)
        ctx.has_residual = residual is not None
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kernels, (x, y, weight, statistics) = _kernels(), ctx.saved_tensors
        assert kernels is not None
        channels, mean = x.shape[1], statistics.data_ptr()
        gradient = gradient.to(x.dtype).contiguous(memory_format=torch.channels_last)
        by_x, by_weight, by_bias = torch.empty_like(x), torch.empty(channels), torch.empty(channels)
        by_residual = torch.empty_like(x) if ctx.has_residual else None
        kernels.reslab_norm_relu_backward(
            x.dtype == torch.bfloat16,
            *(gradient.data_ptr(), y.data_ptr(), x.data_ptr(), x.numel() // channels, channels),
            *(weight.data_ptr(), mean, mean + _FLOAT * channels),
            *(by_x.data_ptr(), None if by_residual is None else by_residual.data_ptr()),
            *(by_weight.data_ptr(), by_bias.data_ptr(), torch.get_num_threads()),
        )
        return by_x, by_weight, by_bias, by_residual, None


def norm_relu(norm: nn.Module, x: Tensor, residual: Tensor | None = None) -> Tensor:
    """relu(norm(x) + residual), in one kernel where norm is batch norm in training and the tensors suit it.

    They do in float32 and bfloat16, in channels-last layout, with channels by the sixteen.

    Args:
        norm: whose moving averages are updated as its own `forward` does.
        x: (N, C, H, W).
        residual: the same; none by default.
    """
    if not _suits(norm, x) or (residual is not None and (residual.shape, residual.dtype) != (x.shape, x.dtype)):
        normalized: Tensor = norm(x)
        return functional.relu(normalized if residual is None else normalized + residual)
    assert isinstance(norm, nn.BatchNorm2d)
    if residual is not None:
        residual = residual.contiguous(memory_format=torch.channels_last)
    y: Tensor = _NormReLU.apply(x, norm.weight, norm.bias, residual, norm)
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    return y


def _suits(norm: nn.Module, x: Tensor) -> bool:
    return (
        type(norm) is nn.BatchNorm2d
        and norm.training
        and norm.affine
        and norm.track_running_stats
        and norm.momentum is not None
        and norm.weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and x.shape[1] % _LANES == 0
        and x.numel() > x.shape[1]
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def finds_norms(spec: NetSpec) -> bool:
    """Whether `fuse_norms` finds blocks in such a network that it can change."""
    usual = spec.family == "resnet" and spec.norm == "batch" and spec.activation == "relu"
    return usual and spec.shortcut != "gated" and not spec.squeeze_excitation and not spec.stochastic_depth


def fuse_norms(model: nn.Module) -> None:
    """Lets the blocks and the stem of a residual network use `norm_relu`; its modules and parameters stay the same."""
    for module in model.modules():
        forward = _FORWARDS.get(type(module))
        if forward is not None and _is_usual(module):
            module.forward = MethodType(forward, module)
        if isinstance(module, ResNet) and module.bn1 is not None and type(module.relu) is nn.ReLU:
            module.run_stem = MethodType(_stem, module)  # type: ignore[method-assign]


def _is_usual(block: nn.Module) -> bool:
    assert isinstance(block, Block)
    between = (block.se, block.dropout, block.drop_branch, block.gate)
    return type(block.relu) is nn.ReLU and all(item is None for item in between)


def _shortcut(block: Any, x: Tensor) -> Tensor | None:
    if block.plain:
        return None
    shortcut: Tensor = x if block.downsample is None else block.downsample(x)
    return shortcut


def _basic(block: BasicBlock, x: Tensor) -> Tensor:
    residual = norm_relu(block.bn1, block.conv1(x))
    return norm_relu(block.bn2, block.conv2(residual), _shortcut(block, x))


def _bottleneck(block: Bottleneck, x: Tensor) -> Tensor:
    residual = norm_relu(block.bn1, block.conv1(x))
    residual = norm_relu(block.bn2, block.conv2(residual))
    return norm_relu(block.bn3, block.conv3(residual), _shortcut(block, x))


def _preact_basic(block: PreActBasicBlock, x: Tensor) -> Tensor:
    activated = norm_relu(block.bn1, x)
    residual = block.conv2(norm_relu(block.bn2, block.conv1(activated)))
    return block.add_shortcut(activated if block.shares_activation else x, residual)


def _preact_bottleneck(block: PreActBottleneck, x: Tensor) -> Tensor:
    activated = norm_relu(block.bn1, x)
    residual = norm_relu(block.bn2, block.conv1(activated))
    residual = block.conv3(norm_relu(block.bn3, block.conv2(residual)))
    return block.add_shortcut(activated if block.shares_activation else x, residual)


def _stem(model: ResNet, images: Tensor) -> Tensor:
    assert model.bn1 is not None
    return norm_relu(model.bn1, model.conv1(images))


_FORWARDS: dict[type[nn.Module], Any] = {
    BasicBlock: _basic,
    Bottleneck: _bottleneck,
    PreActBasicBlock: _preact_basic,
    PreActBottleneck: _preact_bottleneck,
}
