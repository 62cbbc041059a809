"""The network: stem, stages of blocks, average pooling, classifier (Table 1; Sec. 4.2)."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from reslab.errors import ModelError
from reslab.models.blocks import BasicBlock, Block, BlockOptions
from reslab.models.features import LAST_GROUP, FeatureNetwork, pool
from reslab.models.initialization import initialize_classifier, initialize_convolution
from reslab.models.layers import NormLayer, make_activation, norm_layer_of
from reslab.models.shortcuts import Gate, make_shortcut
from reslab.models.spec import NetSpec
from reslab.models.stem import make_pool, make_stem
from reslab.models.variants import block_class

__all__ = ["ResNet"]

_WIDTHS = (64, 128, 256, 512)
_MOST_SCRIPTED = 5  # stages


class ResNet(FeatureNetwork):
    """A residual or plain network as its `NetSpec` describes it.

    Modules are named as in torchvision (`conv1 bn1 layer1.0.conv2 downsample fc`), with as many `layerN` as the
    description has stages; a pre-activation net has its last norm as `norm`. Weights are drawn from torch's global
    generator: seed it for the same weights, which for torchvision's networks are torchvision's. Subclasses find what
    torchvision's do: `_make_layer`, `_forward_impl`, `inplanes`, `dilation`, `groups`, `base_width`, `_norm_layer`.

    Args:
        block: the description, also as plain values; or a class of blocks, and then the arguments are torchvision's, by
            the same names and in the same order, and the network is one of four stages with an ImageNet stem.
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
    """

    if TYPE_CHECKING:  # TorchScript would compile the types
        layer1: nn.Sequential
        layer2: nn.Sequential
        layer3: nn.Sequential
        layer4: nn.Sequential
        layer5: nn.Sequential

    # As many arguments as torchvision's, since it stands for that.
    def __init__(
        self,
        block: NetSpec | Mapping[str, Any] | Callable[..., nn.Module],
        layers: Sequence[int] | None = None,
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: NormLayer | None = None,
    ) -> None:
        super().__init__()
        if isinstance(block, Mapping):  # as the hub's mixin writes a description, and reads it back
            block = NetSpec.from_dict(block)
        if isinstance(block, NetSpec):
            given = (layers, num_classes, zero_init_residual, groups, width_per_group, replace_stride_with_dilation)
            if given != (None, 1000, False, 1, 64, None):
                raise ModelError("a description says all of this already: change its fields instead.")
            if block.family != "resnet":
                raise ModelError(f"this describes a network of the family {block.family}; create_model builds it.")
            spec = block
            make_block: Callable[..., nn.Module] = block_class(spec)
        else:
            make_block = block
            spec = _describe(
                block, layers, num_classes, zero_init_residual, groups, width_per_group, replace_stride_with_dilation
            )
        self.spec = spec
        self.num_classes, self.in_chans = spec.num_classes, spec.in_channels
        self.checkpoint_segments: tuple[tuple[int, ...], ...] | None = None
        norm_layer = self._norm_layer = norm_layer or norm_layer_of(spec)
        self.groups, self.base_width, self.dilation = spec.groups, spec.width_per_group, 1
        self.inplanes = spec.stem_channels
        preactivated = spec.order == "pre"
        self.conv1 = make_stem(spec, norm_layer)
        self.bn1 = None if preactivated else norm_layer(self.inplanes)
        self.relu = make_activation(spec.activation, inplace=spec.order == "post")
        self.maxpool = make_pool(spec) if spec.stem != "cifar" else None

        self.stage_names = [f"layer{number}" for number in range(1, len(spec.blocks) + 1)]
        stem_name = "conv1" if preactivated else "relu"
        reduction = 1 if spec.stem == "cifar" else 2
        self.feature_info = [{"num_chs": self.inplanes, "reduction": reduction, "module": stem_name}]
        reduction *= 1 if spec.stem == "cifar" else 2
        self._blocks_made = 0
        for index, (name, width, blocks) in enumerate(zip(self.stage_names, spec.widths, spec.blocks, strict=True)):
            if index == 0:
                stage = self._make_layer(make_block, width, blocks)
            else:
                dilate = bool(spec.replace_stride_with_dilation) and spec.replace_stride_with_dilation[index - 1]
                stage = self._make_layer(make_block, width, blocks, stride=2, dilate=dilate)
                reduction *= 1 if dilate else 2
            self.add_module(name, stage)
            self.feature_info.append({"num_chs": self.inplanes, "reduction": reduction, "module": name})
        self.norm = norm_layer(self.inplanes) if preactivated else None
        self.ends_activated = spec.order in ("pre", "relu-only")  # where blocks end with the addition
        self.num_features = self.head_hidden_size = self.inplanes
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(spec.dropout) if spec.dropout else None
        self.fc: nn.Module = nn.Linear(self.inplanes, spec.num_classes) if spec.num_classes else nn.Identity()
        self.initialize()

    def _make_layer(
        self, block: Callable[..., nn.Module], planes: int, blocks: int, stride: int = 1, dilate: bool = False
    ) -> nn.Sequential:
        """The next stage, from `self.inplanes` channels on; torchvision's name and arguments.

        Args:
            block: makes a block.
            planes: width of the stage.
            blocks: their number.
            stride: of the first one.
            dilate: whether to dilate instead.
        """
        spec = self.spec
        ours = isinstance(block, type) and issubclass(block, Block)
        out_channels = planes * getattr(block, "expansion", spec.expansion)
        first_dilation = self.dilation
        if dilate:
            self.dilation, stride = self.dilation * stride, 1
        made: list[nn.Module] = []
        for number in range(blocks):
            stride = stride if number == 0 else 1
            downsample = make_shortcut(spec, self.inplanes, out_channels, stride, self._norm_layer)
            extra: dict[str, Any] = {}
            if ours:
                done = self._blocks_made + number
                extra["options"] = BlockOptions(
                    spec=spec,
                    dropout=0.0 if number else spec.branch_dropout,
                    drop_branch=spec.stochastic_depth * min(1.0, (done + 1) / sum(spec.blocks)),
                    # Its first block follows the stem, which has no activation of its own (arXiv 1603.05027).
                    shares_activation=isinstance(downsample, nn.Sequential) or done == 0,
                    last_dilation=self.dilation,
                )
            dilation = self.dilation if number else first_dilation
            around = (stride, downsample, self.groups, self.base_width, dilation, self._norm_layer)
            made.append(block(self.inplanes, planes, *around, **extra))
            self.inplanes = out_channels
        self._blocks_made += blocks
        return nn.Sequential(*made)

    def initialize(self) -> None:
        """The described initialisation of the convolutions (Sec. 3.4); norms and fc are as torch makes them."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                initialize_convolution(module, self.spec)
            elif module is self.fc and isinstance(module, nn.Linear):
                initialize_classifier(module, self.spec)
        for module in self.modules():
            if isinstance(module, Gate):
                nn.init.constant_(cast(Tensor, module.conv.bias), module.first_bias)
            elif (
                self.spec.zero_init_residual
                and isinstance(module, Block)
                and (scale := module.last_norm().weight) is not None
            ):
                nn.init.zeros_(cast(Tensor, scale))

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

    def _run_stage(self, index: int, x: Tensor) -> Tensor:
        """A stage with the pooling before it, and with gradient checkpointing segment by segment if that is on."""
        stage = self.stages[index]
        if index == 0 and self.maxpool is not None:
            x = self.maxpool(x)
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
        return [self.run_stem, *(partial(self._run_stage, index) for index in range(len(self.stage_names)))]

    def finish_features(self, x: Tensor) -> Tensor:
        if self.norm is not None:
            x = self.norm(x)
        return cast(Tensor, self.relu(x)) if self.ends_activated else x

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self._pooled(x)
        if self.dropout is not None:
            x = self.dropout(x)
        return x if pre_logits else cast(Tensor, self.fc(x))

    def _pooled(self, x: Tensor) -> Tensor:
        if self.global_pool == "avg":
            return torch.flatten(self.avgpool(x), 1)
        return pool(x, self.global_pool)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) images to (N, num_classes) logits."""
        return self._forward_impl(x)

    def _forward_impl(self, x: Tensor) -> Tensor:
        """The same; torchvision's name, for subclasses with a `forward` of their own."""
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            return self.forward_head(self.forward_features(x))
        # TorchScript compiles no loop over modules that are found by their names.
        x = self.conv1(x)
        if self.bn1 is not None:
            x = self.relu(self.bn1(x))
        if hasattr(self, "layer1"):
            if self.maxpool is not None:
                x = self.maxpool(x)
            x = self.layer1(x)
        if hasattr(self, "layer2"):
            x = self.layer2(x)
        if hasattr(self, "layer3"):
            x = self.layer3(x)
        if hasattr(self, "layer4"):
            x = self.layer4(x)
        if hasattr(self, "layer5"):
            x = self.layer5(x)
        if self.norm is not None:
            x = self.norm(x)
        if self.ends_activated:
            x = self.relu(x)
        x = self._pooled(x)
        if self.dropout is not None:
            x = self.dropout(x)
        logits: Tensor = self.fc(x)
        return logits

    def prune_after(self, index: int) -> None:
        for name in self.stage_names[index:]:
            delattr(self, name)
        self.stage_names = self.stage_names[:index]

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        stage = r"^layer(\d+)" if coarse else r"^layer(\d+)\.(\d+)"
        last_norm = [] if self.norm is None else [(r"^norm", LAST_GROUP)]
        return {"stem": r"^conv1|^bn1", "blocks": [(stage, None), *last_norm]}

    def get_classifier(self) -> nn.Module:
        return self.fc

    def set_classifier(self, classifier: nn.Module) -> None:
        self.fc = classifier

    def __prepare_scriptable__(self) -> nn.Module:
        """Asked by torch.jit.script."""
        if len(self.stage_names) > _MOST_SCRIPTED:
            raise ModelError(f"TorchScript is made of networks of up to {_MOST_SCRIPTED} stages; use torch.export.")
        return self


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
