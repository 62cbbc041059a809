"""VGG-16 and VGG-19 (arXiv 1409.1556), the reference that the paper measures depth and cost against (Fig. 3)."""

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from reslab.errors import ModelError
from reslab.models.features import LAST_GROUP, FeatureNetwork
from reslab.models.initialization import initialize_convolution
from reslab.models.layers import NormLayer, conv3x3, make_activation, norm_layer_of
from reslab.models.spec import NetSpec

__all__ = ["VGG"]

_HIDDEN = 4096
_POOLED_SIDE = 7


class VGG(FeatureNetwork):
    """Convolutions of 3x3 with max-pooling between the stages, then three fully-connected layers.

    Modules are named as in torchvision (`features.0`, `classifier.6`).

    Args:
        features: a description of the family `vgg`; or its convolutions, as torchvision's `make_layers` gives them, and
            then the arguments are torchvision's.
        num_classes: outputs.
        init_weights: whether to draw weights, or to leave them as they are.
        dropout: probability after each hidden layer.
        norm_layer: makes the norms in place of the described ones.

    Shapes: (N, spec.in_channels, H, W) images to (N, spec.num_classes) logits.

    Raises:
        ModelError: arguments that a description says already, or convolutions that are not a VGG's.
    """

    def __init__(
        self,
        features: NetSpec | nn.Sequential,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
        *,
        norm_layer: NormLayer | None = None,
    ) -> None:
        super().__init__()
        if isinstance(features, NetSpec):
            if (num_classes, init_weights, dropout) != (1000, True, 0.5):
                raise ModelError("a description says all of this already: change its fields instead.")
            spec = features
            self.features = _make_features(spec, norm_layer or norm_layer_of(spec))
        else:
            spec = _describe(features, num_classes, dropout)
            self.features = features
        self.spec = spec
        self.num_classes, self.in_chans = spec.num_classes, spec.in_channels
        pools = [index for index, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        # Each map is the one before a pooling, which belongs to the next stage; the last is the last pooling's.
        self.stage_ends = [*pools, len(self.features)]
        channels = spec.widths[-1]
        self.feature_info = [
            {"num_chs": width, "reduction": 2**index, "module": f"features.{end - 1}"}
            for index, (width, end) in enumerate(zip((*spec.widths, channels), self.stage_ends, strict=True))
        ]
        self.num_features, self.head_hidden_size = channels, _HIDDEN
        self.avgpool = nn.AdaptiveAvgPool2d((_POOLED_SIDE, _POOLED_SIDE))
        self.classifier = nn.Sequential(
            nn.Linear(channels * _POOLED_SIDE**2, _HIDDEN),
            make_activation(spec.activation),
            nn.Dropout(spec.dropout),
            nn.Linear(_HIDDEN, _HIDDEN),
            make_activation(spec.activation),
            nn.Dropout(spec.dropout),
            nn.Linear(_HIDDEN, spec.num_classes) if spec.num_classes else nn.Identity(),
        )
        if init_weights:
            self.initialize()

    def initialize(self) -> None:
        """The described initialisation of the convolutions; small normal weights in the classifier (torchvision)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                initialize_convolution(module, self.spec)
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0, 0.01)
                nn.init.zeros_(module.bias)

    def _stage(self, start: int, end: int, x: Tensor) -> Tensor:
        def run(x: Tensor) -> Tensor:
            for layer in self.features[start:end]:
                x = layer(x)
            return x

        return self.recomputed(run, self.features[start:end], x) if self.recomputes else run(x)

    def feature_steps(self) -> list[Callable[[Tensor], Tensor]]:
        starts = [0, *self.stage_ends[:-1]]
        return [partial(self._stage, start, end) for start, end in zip(starts, self.stage_ends, strict=True)]

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        if self.global_pool == "":
            return x
        x = self._pooled(x)
        return cast(Tensor, self.classifier[:-1](x) if pre_logits else self.classifier(x))

    def _pooled(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C * 49): a VGG's classifier sees a map of 7x7."""
        mean = self.avgpool(x)
        if self.global_pool == "avg":
            return torch.flatten(mean, 1)
        highest = functional.adaptive_max_pool2d(x, mean.shape[2:])
        return torch.flatten(highest if self.global_pool == "max" else 0.5 * (mean + highest), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) images to (N, num_classes) logits."""
        if not torch.jit.is_scripting():  # type: ignore[attr-defined]
            return self.forward_head(self.forward_features(x))
        x = self.features(x)
        if self.global_pool == "":
            return x
        logits: Tensor = self.classifier(self._pooled(x))
        return logits

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """As other networks do; the hidden fully-connected layers stay.

        Args:
            num_classes: 0 for none: the network then returns what the last hidden layer gives.
            global_pool: how the map of 7x7 is pooled, `avg`, `max` or `avgmax`; empty to return the last feature map,
                for which there must be no classifier. A new classifier gets `avg` where there was none.

        Raises:
            ModelError: a negative number, an unknown pooling, or a classifier of an unpooled map.
        """
        if global_pool == "catavgmax":
            raise ModelError("a VGG's hidden layers take one map of 7x7: choose avg, max or avgmax.")
        if num_classes and global_pool == "":
            raise ModelError("a VGG without pooling has no classifier: give num_classes=0, or global_pool='avg'.")
        if num_classes and global_pool is None and self.global_pool == "":
            global_pool = "avg"
        super().reset_classifier(num_classes, global_pool)

    def prune_after(self, index: int) -> None:
        self.features = self.features[: self.stage_ends[index]]
        self.stage_ends = self.stage_ends[: index + 1]

    def prune_head(self) -> None:
        self.classifier, self.avgpool = nn.Sequential(nn.Identity()), nn.AdaptiveAvgPool2d((1, 1))
        super().prune_head()

    def group_matcher(self, coarse: bool = False) -> dict[str, Any]:
        if coarse:
            return {"stem": r"^features\.0\.", "blocks": r"^features"}
        return {"stem": r"^features\.0\.", "blocks": [(r"^features\.(\d+)", None), (r"^classifier\.[03]", LAST_GROUP)]}

    def get_classifier(self) -> nn.Module:
        return self.classifier[-1]

    def set_classifier(self, classifier: nn.Module) -> None:
        self.classifier[-1] = classifier


def _make_features(spec: NetSpec, norm_layer: NormLayer) -> nn.Sequential:
    layers: list[nn.Module] = []
    channels = spec.in_channels
    for number, width in zip(spec.blocks, spec.widths, strict=True):
        for _ in range(number):
            layers.append(conv3x3(channels, width, bias=spec.conv_bias))
            if spec.norm != "none":
                layers.append(norm_layer(width))
            layers.append(make_activation(spec.activation))
            channels = width
        layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
    return nn.Sequential(*layers)


def _describe(features: nn.Sequential, num_classes: int, dropout: float) -> NetSpec:
    """What convolutions between poolings describe."""
    stages: list[list[nn.Conv2d]] = [[]]
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            stages[-1].append(layer)
        elif isinstance(layer, nn.MaxPool2d):
            stages.append([])
    if stages.pop() or not stages or not all(stages):
        raise ModelError("a VGG's features are convolutions in stages, and max-pooling after each stage.")
    normed = any(isinstance(layer, nn.BatchNorm2d) for layer in features)
    return NetSpec(
        family="vgg",
        blocks=tuple(len(stage) for stage in stages),
        widths=tuple(stage[-1].out_channels for stage in stages),
        in_channels=stages[0][0].in_channels,
        shortcut="none",
        stem="imagenet",
        conv_bias=stages[0][0].bias is not None,
        norm="batch" if normed else "none",
        dropout=dropout,
        num_classes=num_classes,
    )
