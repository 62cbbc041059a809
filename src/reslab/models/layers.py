"""The small parts that blocks are made of, besides convolutions: norms, activations, gates, random depth."""

from collections.abc import Callable
from math import gcd

import torch
from torch import Tensor, nn

from reslab.models.spec import NetSpec

__all__ = [
    "NormLayer",
    "SqueezeExcitation",
    "StochasticDepth",
    "conv1x1",
    "conv3x3",
    "make_activation",
    "norm_layer_of",
]

NormLayer = Callable[..., nn.Module]
"""Makes a norm from its number of channels, as torchvision's `norm_layer`."""

_MOST_GROUPS = 32

_ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
_IN_PLACE = ("relu", "leaky_relu", "elu", "silu")


def conv3x3(
    in_planes: int, out_planes: int, stride: int = 1, groups: int = 1, dilation: int = 1, bias: bool = False
) -> nn.Conv2d:
    """3x3 convolution that keeps the size of the map, but for the stride."""
    return nn.Conv2d(
        in_planes,
        out_planes,
        kernel_size=3,
        stride=stride,
        padding=dilation,
        groups=groups,
        bias=bias,
        dilation=dilation,
    )


def conv1x1(in_planes: int, out_planes: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """1x1 convolution."""
    return nn.Conv2d(in_planes, out_planes, kernel_size=1, stride=stride, bias=bias)


def make_activation(name: str, *, inplace: bool = True) -> nn.Module:
    """A new activation of `NetSpec.activation`'s name, which overwrites its input if it can and may."""
    return _ACTIVATIONS[name](inplace=inplace) if name in _IN_PLACE else _ACTIVATIONS[name]()


def norm_layer_of(spec: NetSpec) -> NormLayer:
    """What makes the network's norms."""
    layers: dict[str, NormLayer] = {"batch": nn.BatchNorm2d, "group": _group_norm, "none": _no_norm}
    return layers[spec.norm]


def _group_norm(num_channels: int) -> nn.Module:
    return nn.GroupNorm(gcd(num_channels, _MOST_GROUPS), num_channels)


def _no_norm(num_channels: int) -> nn.Module:
    return nn.Identity()


class SqueezeExcitation(nn.Module):
    """Scales every channel by a factor in (0, 1) computed from the channels' means (arXiv 1709.01507).

    Modules are named as in timm: `fc1` and `fc2`, 1x1 convolutions.

    Args:
        num_channels: of the input.
        reduction: by which the hidden layer is narrower.
    """

    def __init__(self, num_channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, num_channels // reduction)
        self.fc1 = conv1x1(num_channels, hidden, bias=True)
        self.relu = nn.ReLU(inplace=True)
        self.fc2 = conv1x1(hidden, num_channels, bias=True)

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)  # (N, C, H, W) -> (N, C, 1, 1)
        return x * torch.sigmoid(self.fc2(self.relu(self.fc1(mean))))


class StochasticDepth(nn.Module):
    """In training drops a whole branch, image by image, and scales those that stay (arXiv 1603.09382).

    Args:
        probability: of dropping.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        kept = 1.0 - self.probability
        mask = torch.empty((x.shape[0], 1, 1, 1), dtype=x.dtype, device=x.device).bernoulli_(kept)
        return x * (mask / kept)

    def extra_repr(self) -> str:
        return f"probability={self.probability}"
