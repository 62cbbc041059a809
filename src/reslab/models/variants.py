"""Blocks that are compared with the paper's.

They have one or three layers (Sec. 3.2), or norm, activation and addition in other orders (arXiv 1603.05027, Fig. 4).
"""

from torch import Tensor, nn

from reslab.models.blocks import (
    BasicBlock,
    Block,
    Bottleneck,
    BranchShape,
    PreActBasicBlock,
    PreActBottleneck,
    refuse_in_basic_block,
)
from reslab.models.layers import conv3x3
from reslab.models.spec import NetSpec

__all__ = ["ReorderedBasicBlock", "ReorderedBottleneck", "SingleBlock", "TripleBlock", "block_class"]


class SingleBlock(Block):
    """One 3x3 convolution with a norm: y = W1 x + x, of which Sec. 3.2 observed no advantage.

    Arguments as in `Block`.
    """

    def make_layers(self, shape: BranchShape, activation: nn.Module) -> None:
        refuse_in_basic_block(shape)
        self.conv1 = conv3x3(shape.in_channels, shape.width, shape.stride, dilation=shape.dilation, bias=shape.bias)
        self.bn1 = shape.norm(shape.width)
        self.relu = activation

    def last_norm(self) -> nn.Module:
        return self.bn1

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.relu(self.add_shortcut(x, self.bn1(self.conv1(x))))
        return output


class TripleBlock(Block):
    """Three 3x3 convolutions, each with a norm (Sec. 3.2: "more layers are possible"). Arguments as in `Block`."""

    def make_layers(self, shape: BranchShape, activation: nn.Module) -> None:
        refuse_in_basic_block(shape)
        width, last = shape.width, shape.last_dilation
        self.conv1 = conv3x3(shape.in_channels, width, shape.stride, dilation=shape.dilation, bias=shape.bias)
        self.bn1 = shape.norm(width)
        self.conv2 = conv3x3(width, width, dilation=last, bias=shape.bias)
        self.bn2 = shape.norm(width)
        self.conv3 = conv3x3(width, width, dilation=last, bias=shape.bias)
        self.bn3 = shape.norm(width)
        self.relu = activation

    def last_norm(self) -> nn.Module:
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        output: Tensor = self.relu(self.add_shortcut(x, self.bn3(self.conv3(residual))))
        return output


class ReorderedBasicBlock(BasicBlock):
    """A basic block whose `options.spec.order` is neither the paper's nor full pre-activation.

    Arguments as in `Block`.
    """

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv1(self.relu(x) if self.order == "relu-only" else x)
        residual = self.conv2(self.relu(self.bn1(residual)))
        if self.order == "norm-after-addition":
            activated: Tensor = self.relu(self.bn2(self.add_shortcut(x, residual)))
            return activated
        residual = self.bn2(residual)
        return self.add_shortcut(x, self.relu(residual) if self.order == "relu-before-addition" else residual)


class ReorderedBottleneck(Bottleneck):
    """The same of a bottleneck."""

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv1(self.relu(x) if self.order == "relu-only" else x)
        residual = self.conv2(self.relu(self.bn1(residual)))
        residual = self.conv3(self.relu(self.bn2(residual)))
        if self.order == "norm-after-addition":
            activated: Tensor = self.relu(self.bn3(self.add_shortcut(x, residual)))
            return activated
        residual = self.bn3(residual)
        return self.add_shortcut(x, self.relu(residual) if self.order == "relu-before-addition" else residual)


_POST: dict[str, type[Block]] = {
    "basic": BasicBlock,
    "bottleneck": Bottleneck,
    "single": SingleBlock,
    "triple": TripleBlock,
}
_PRE: dict[str, type[Block]] = {"basic": PreActBasicBlock, "bottleneck": PreActBottleneck}
_REORDERED: dict[str, type[Block]] = {"basic": ReorderedBasicBlock, "bottleneck": ReorderedBottleneck}


def block_class(spec: NetSpec) -> type[Block]:
    """What makes the blocks of a description."""
    return {"post": _POST, "pre": _PRE}.get(spec.order, _REORDERED)[spec.block]
