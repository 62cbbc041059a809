"""The network: stem, stages of blocks, average pooling, classifier (Table 1; Sec. 4.2)."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

from torch import Tensor, nn

from reslab.errors import ModelError
from reslab.models.blocks import BasicBlock, Block, BlockOptions, Bottleneck, PreActBasicBlock, PreActBottleneck
from reslab.models.features import FeatureNetwork
from reslab.models.layers import NormLayer, conv3x3, initialize_convolution, make_activation, norm_layer_of
from reslab.models.shortcuts import Gate, make_shortcut
from reslab.models.spec import NetSpec

__all__ = ["ResNet"]

_BLOCKS: dict[tuple[str, str], type[Block]] = {
    ("basic", "post"): BasicBlock,
    ("bottleneck", "post"): Bottleneck,
    ("basic", "pre"): PreActBasicBlock,
    ("bottleneck", "pre"): PreActBottleneck,
}
_WIDTHS = (64, 128, 256, 512)


class ResNet(FeatureNetwork):
    """A residual or plain network as its `NetSpec` describes it.

    Modules are named as in torchvision (`conv1 bn1 layer1.0.conv2 downsample fc`), with as many `layerN` as the
    description has stages; a pre-activation net has its last norm as `norm`. Weights are drawn from torch's global
    generator: seed it for the same weights, which for torchvision's networks are torchvision's.

    Args:
        block: the network's description; or a class of blocks, and then the arguments are torchvision's, by the same
            names and in the same order, and the network is one of four stages with an ImageNet stem.
        layers: blocks in each of the four stages.
        num_classes: outputs.
        zero_init_residual: start the last norm of every branch at scale 0.
        groups: of a bottleneck's 3x3 convolutions.
        width_per_group: their channels where the stage's width is 64.
        replace_stride_with_dilation: for each of the last three stages, whether to dilate instead of striding.
        norm_layer: makes the norms from their number of channels, in place of the described ones.

    Shapes: (N, spec.in_channels, H, W) images to (N, spec.num_classes) logits.

    Raises:
        ValueError: arguments that contradict each other, such as groups for basic blocks.
        NotImplementedError: dilation of basic blocks.
    """

    checkpoint_segments: tuple[tuple[int, ...], ...] | None = None

    # As many arguments as torchvision's, since it stands for that.
    def __init__(
        self,
        block: NetSpec | Callable[..., nn.Module],
        layers: Sequence[int] | None = None,
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: NormLayer | None = None,
    ) -> None:
        super().__init__()
        if isinstance(block, NetSpec):
            given = (layers, num_classes, zero_init_residual, groups, width_per_group, replace_stride_with_dilation)
            if given != (None, 1000, False, 1, 64, None):
                raise ModelError("a description says all of this already: change its fields instead.")
            if block.family != "resnet":
                raise ModelError(f"this describes a network of the family {block.family}; create_model builds it.")
            spec = block
            make_block: Callable[..., nn.Module] = _BLOCKS[spec.block, spec.order]
        else:
            make_block = block
            spec = _describe(
                block, layers, num_classes, zero_init_residual, groups, width_per_group, replace_stride_with_dilation
            )
        self.spec = spec
        self.num_classes = spec.num_classes
        norm_layer = norm_layer or norm_layer_of(spec)
        preactivated = spec.order == "pre"
        self.inplanes = spec.stem_channels  # torchvision's name, which its detection backbones read
        self.conv1 = _make_stem(spec, norm_layer)
        self.bn1 = None if preactivated else norm_layer(self.inplanes)
        self.relu = make_activation(spec.activation, inplace=not preactivated)
        self.maxpool = _make_pool(spec) if spec.stem != "cifar" else None

        self.stage_names = [f"layer{number}" for number in range(1, len(spec.blocks) + 1)]
        stem_name = "conv1" if preactivated else "relu"
        reduction = 1 if spec.stem == "cifar" else 2
        self.feature_info = [{"num_chs": self.inplanes, "reduction": reduction, "module": stem_name}]
        reduction *= 1 if spec.stem == "cifar" else 2
        dilation = 1
        for index, name in enumerate(self.stage_names):
            stride = 2 if index else 1
            first_dilation = dilation
            if index and spec.replace_stride_with_dilation and spec.replace_stride_with_dilation[index - 1]:
                dilation, stride = dilation * stride, 1
            self.add_module(name, self._make_stage(index, stride, (first_dilation, dilation), make_block, norm_layer))
            reduction *= stride
            self.feature_info.append({"num_chs": self.inplanes, "reduction": reduction, "module": name})
        self.norm = norm_layer(self.inplanes) if preactivated else None
        self.num_features = self.head_hidden_size = self.inplanes
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout else None
        self.fc: nn.Module = nn.Linear(self.inplanes, spec.num_classes) if spec.num_classes else nn.Identity()
        self.initialize()

    def _make_stage(
        self,
        index: int,
        stride: int,
        dilations: tuple[int, int],
        make: Callable[..., nn.Module],
        norm_layer: NormLayer,
    ) -> nn.Sequential:
        spec = self.spec
        ours = isinstance(make, type) and issubclass(make, Block)
        width, done = spec.widths[index], sum(spec.blocks[:index])
        out_channels = width * getattr(make, "expansion", spec.expansion)
        blocks = []
        for number in range(spec.blocks[index]):
            first = number == 0
            stride = stride if first else 1
            downsample = make_shortcut(spec, self.inplanes, out_channels, stride, norm_layer)
            extra: dict[str, Any] = {}
            if ours:
                extra["options"] = BlockOptions(
                    spec=spec,
                    dropout=spec.branch_dropout if first else 0.0,
                    drop_branch=spec.stochastic_depth * (done + number + 1) / sum(spec.blocks),
                    # Its first block follows the stem, which has no activation of its own (arXiv 1603.05027).
                    shares_activation=isinstance(downsample, nn.Sequential) or done + number == 0,
                )
            blocks.append(
                make(
                    self.inplanes,
                    width,
                    stride,
                    downsample,
                    spec.groups,
                    spec.width_per_group,
                    dilations[0] if first else dilations[1],
                    norm_layer,
                    **extra,
                )
            )
            self.inplanes = out_channels
        return nn.Sequential(*blocks)

    def initialize(self) -> None:
        """He initialisation of the convolutions (Sec. 3.4); norms and fc are as torch makes them."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                initialize_convolution(module, self.spec.init)
        for module in self.modules():
            if isinstance(module, Gate):
                nn.init.constant_(cast(Tensor, module.conv.bias), module.first_bias)
            elif self.spec.zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                if last.weight is not None:
                    nn.init.zeros_(cast(Tensor, last.weight))

    def named_stages(self) -> list[tuple[str, nn.Sequential]]:
        """The stages of blocks with their names, in order."""
        return list(zip(self.stage_names, self.stages, strict=True))

    @property
    def stages(self) -> list[nn.Sequential]:
        """The stages of blocks, in order."""
        return [cast(nn.Sequential, getattr(self, name)) for name in self.stage_names]

    def set_grad_checkpointing(self, enable: bool = True, segments: Sequence[Sequence[int]] | None = None) -> None:
        """In training keep only the inputs of segments and compute the rest again for the gradients.

        Losses, gradients and running statistics are bitwise those of training without.

        Args:
            enable: on or off.
            segments: for each stage the lengths, in blocks, of the segments that it begins with; blocks after them keep
                what they compute. Every block is a segment of its own by default.

        Raises:
            ModelError: other numbers than the stages and their blocks allow.
        """
        if segments is not None:
            segments = tuple(tuple(stage) for stage in segments)
            fits = len(segments) == len(self.spec.blocks) and all(
                all(length > 0 for length in stage) and sum(stage) <= blocks
                for stage, blocks in zip(segments, self.spec.blocks, strict=True)
            )
            if not fits:
                raise ModelError(f"segments={segments} do not fit into stages of {self.spec.blocks} blocks.")
        super().set_grad_checkpointing(enable)
        self.checkpoint_segments = segments

    # From images to logits

    def run_stem(self, x: Tensor) -> Tensor:
        """The images' first feature map, before max-pooling."""
        x = self.conv1(x)
        return x if self.bn1 is None else cast(Tensor, self.relu(self.bn1(x)))

    def _first_stage(self, x: Tensor) -> Tensor:
        if self.maxpool is not None:
            x = self.maxpool(x)
        return self._run_stage(0, self.stages[0], x)

    def _run_stage(self, index: int, stage: nn.Sequential, x: Tensor) -> Tensor:
        """A stage, with gradient checkpointing segment by segment if it is on."""
        if not self.recomputes:
            return cast(Tensor, stage(x))
        lengths = (1,) * len(stage) if self.checkpoint_segments is None else self.checkpoint_segments[index]
        done = 0
        for length in lengths:
            segment = stage[done : done + length]
            x = self.recomputed(segment, segment, x)
            done += length
        return cast(Tensor, stage[done:](x))

    def feature_steps(self) -> list[Callable[[Tensor], Tensor]]:
        later = [partial(self._run_stage, index, stage) for index, stage in enumerate(self.stages)][1:]
        return [self.run_stem, self._first_stage, *later]

    def finish_features(self, x: Tensor) -> Tensor:
        return x if self.norm is None else cast(Tensor, self.relu(self.norm(x)))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.avgpool(x).flatten(1) if self.global_pool == "avg" else self.pool_features(x)
        if self.dropout is not None:
            x = self.dropout(x)
        return x if pre_logits else cast(Tensor, self.fc(x))

    def get_classifier(self) -> nn.Module:
        return self.fc

    def set_classifier(self, classifier: nn.Module) -> None:
        self.fc = classifier

    def __prepare_scriptable__(self) -> nn.Module:
        """What torch.jit.script compiles: the same modules in a row, since it cannot read a loop over names."""
        stem = ["conv1", "bn1", "relu", "maxpool"] if self.norm is None else ["conv1", "maxpool"]
        names = [*stem, *self.stage_names, *([] if self.norm is None else ["norm", "relu"]), "avgpool", "dropout", "fc"]
        parts = OrderedDict((name, getattr(self, name)) for name in names if getattr(self, name) is not None)
        parts["avgpool"] = nn.Sequential(self.avgpool, nn.Flatten(1))
        return nn.Sequential(parts)


