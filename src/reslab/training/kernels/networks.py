"""Networks that train with the kernels; their modules and parameters stay the same."""

from types import MethodType
from typing import Any

from torch import Tensor, nn

from reslab.models.blocks import BasicBlock, Block, Bottleneck, PreActBasicBlock, PreActBottleneck
from reslab.models.residual import ResNet
from reslab.models.spec import NetSpec
from reslab.training.kernels import small_maps, winograd
from reslab.training.kernels.block import block_output
from reslab.training.kernels.entrances import entrance
from reslab.training.kernels.norms import for_shortcut, norm_relu

__all__ = ["finds_convolutions", "finds_norms", "fuse_norms", "has_small_maps", "scratch_bytes", "use_winograd"]


def finds_norms(spec: NetSpec) -> bool:
    """Whether `fuse_norms` finds blocks in such a network that it can change."""
    usual = spec.family == "resnet" and spec.norm == "batch" and spec.activation == "relu"
    usual = usual and spec.block in ("basic", "bottleneck") and spec.order in ("post", "pre")
    return usual and spec.shortcut != "gated" and not spec.squeeze_excitation and not spec.stochastic_depth


def fuse_norms(model: nn.Module) -> None:
    """Lets the blocks and the stem of a residual network use `norm_relu`; its modules and parameters stay the same."""
    for module in model.modules():
        forward = _FORWARDS.get(type(module))
        if forward is not None and _is_usual(module):
            module.forward = MethodType(forward, module)
        if isinstance(module, ResNet) and module.bn1 is not None and type(module.relu) is nn.ReLU:
            module.run_stem = MethodType(_stem, module)  # type: ignore[method-assign]


def finds_convolutions(spec: NetSpec) -> bool:
    """Whether `use_winograd` finds convolutions in such a network that it can change."""
    if spec.family != "resnet" or spec.conv_bias or spec.groups > 1:
        return False
    return any(width % winograd.LANES == 0 for width in _widths(spec))


def has_small_maps(spec: NetSpec, image_size: tuple[int, int]) -> bool:
    """Whether the last stage's maps are such that `small_maps` takes its convolutions.

    Args:
        spec: of a network in which `finds_convolutions` finds some.
        image_size: height and width.
    """
    strides = len(spec.blocks) - 1 - sum(spec.replace_stride_with_dilation)
    reduction: int = 2**strides * (1 if spec.stem == "cifar" else 4)
    return max(image_size) <= small_maps.MOST_PIXELS * reduction


def scratch_bytes(spec: NetSpec, threads: int) -> int:
    """What the convolutions of `use_winograd` take for a while besides tensors that torch's take too."""
    return winograd.scratch_bytes(max(_widths(spec)), threads)


def _widths(spec: NetSpec) -> tuple[int, ...]:
    """Channels of the stages' convolutions of 3x3."""
    return tuple(map(spec.inner_width, spec.widths)) if spec.block == "bottleneck" else spec.widths


def use_winograd(model: nn.Module) -> None:
    """Lets the convolutions that suit the kernels use them, and basic blocks whose norms are fused be one call."""
    for module in model.modules():
        if winograd.suits(module) or small_maps.suits(module):
            module.forward = MethodType(winograd.convolve, module)  # type: ignore[method-assign]
        elif type(module) is BasicBlock and getattr(module.forward, "__func__", None) is _basic:
            module.forward = MethodType(_whole_basic, module)  # type: ignore[method-assign]


def _is_usual(block: nn.Module) -> bool:
    assert isinstance(block, Block)
    between = (block.se, block.dropout, block.drop_branch, block.gate)
    return type(block.relu) is nn.ReLU and all(item is None for item in between)


def _shortcut(block: Any, x: Tensor) -> Tensor | None:
    if block.plain:
        return None
    x = for_shortcut(x)
    shortcut: Tensor = x if block.downsample is None else block.downsample(x)
    return shortcut


def _basic(block: BasicBlock, x: Tensor) -> Tensor:
    z1, shortcut = _entrance(block, x)
    residual = norm_relu(block.bn1, block.conv1(x) if z1 is None else z1)
    return norm_relu(block.bn2, block.conv2(residual), shortcut)


def _whole_basic(block: BasicBlock, x: Tensor) -> Tensor:
    z1, shortcut = _entrance(block, x)
    return block_output(block, x, shortcut, z1)


def _entrance(block: BasicBlock, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """What the first convolution writes, where it is computed together with the shortcut; and the shortcut."""
    both = None if block.plain else entrance(block.conv1, block.downsample, x)
    return both or (None, _shortcut(block, x))


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
