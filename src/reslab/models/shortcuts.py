"""The ways to skip a block: the options of Sec. 3.3 and 4.1, in one function."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from reslab.models.spec import NetSpec

__all__ = ["ParameterFreeShortcut", "make_shortcut"]


class ParameterFreeShortcut(nn.Module):
    """Option A where dimensions grow: the input at every `stride`-th pixel, with zeros for the new channels.

    Args:
        padding: zero channels before and after the input's own.
        stride: 2 where the feature map halves.
        pool: average each stride x stride square instead of taking its first pixel.
    """

    def __init__(self, padding: tuple[int, int], stride: int, pool: bool) -> None:
        super().__init__()
        self.padding, self.stride, self.pool = padding, stride, pool

    def forward(self, x: Tensor) -> Tensor:
        if self.stride > 1:
            x = functional.avg_pool2d(x, self.stride) if self.pool else x[:, :, :: self.stride, :: self.stride]
        return functional.pad(x, (0, 0, 0, 0, *self.padding))  # (N, C, H, W) -> (N, C + sum(padding), H, W)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, stride={self.stride}, pool={self.pool}"


def make_shortcut(spec: NetSpec, in_channels: int, out_channels: int, stride: int) -> nn.Module | None:
    """What stands at a block's `downsample`: None where the shortcut is the identity, or where there is none.

    Args:
        spec: the network's description.
        in_channels: channels of the block's input.
        out_channels: channels of the block's output.
        stride: of the block.
    """
    grows = stride != 1 or in_channels != out_channels
    if spec.shortcut == "none":
        return None
    if spec.shortcut == "C" or (spec.shortcut == "B" and grows):
        return nn.Sequential(
            nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False),
            nn.BatchNorm2d(out_channels),
        )
    if spec.shortcut in ("A", "avgpool") and grows:
        new = out_channels - in_channels
        padding = (new // 2, new // 2) if spec.shortcut_padding == "split" else (0, new)
        return ParameterFreeShortcut(padding, stride, pool=spec.shortcut == "avgpool")
    return None


def add_shortcut(block_input: Tensor, residual: Tensor, downsample: nn.Module | None, plain: bool) -> Tensor:
    """F(x) + x (Eq. 1), F(x) + Ws x (Eq. 2), or in a plain net F(x) alone."""
    if plain:
        return residual
    return torch.add(residual, block_input if downsample is None else downsample(block_input))
