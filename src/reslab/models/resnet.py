"""torchvision's module of this name: its classes, functions and helpers, for code that imports them from there.

The enumerations of weights (`ResNet50_Weights`) are torchvision's own and need it. What older versions of the module
had is here too: `model_urls`, `load_state_dict_from_url` and the first form of `_resnet`.
"""

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from torch import nn
from torch.hub import load_state_dict_from_url

from reslab.errors import ModelError
from reslab.models.blocks import BasicBlock, Bottleneck
from reslab.models.layers import conv1x1, conv3x3
from reslab.models.named import CONSTRUCTORS
from reslab.models.released import list_cards, load_pretrained
from reslab.models.residual import ResNet

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "conv1x1", "conv3x3", "load_state_dict_from_url", "model_urls"]
__all__ += [name for name in CONSTRUCTORS if not name.startswith(("vgg", "plain"))]

globals().update({name: CONSTRUCTORS[name] for name in __all__ if name in CONSTRUCTORS})

model_urls = {
    card.model: card.location for card in list_cards() if card.name == "torchvision:V1" and card.model in __all__
}
"""Where torchvision's first weights are, by the networks' names."""


def _resnet(*arguments: Any, **kwargs: Any) -> ResNet:
    """A network from torchvision's private function, in its two forms.

    Args:
        *arguments: `arch, block, layers, pretrained, progress`, or `block, layers, weights, progress` without a name.
        **kwargs: arguments of `ResNet`.
    """
    names: Sequence[str] = ("block", "layers", "weights", "progress")
    if (arguments and isinstance(arguments[0], str)) or "arch" in kwargs:
        names = ("arch", "block", "layers", "pretrained", "progress")
    given = dict(zip(names, arguments, strict=False))
    given |= {name: kwargs.pop(name) for name in names if name in kwargs}
    block: Callable[..., nn.Module] = given["block"]
    model = ResNet(block, given["layers"], **kwargs)
    weights = given.get("weights") or ("V1" if given.get("pretrained") else None)
    if weights is not None:
        # A member of an enumeration is of a class that is called after its network.
        arch = given.get("arch") or type(weights).__name__.removesuffix("_Weights").lower()
        if arch not in CONSTRUCTORS:
            raise ModelError(f"no weights are known for {arch!r}; load a file with reslab.load_weights.")
        load_pretrained(model, arch, weights, progress=given.get("progress", True))
    return model


def __getattr__(name: str) -> Any:
    if name.endswith("_Weights"):
        return getattr(import_module("torchvision.models.resnet"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