def _describe(
    block: Callable[..., nn.Module],
    layers: Sequence[int] | None,
    num_classes: int,
    zero_init_residual: bool,
    groups: int,
    width_per_group: int,
    replace_stride_with_dilation: Sequence[bool] | None,
) -> NetSpec:
    """What torchvision's arguments describe; of a foreign class of blocks, everything but the blocks."""
    if layers is None or len(layers) != len(_WIDTHS):
        raise ModelError(f"layers must be four numbers of blocks, as in [2, 2, 2, 2], not {layers!r}.")
    dilated = () if replace_stride_with_dilation is None else tuple(map(bool, replace_stride_with_dilation))
    if replace_stride_with_dilation is not None and len(dilated) != len(_WIDTHS) - 1:
        raise ModelError(
            f"replace_stride_with_dilation must have three elements, not {replace_stride_with_dilation!r}."
        )
    return NetSpec(
        blocks=tuple(layers),
        block="basic" if isinstance(block, type) and issubclass(block, BasicBlock) else "bottleneck",
        widths=_WIDTHS,
        shortcut="B",
        stem="imagenet",
        num_classes=num_classes,
        zero_init_residual=zero_init_residual,
        groups=groups,
        width_per_group=width_per_group,
        replace_stride_with_dilation=dilated if any(dilated) else (),
    )


def _make_pool(spec: NetSpec) -> nn.Module:
    if spec.stem_pool == "ceil":
        return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)
    return nn.MaxPool2d(kernel_size=3, stride=2, padding=1)


def _make_stem(spec: NetSpec, norm_layer: NormLayer) -> nn.Module:
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
