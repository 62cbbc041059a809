"""What the paper's Fig. 3 shows of a network, read from its modules: boxes and shortcuts, layer by layer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Literal

import torch
from torch import nn

from reslab.analysis.complexity import summarize
from reslab.models.blocks import Block
from reslab.models.build import build
from reslab.models.layers import SqueezeExcitation
from reslab.models.shortcuts import ParameterFreeShortcut
from reslab.models.spec import NetSpec
from reslab.models.vgg import VGG
from reslab.models.zoo import spell

__all__ = ["Architecture", "Row", "Shortcut", "Size", "Unit", "describe"]

_MOST_BLOCKS = 60  # drawn one by one: a picture of ResNet-152, which has 50, can still be followed

Kind = Literal["conv", "pool", "fc"]
Size = tuple[int, int]


@dataclass(frozen=True)
class Row:
    """A box: a weighted layer or a pooling.

    Args:
        kind: of the layer.
        text: as in `3x3 conv, 64, /2`.
        size: height and width of its output.
        stage: for its colour. A VGG's are counted from 0 and a residual net's from 2 after a stem of 1, so that equal
            maps of both have equal colours, as in Fig. 3.
    """

    kind: Kind
    text: str
    size: Size
    stage: int


@dataclass(frozen=True)
class Shortcut:
    """What goes around a block.

    Args:
        grows: whether the block's output has other dimensions than its input, which Fig. 3 dots.
        text: what it does besides carrying its input on; empty for the identity.
    """

    grows: bool
    text: str


@dataclass(frozen=True)
class Unit:
    """Boxes that belong together: those of a block, or a single one outside of the blocks.

    Args:
        rows: from input to output.
        is_block: whether they are a block's.
        shortcut: None in a plain net and outside of the blocks.
        times: how many equal ones follow each other here.
    """

    rows: tuple[Row, ...]
    is_block: bool = False
    shortcut: Shortcut | None = None
    times: int = 1

    @property
    def size(self) -> Size:
        """Height and width of the output."""
        return self.rows[-1].size


@dataclass(frozen=True)
class Architecture:
    """What a picture shows of a network.

    Args:
        name: of the network.
        notes: its depth and cost, a line each.
        image: height, width and channels of its input.
        units: from input to output.
    """

    name: str
    notes: tuple[str, ...]
    image: tuple[int, int, int]
    units: tuple[Unit, ...]


# What there is to draw


def describe(spec: NetSpec, image_size: Size, *, name: str | None = None) -> Architecture:
    """A network's boxes and shortcuts, read from its modules.

    In a network of more than 60 blocks, equal ones that follow each other become one with a number.

    Args:
        spec: the network.
        image_size: height and width.
        name: as the picture calls it; the shortest spelling by default.

    Raises:
        ModelError: the images are too small for the network.
    """
    summary = summarize(spec, image_size)
    sizes = {layer.name: _size(layer.output_shape) for layer in summary.layers}
    with torch.device("meta"):
        network = build(spec)
    units = list(_units(network, sizes))
    if sum(unit.is_block for unit in units) > _MOST_BLOCKS:
        units = [replace(unit, times=len(list(equal))) for unit, equal in groupby(units)]
    notes = [f"{spec.depth:,} layers", f"{_count(summary.macs)} multiply-adds"]
    if spec.order != "post":
        notes.append("norm, activation, convolution" if spec.order == "pre" else spec.order.replace("-", " "))
    return Architecture(name or spell(spec), tuple(notes), (*image_size, spec.in_channels), tuple(units))


def _count(number: int) -> str:
    return f"{number / 1e9:.3g} G" if number >= 1e9 else f"{number / 1e6:.3g} M"


def _size(shape: tuple[int, ...]) -> Size:
    """Height and width of (N, C, H, W); of (N, C), a fully-connected layer's, 1 and 1."""
    return (shape[2], shape[3]) if len(shape) == 4 else (1, 1)


def _units(network: nn.Module, sizes: dict[str, Size]) -> Iterator[Unit]:
    is_vgg = isinstance(network, VGG)
    stage = 0 if is_vgg else 1
    size = (0, 0)
    for name, module in _parts(network, ""):
        if name.startswith("layer"):
            stage = int(name.partition(".")[0].removeprefix("layer")) + 1
        if isinstance(module, Block):
            branch = [(key, child) for key, child in module.named_children() if key not in ("downsample", "gate")]
            rows = [_row(child, sizes.get(f"{name}.{key}", size), stage) for key, child in branch]
            yield Unit(tuple(row for row in rows if row), True, _shortcut(module))
        elif (row := _row(module, sizes[name], stage)) and not (
            isinstance(module, nn.AdaptiveAvgPool2d) and size == row.size != (1, 1)  # a VGG's, where it does nothing
        ):
            yield Unit((row,))
        size = sizes[name]
        if is_vgg and isinstance(module, nn.MaxPool2d):
            stage += 1


def _parts(module: nn.Module, name: str) -> Iterator[tuple[str, nn.Module]]:
    """Blocks, and layers outside of them; modules are defined in the order of their use."""
    children = list(module.named_children())
    if isinstance(module, Block) or not children:
        yield name, module
        return
    for key, child in children:
        yield from _parts(child, f"{name}.{key}".lstrip("."))


def _row(module: nn.Module, size: Size, stage: int) -> Row | None:
    if isinstance(module, nn.Conv2d):
        return Row("conv", _convolution(module), size, stage)
    if isinstance(module, nn.MaxPool2d):
        return Row("pool", f"pool, /{module.stride}", size, stage)
    if isinstance(module, nn.AdaptiveAvgPool2d):
        return Row("pool", "avg pool", size, stage)
    if isinstance(module, nn.Linear):
        return Row("fc", f"fc {module.out_features}", size, stage)
    if isinstance(module, SqueezeExcitation):
        return Row("fc", f"squeeze-excitation, {module.fc1.out_channels}", size, stage)
    return None


def _convolution(module: nn.Conv2d) -> str:
    height, width = module.kernel_size
    parts = [f"{height}x{width} conv", str(module.out_channels)]
    parts += [f"{module.groups} groups"] if module.groups > 1 else []
    parts += [f"dilation {module.dilation[0]}"] if module.dilation[0] > 1 else []
    parts += [f"/{module.stride[0]}"] if module.stride[0] > 1 else []
    return ", ".join(parts)


def _shortcut(block: Block) -> Shortcut | None:
    if block.plain:
        return None
    convolutions = [child for child in block.children() if isinstance(child, nn.Conv2d)]
    grows = block.stride != 1 or convolutions[0].in_channels != convolutions[-1].out_channels
    texts = []
    for module in block.downsample.modules() if block.downsample is not None else ():
        if isinstance(module, nn.Conv2d):
            texts.append(_convolution(module))
        elif isinstance(module, nn.AvgPool2d):
            texts.append(f"avg pool, /{module.stride}")
        elif isinstance(module, ParameterFreeShortcut):
            stride = f", /{module.stride}" if module.stride > 1 else ""
            texts += [f"avg pool{stride}", "zero padding"] if module.pool else [f"zero padding{stride}"]
    if block.gate is not None:
        texts.append("gate")
    return Shortcut(grows, "\n".join(texts))
