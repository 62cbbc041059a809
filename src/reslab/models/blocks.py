"""The building blocks of Fig. 2 and 5: a branch F of convolutions, and the shortcut around it.

Attribute names and the constructors' first arguments are torchvision's, so that state dicts and code are exchanged as
they are. What torchvision does not have stands in the keyword `options`.
"""

from dataclasses import dataclass

from torch import Tensor, nn

from reslab.errors import ModelError
from reslab.models.layers import (
    NormLayer,
    SqueezeExcitation,
    StochasticDepth,
    conv1x1,
    conv3x3,
    make_activation,
    norm_layer_of,
)
from reslab.models.shortcuts import Gate
from reslab.models.spec import NetSpec

__all__ = [
    "BasicBlock",
    "Block",
    "BlockOptions",
    "Bottleneck",
    "BranchShape",
    "PreActBasicBlock",
    "PreActBottleneck",
    "refuse_in_basic_block",
]

# torchvision's blocks: ReLU, stride on the 3x3, an identity shortcut unless a downsample is given.
_TORCHVISION = NetSpec(blocks=(2, 2, 2, 2), widths=(64, 128, 256, 512), shortcut="B", stem="imagenet")


@dataclass(frozen=True)
class BranchShape:
    """What a block's convolutions are made from.

    Args:
        in_channels: of the block's input.
        width: of the stage.
        out_channels: of the block's output.
        stride: of the block.
        groups: of a bottleneck's 3x3 convolution.
        base_width: its channels a group where the stage's width is 64.
        dilation: of it; of a basic block's first convolution.
        last_dilation: of a basic block's second.
        norm: makes a norm.
        bias: whether the convolutions have one.
        stride_first: whether a bottleneck's stride is on its first 1x1 convolution.
    """

    in_channels: int
    width: int
    out_channels: int
    stride: int
    groups: int
    base_width: int
    dilation: int
    last_dilation: int
    norm: NormLayer
    bias: bool
    stride_first: bool

    @property
    def inner_width(self) -> int:
        """Channels of a bottleneck's 3x3 convolution."""
        return int(self.width * (self.base_width / 64.0)) * self.groups


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """What a network tells each of its blocks besides torchvision's arguments.

    Args:
        spec: the network's description: placement of the stride, activation, gates, squeeze-and-excitation, biases.
        dropout: probability at the end of the branch.
        drop_branch: probability of stochastic depth.
        shares_activation: in a pre-activation block, whether the shortcut starts after the first activation.
        last_dilation: of a basic block's second convolution; that of the first by default.
    """

    spec: NetSpec = _TORCHVISION
    dropout: float = 0.0
    drop_branch: float = 0.0
    shares_activation: bool = False
    last_dilation: int | None = None


class Block(nn.Module):
    """What all blocks share: everything around the branch's convolutions.

    Args:
        inplanes: channels of the input.
        planes: width of the stage; the output has `expansion` times as many channels.
        stride: 2 where the feature map halves.
        downsample: what the shortcut does where it is not the identity.
        groups: of the 3x3 convolution of a bottleneck.
        base_width: channels a group where the stage's width is 64.
        dilation: of the 3x3 convolutions.
        norm_layer: makes the norms from a number of channels; the description's by default.
        options: what torchvision has no argument for.

    Shapes: (N, inplanes, H, W) to (N, planes * expansion, H / stride, W / stride).

    Raises:
        ValueError: groups or a width for a basic block.
    """

    expansion: int = 1

    # As many arguments as torchvision's, since it stands for that.
    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer | None = None,
        *,
        options: BlockOptions | None = None,
    ) -> None:
        super().__init__()
        options = options or BlockOptions()
        spec, out_channels = options.spec, planes * self.expansion
        self.stride = stride
        norm = norm_layer or norm_layer_of(spec)
        shape = BranchShape(
            inplanes,
            planes,
            out_channels,
            stride,
            groups,
            base_width,
            dilation,
            options.last_dilation or dilation,
            norm,
            spec.conv_bias,
            stride_first=spec.stride == "v1",
        )
        # Before a convolution it may overwrite its input only where that is not the block's input.
        self.make_layers(shape, make_activation(spec.activation, inplace=spec.order == "post"))
        self.downsample = downsample
        self.order, self.plain = str(spec.order), spec.shortcut == "none"
        self.shares_activation = options.shares_activation
        self.se = SqueezeExcitation(out_channels, spec.squeeze_excitation) if spec.squeeze_excitation else None
        self.dropout = nn.Dropout(options.dropout) if options.dropout else None
        self.drop_branch = StochasticDepth(options.drop_branch) if options.drop_branch else None
        self.gate = Gate(spec, inplanes, out_channels, stride) if spec.shortcut == "gated" else None

    def make_layers(self, shape: BranchShape, activation: nn.Module) -> None:
        """Makes the branch's convolutions and norms, and `relu`, in the order in which torchvision prints them."""
        raise NotImplementedError

    def last_norm(self) -> nn.Module:
        """The norm with which the branch ends."""
        raise NotImplementedError

    def add_shortcut(self, x: Tensor, residual: Tensor) -> Tensor:
        """F(x) + x (Eq. 1), F(x) + Ws x (Eq. 2), or in a plain net F(x) alone."""
        if self.se is not None:
            residual = self.se(residual)
        if self.dropout is not None:
            residual = self.dropout(residual)
        if self.drop_branch is not None:
            residual = self.drop_branch(residual)
        if self.plain:
            return residual
        shortcut = x
        if self.downsample is not None:
            shortcut = self.downsample(x)
        if self.gate is not None:
            gated: Tensor = self.gate(x, residual, shortcut)
            return gated
        return residual + shortcut


