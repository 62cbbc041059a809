"""The ways to skip a block: the options of Sec. 3.3 and 4.1 and the gates of highway networks, in one file."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reslab.models.layers import NormLayer, conv1x1
from reslab.models.spec import NetSpec

__all__ = ["Gate", "ParameterFreeShortcut", "make_shortcut"]


class ParameterFreeShortcut(nn.Module):
    """Option A where dimensions grow: the input at every `stride`-th pixel, with zeros for the new channels.

    Args:
        padding: zero channels before and after the input's own.
        stride: 2 where the feature map halves.
        pool: average each stride x stride square instead of taking its first pixel.
    """

    def __init__(self, padding: tuple[int, int], stride: int, pool: bool) -> None:
        super().__init__()
        self.before, self.after = padding
        self.stride, self.pool = stride, pool

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = functional.avg_pool2d(x, self.stride) if self.pool else x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, self.before, self.after))  # (N, C, H, W) -> (N, before + C + after, H, W)

    def extra_repr(self) -> str:
        return f"padding={(self.before, self.after)}, stride={self.stride}, pool={self.pool}"


class Gate(nn.Module):
    """A gate g in (0, 1) for every value of a block's output, from the block's input (Sec. 2; arXiv 1505.00387).

    Args:
        spec: the network's description: what the gate scales, and its first bias.
        in_channels: of the block's input.
        out_channels: of the block's output.
        stride: of the block.
    """

    def __init__(self, spec: NetSpec, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv = conv1x1(in_channels, out_channels, stride, bias=True)
        self.exclusive = spec.gate == "exclusive"
        self.first_bias = spec.gate_bias

    def forward(self, x: Tensor, residual: Tensor, shortcut: Tensor) -> Tensor:
        gate = torch.sigmoid(self.conv(x))
        return (residual * gate if self.exclusive else residual) + shortcut * (1.0 - gate)


def make_shortcut(
    spec: NetSpec, in_channels: int, out_channels: int, stride: int, norm_layer: NormLayer
) -> nn.Module | None:
    """What stands at a block's `downsample`: None where the shortcut is the identity, or where there is none.

    Args:
        spec: the network's description.
        in_channels: channels of the block's input.
        out_channels: channels of the block's output.
        stride: of the block.
        norm_layer: makes the projection's norm.
    """
    grows = stride != 1 or in_channels != out_channels
    if spec.shortcut == "C" or (spec.shortcut == "B" and grows):
        return _projection(spec, in_channels, out_channels, stride, norm_layer)
    if spec.shortcut in ("A", "avgpool", "gated") and grows:
        new = out_channels - in_channels
        padding = (new // 2, new // 2) if spec.shortcut_padding == "split" else (0, new)
        return ParameterFreeShortcut(padding, stride, pool=spec.shortcut == "avgpool")
    return None


def _projection(
    spec: NetSpec, in_channels: int, out_channels: int, stride: int, norm_layer: NormLayer
) -> nn.Sequential:
    layers: list[nn.Module] = []
    if spec.projection_pool:  # the names are then timm's: downsample.1 and .2
        pool = nn.AvgPool2d(2, stride, ceil_mode=True, count_include_pad=False) if stride > 1 else nn.Identity()
        layers.append(pool)
        stride = 1
    layers.append(conv1x1(in_channels, out_channels, stride, bias=spec.conv_bias))
    if spec.projection_norm:
        layers.append(norm_layer(out_channels))
    return nn.Sequential(*layers)
