"""torchvision's functions by its names: `resnet18` to `wide_resnet101_2`."""

from collections.abc import Callable
from typing import Any

from reslab.errors import ModelError
from reslab.models.blocks import BasicBlock, Bottleneck
from reslab.models.resnet import ResNet
from reslab.models.zoo import named_model

__all__ = [
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
]


def _function(name: str) -> Callable[..., ResNet]:
    spec = named_model(name).spec
    fixed = {"groups": spec.groups, "width_per_group": spec.width_per_group}

    def make(pretrained: bool = False, progress: bool = True, *, weights: Any = None, **kwargs: Any) -> ResNet:
        for argument, value in fixed.items():
            if name not in ("resnet50", "resnet101", "resnet152") and kwargs.setdefault(argument, value) != value:
                raise ModelError(f"{name} has {argument}={value}, not {kwargs[argument]}; leave it out.")
        model = ResNet(BasicBlock if spec.block == "basic" else Bottleneck, spec.blocks, **kwargs)
        if weights is None and pretrained:
            weights = "V1"
        if weights is not None:
            from reslab.models.released import load_pretrained

            load_pretrained(model, name, weights, progress=progress)
        return model

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"""{name} with torchvision's arguments ({named_model(name).source}).

    Args:
        pretrained: torchvision's first weights for ImageNet, as in older versions of torchvision.
        progress: whether to show a download's progress.
        weights: `V1`, `V2`, `DEFAULT` or a member of torchvision's enumeration; None for fresh weights.
        **kwargs: arguments of `ResNet`, e.g. `num_classes`.
    """
    return make


resnet18 = _function("resnet18")
resnet34 = _function("resnet34")
resnet50 = _function("resnet50")
resnet101 = _function("resnet101")
resnet152 = _function("resnet152")
resnext50_32x4d = _function("resnext50_32x4d")
resnext101_32x8d = _function("resnext101_32x8d")
resnext101_64x4d = _function("resnext101_64x4d")
wide_resnet50_2 = _function("wide_resnet50_2")
wide_resnet101_2 = _function("wide_resnet101_2")