class BasicBlock(Block):
    """Two 3x3 convolutions, each with a norm (Fig. 2; Fig. 5 left). Arguments as in `Block`."""

    expansion = 1

    def make_layers(self, shape: BranchShape, activation: nn.Module) -> None:
        refuse_in_basic_block(shape)
        width = shape.width
        self.conv1 = conv3x3(shape.in_channels, width, shape.stride, dilation=shape.dilation, bias=shape.bias)
        self.bn1 = shape.norm(width)
        self.relu = activation
        self.conv2 = conv3x3(width, width, dilation=shape.last_dilation, bias=shape.bias)
        self.bn2 = shape.norm(width)

    def last_norm(self) -> nn.Module:
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        output: Tensor = self.relu(self.add_shortcut(x, residual))
        return output


class Bottleneck(Block):
    """1x1, 3x3 and 1x1 convolutions, the first narrowing and the last widening fourfold (Fig. 5 right).

    Arguments as in `Block`; which convolution has the stride, `options.spec.stride` says.
    """

    expansion = 4

    def make_layers(self, shape: BranchShape, activation: nn.Module) -> None:
        narrowing, middle, widening = _bottleneck_convolutions(shape)
        self.conv1 = narrowing
        self.bn1 = shape.norm(shape.inner_width)
        self.conv2 = middle
        self.bn2 = shape.norm(shape.inner_width)
        self.conv3 = widening
        self.bn3 = shape.norm(shape.out_channels)
        self.relu = activation

    def last_norm(self) -> nn.Module:
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        output: Tensor = self.relu(self.add_shortcut(x, residual))
        return output


class PreActBasicBlock(Block):
    """A basic block with norm and activation before each convolution (arXiv 1603.05027, Fig. 4e).

    Arguments as in `Block`.
    """

    expansion = 1

    def make_layers(self, shape: BranchShape, activation: nn.Module) -> None:
        refuse_in_basic_block(shape)
        width = shape.width
        self.bn1 = shape.norm(shape.in_channels)
        self.conv1 = conv3x3(shape.in_channels, width, shape.stride, dilation=shape.dilation, bias=shape.bias)
        self.bn2 = shape.norm(width)
        self.conv2 = conv3x3(width, width, dilation=shape.last_dilation, bias=shape.bias)
        self.relu = activation

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.bn1(x))
        residual = self.conv1(activated)
        residual = self.conv2(self.relu(self.bn2(residual)))
        return self.add_shortcut(activated if self.shares_activation else x, residual)


class PreActBottleneck(Block):
    """A bottleneck with norm and activation before each convolution. Arguments as in `Block`."""

    expansion = 4

    def make_layers(self, shape: BranchShape, activation: nn.Module) -> None:
        narrowing, middle, widening = _bottleneck_convolutions(shape)
        self.bn1 = shape.norm(shape.in_channels)
        self.conv1 = narrowing
        self.bn2 = shape.norm(shape.inner_width)
        self.conv2 = middle
        self.bn3 = shape.norm(shape.inner_width)
        self.conv3 = widening
        self.relu = activation

    def forward(self, x: Tensor) -> Tensor:
        activated = self.relu(self.bn1(x))
        residual = self.conv1(activated)
        residual = self.conv2(self.relu(self.bn2(residual)))
        residual = self.conv3(self.relu(self.bn3(residual)))
        return self.add_shortcut(activated if self.shares_activation else x, residual)


def _bottleneck_convolutions(shape: BranchShape) -> tuple[nn.Conv2d, nn.Conv2d, nn.Conv2d]:
    inner = shape.inner_width
    stride1, stride2 = (shape.stride, 1) if shape.stride_first else (1, shape.stride)
    return (
        conv1x1(shape.in_channels, inner, stride1, bias=shape.bias),
        conv3x3(inner, inner, stride2, shape.groups, shape.dilation, bias=shape.bias),
        conv1x1(inner, shape.out_channels, bias=shape.bias),
    )


def refuse_in_basic_block(shape: BranchShape) -> None:
    """Raises ModelError for what only bottlenecks have."""
    if shape.groups != 1 or shape.base_width != 64:
        raise ModelError("groups and width_per_group are a bottleneck's: a basic block takes 1 and 64.")
