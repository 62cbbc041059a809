"""What a network is: its description, the named ones, and the modules that it is built of.

torchvision's names are here too, imported with torch on first use: `from reslab.models import ResNet, BasicBlock,
Bottleneck, conv3x3, conv1x1`; and a function for every registered network, `resnet18` to `wide_resnet101_2`, `resnet20`
to `resnet1202`, `vgg16`, ..., also in `reslab.models.__dict__`, where torchvision's and akamaster's trainers look.
"""

from typing import TYPE_CHECKING, Any

from reslab.lazy import lazy_names as _lazy_names
from reslab.models.named import CONSTRUCTORS as _CONSTRUCTORS
from reslab.models.spec import NetSpec
from reslab.models.zoo import cifar_resnet, list_models, parse_model, spell

if TYPE_CHECKING:
    from reslab.models.blocks import BasicBlock, Bottleneck
    from reslab.models.features import FeatureNetwork
    from reslab.models.layers import conv1x1, conv3x3
    from reslab.models.residual import ResNet
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
    "spell",
]
__all__ += _CONSTRUCTORS
globals().update(_CONSTRUCTORS)


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


_OF_TORCH = dict.fromkeys(("BasicBlock", "Bottleneck"), "reslab.models.blocks")
_OF_TORCH |= dict.fromkeys(("conv1x1", "conv3x3"), "reslab.models.layers")
_OF_TORCH |= {"ResNet": "reslab.models.residual", "VGG": "reslab.models.vgg"}

__getattr__, _ = _lazy_names(__name__, _OF_TORCH)


def __dir__() -> list[str]:
    return sorted(__all__)
