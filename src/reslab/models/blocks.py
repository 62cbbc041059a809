"""The building blocks of Fig. 2 and 5: a branch F of convolutions, and the shortcut around it.

Attribute names are torchvision's, so that state dicts are exchanged as they are.
"""

from torch import Tensor, nn

from reslab.models.shortcuts import add_shortcut, make_shortcut
from reslab.models.spec import NetSpec

__all__ = ["BasicBlock", "Bottleneck"]


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


def conv1x1(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm (Fig. 2; Fig. 5 left).

    Args:
        spec: the network's description.
        in_channels: channels of the input.
        width: channels of the output.
        stride: of the first convolution.
    """

    expansion = 1

    def __init__(self, spec: NetSpec, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = make_shortcut(spec, in_channels, width, stride)
        self.plain = spec.shortcut == "none"

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.bn2(self.conv2(residual))
        output: Tensor = self.relu(add_shortcut(x, residual, self.downsample, self.plain))
        return output


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the first narrowing and the last widening fourfold (Fig. 5 right).

    Args:
        spec: the network's description; its `stride` says which convolution has the stride.
        in_channels: channels of the input.
        width: channels of the 3x3 convolution; the output has four times as many.
        stride: 2 where the feature map halves.
    """

    expansion = 4

    def __init__(self, spec: NetSpec, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        stride1, stride2 = (stride, 1) if spec.stride == "v1" else (1, stride)
        self.conv1 = conv1x1(in_channels, width, stride1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = conv3x3(width, width, stride2)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = conv1x1(width, width * self.expansion)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = make_shortcut(spec, in_channels, width * self.expansion, stride)
        self.plain = spec.shortcut == "none"

    def forward(self, x: Tensor) -> Tensor:
        residual = self.relu(self.bn1(self.conv1(x)))
        residual = self.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        output: Tensor = self.relu(add_shortcut(x, residual, self.downsample, self.plain))
        return output
