"""The network: stem, stages of blocks, average pooling, classifier (Table 1; Sec. 4.2)."""

from typing import cast

import torch
from torch import Tensor, nn

from reslab.models.blocks import BasicBlock, Bottleneck
from reslab.models.spec import NetSpec

__all__ = ["ResNet"]


class ResNet(nn.Module):
    """A residual or plain network as its `NetSpec` describes it.

    Modules are named as in torchvision (`conv1 bn1 layer1.0.conv2 downsample fc`), with as many `layerN` as the
    description has stages. Weights are drawn from torch's global generator: seed it for the same weights.

    Args:
        spec: the network's description.

    Shapes: (N, spec.in_channels, H, W) images to (N, spec.num_classes) logits.
    """

    def __init__(self, spec: NetSpec) -> None:
        super().__init__()
        self.spec = spec
        channels = spec.stem_channels
        if spec.stem == "imagenet":
            self.conv1 = nn.Conv2d(spec.in_channels, channels, kernel_size=7, stride=2, padding=3, bias=False)
        else:
            self.conv1 = nn.Conv2d(spec.in_channels, channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool: nn.Module | None = None
        if spec.stem == "imagenet":
            self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

        self.stage_names = [f"layer{number}" for number in range(1, len(spec.blocks) + 1)]
        for name, num_blocks, width in zip(self.stage_names, spec.blocks, spec.widths, strict=True):
            stride = 1 if name == "layer1" else 2
            self.add_module(name, _make_stage(spec, num_blocks, channels, width, stride))
            channels = width * spec.expansion
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, spec.num_classes)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """He initialisation of the convolutions (Sec. 3.4), ones and zeros for batch norm, torch's own for fc."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode=self.spec.init, nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm2d | nn.Linear):
                module.reset_parameters()
        if self.spec.zero_init_residual:
            for module in self.modules():
                if isinstance(module, BasicBlock):
                    nn.init.zeros_(module.bn2.weight)
                elif isinstance(module, Bottleneck):
                    nn.init.zeros_(module.bn3.weight)

    @property
    def stages(self) -> list[nn.Sequential]:
        """The stages of blocks, in order."""
        return [cast(nn.Sequential, getattr(self, name)) for name in self.stage_names]

    def forward(self, images: Tensor) -> Tensor:
        x = self.relu(self.bn1(self.conv1(images)))
        if self.maxpool is not None:
            x = self.maxpool(x)
        for name in self.stage_names:
            x = getattr(self, name)(x)
        x = self.avgpool(x)  # (N, C, H, W) -> (N, C, 1, 1)
        return cast(Tensor, self.fc(torch.flatten(x, 1)))  # -> (N, num_classes)


def _make_stage(spec: NetSpec, num_blocks: int, in_channels: int, width: int, stride: int) -> nn.Sequential:
    block = Bottleneck if spec.block == "bottleneck" else BasicBlock
    out_channels = width * block.expansion
    first = block(spec, in_channels, width, stride)
    return nn.Sequential(first, *(block(spec, out_channels, width, 1) for _ in range(num_blocks - 1)))
