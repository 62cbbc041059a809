"""What a network is: its description, the named ones, and the modules that it is built of.

torchvision's names are here too, imported with torch on first use: `from reslab.models import ResNet, BasicBlock,
Bottleneck, conv3x3, conv1x1, resnet18, ..., wide_resnet101_2`.
"""

from typing import TYPE_CHECKING, Any

from reslab.lazy import lazy_names
from reslab.models.spec import NetSpec
from reslab.models.zoo import cifar_resnet, list_models, parse_model, spell

if TYPE_CHECKING:
    from reslab.models.blocks import BasicBlock, Bottleneck
    from reslab.models.features import FeatureNetwork
    from reslab.models.layers import conv1x1, conv3x3
    from reslab.models.named import (
        resnet18,
        resnet34,
        resnet50,
        resnet101,
        resnet152,
        resnext50_32x4d,
        resnext101_32x8d,
        resnext101_64x4d,
        wide_resnet50_2,
        wide_resnet101_2,
    )
    from reslab.models.resnet import ResNet
    from reslab.models.vgg import VGG

__all__ = [
    "VGG",
    "BasicBlock",
    "Bottleneck",
    "NetSpec",
    "ResNet",
    "cifar_resnet",
    "conv1x1",
    "conv3x3",
    "create_model",
    "list_models",
    "parse_model",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "spell",
    "wide_resnet50_2",
    "wide_resnet101_2",
]


def create_model(
    model: str | NetSpec, *, weights: Any = None, progress: bool = True, **overrides: Any
) -> "FeatureNetwork":
    """Builds a network, with fresh weights drawn from torch's global generator or with given ones.

    Args:
        model: a name (`resnet56`), a spelling (`resnet56[shortcut=C]`) or a description.
        weights: None for fresh ones; a released file (`torchvision:V2`), a repository of Hugging Face's hub
            (`hub:owner/name`), or a file of weights. A classifier for another number of classes is left fresh.
        progress: whether to show a download's progress.
        **overrides: fields of `NetSpec` to change, e.g. `num_classes=100`.

    Raises:
        ReslabError: an unknown name, field or file, or weights that do not fit.
    """
    from reslab.models.build import build
    from reslab.models.zoo import apply_overrides, base_name

    spec = apply_overrides(model, overrides) if isinstance(model, NetSpec) else parse_model(model, overrides)
    network = build(spec)
    if weights is not None:
        from reslab.models.released import load_pretrained

        name = spell(spec) if isinstance(model, NetSpec) else model
        load_pretrained(network, base_name(name), weights, progress=progress)
    return network


_LAYERS = {"BasicBlock": "blocks", "Bottleneck": "blocks", "ResNet": "resnet", "VGG": "vgg"}
_LAYERS |= dict.fromkeys(("conv1x1", "conv3x3"), "layers")
_OF_TORCH = {name: f"reslab.models.{_LAYERS.get(name, 'named')}" for name in __all__ if name not in globals()}

__getattr__, _ = lazy_names(__name__, _OF_TORCH)


def __dir__() -> list[str]:
    return sorted(__all__)
