"""What a network begins with, but for the norm and the activation after it."""

from torch import nn

from reslab.models.layers import NormLayer, conv3x3, make_activation
from reslab.models.spec import NetSpec

__all__ = ["make_pool", "make_stem"]


def make_pool(spec: NetSpec) -> nn.Module:
    """The max-pooling after a stem of 7x7 or a deep one."""
    if spec.stem_pool == "ceil":
        return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
    return nn.MaxPool2d(kernel_size=3, stride=2, padding=1)


def make_stem(spec: NetSpec, norm_layer: NormLayer) -> nn.Module:
    """The convolutions that see the images (Table 1; Sec. 4.2)."""
    channels, bias = spec.stem_channels, spec.conv_bias
    if spec.stem == "cifar":
        return conv3x3(spec.in_channels, channels, bias=bias)
    if spec.stem == "imagenet":
        return nn.Conv2d(spec.in_channels, channels, kernel_size=7, stride=2, padding=3, bias=bias)
    half = max(1, channels // 2)  # ResNet-D; modules as in timm: conv1.0, .1, .3, .4, .6
    return nn.Sequential(
        conv3x3(spec.in_channels, half, 2, bias=bias),
        norm_layer(half),
        make_activation(spec.activation),
        conv3x3(half, half, bias=bias),
        norm_layer(half),
        make_activation(spec.activation),
        conv3x3(half, channels, bias=bias),
    )
