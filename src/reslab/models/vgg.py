"""VGG-16 and VGG-19 (arXiv 1409.1556), the reference that the paper measures depth and cost against (Fig. 3)."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import cast

from torch import Tensor, nn

from reslab.models.features import FeatureNetwork
from reslab.models.layers import NormLayer, conv3x3, initialize_convolution, make_activation, norm_layer_of
from reslab.models.spec import NetSpec

__all__ = ["VGG"]

_HIDDEN = 4096
_POOLED_SIDE = 7


class VGG(FeatureNetwork):
    """Convolutions of 3x3 with max-pooling between the stages, then three fully-connected layers.

    Modules are named as in torchvision (`features.0`, `classifier.6`).

    Args:
        spec: a description of the family `vgg`.
        norm_layer: makes the norms in place of the described ones.

    Shapes: (N, spec.in_channels, H, W) images to (N, spec.num_classes) logits.
    """

    def __init__(self, spec: NetSpec, *, norm_layer: NormLayer | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.num_classes = spec.num_classes
        norm_layer = norm_layer or norm_layer_of(spec)
        layers: list[nn.Module] = []
        self.feature_info = []
        self.stage_ends = []  # each before its pooling, which belongs to the next stage
        channels = spec.in_channels
        for index, (num_convolutions, width) in enumerate(zip(spec.blocks, spec.widths, strict=True)):
            for _ in range(num_convolutions):
                layers.append(conv3x3(channels, width, bias=spec.conv_bias))
                if spec.norm != "none":
                    layers.append(norm_layer(width))
                layers.append(make_activation(spec.activation))
                channels = width
            self.stage_ends.append(len(layers))
            module = f"features.{len(layers) - 1}"
            self.feature_info.append({"num_chs": width, "reduction": 2**index, "module": module})
            layers.append(nn.MaxPool2d(kernel_size=2, stride=2))
        self.features = nn.Sequential(*layers)
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
        self.initialize()

    def initialize(self) -> None:
        """He initialisation of the convolutions, and small normal weights in the classifier, as in torchvision."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                initialize_convolution(module, self.spec.init)
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

    def finish_features(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.features[-1](x))  # the last pooling

    def pool_features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C * 49): a VGG's classifier sees a map of 7x7."""
        return cast(Tensor, self.avgpool(x)).flatten(1)

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.pool_features(x)
        return cast(Tensor, self.classifier[:-1](x) if pre_logits else self.classifier(x))

    def get_classifier(self) -> nn.Module:
        return self.classifier[-1]

    def set_classifier(self, classifier: nn.Module) -> None:
        self.classifier[-1] = classifier

    def __prepare_scriptable__(self) -> nn.Module:
        """What torch.jit.script compiles: the same modules in a row."""
        avgpool = nn.Sequential(self.avgpool, nn.Flatten(1))
        return nn.Sequential(OrderedDict(features=self.features, avgpool=avgpool, classifier=self.classifier))
