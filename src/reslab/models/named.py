"""A function for every registered network; torchvision's ten take torchvision's arguments.

Importing this module imports no torch: the functions do, when they are called.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from reslab.errors import ModelError
from reslab.models.spec import NetSpec
from reslab.models.zoo import apply_overrides, list_models, named_model

if TYPE_CHECKING:
    from reslab.models.features import FeatureNetwork
    from reslab.models.residual import ResNet

__all__ = ["CONSTRUCTORS"]

_TORCHVISIONS = (
    *("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
    *("resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2"),
)
_OWN_WIDTH = _TORCHVISIONS[2:5]  # those that take other groups and widths
_KELLER_JORDANS: Mapping[str, Mapping[str, Any]] = {
    "A": {},
    "B": {"shortcut": "B", "projection_norm": False},
    "C": {"shortcut": "avgpool"},
}


class _Signature(inspect.Signature):
    """A function's, which says what `weights` may be, as torchvision's do, once somebody asks: that imports it."""

    name: str

    @property
    def parameters(self) -> Mapping[str, inspect.Parameter]:  # type: ignore[override]
        parameters = dict(super().parameters)
        try:
            from torchvision.models import get_model_weights

            enumeration = get_model_weights(self.name)
        except (ImportError, ValueError):
            return parameters
        parameters["weights"] = parameters["weights"].replace(annotation=enumeration | None)
        return parameters


def _torchvisions(name: str) -> Callable[..., "ResNet"]:
    spec = named_model(name).spec
    fixed = {"groups": spec.groups, "width_per_group": spec.width_per_group}

    def make(pretrained: bool = False, progress: bool = True, *, weights: Any = None, **kwargs: Any) -> "ResNet":
        from reslab.models.blocks import BasicBlock, Bottleneck
        from reslab.models.residual import ResNet

        for argument, value in fixed.items():
            if name not in _OWN_WIDTH and kwargs.setdefault(argument, value) != value:
                raise ModelError(f"{name} has {argument}={value}, not {kwargs[argument]}; leave it out.")
        model = ResNet(BasicBlock if spec.block == "basic" else Bottleneck, spec.blocks, **kwargs)
        _load(model, name, weights or ("V1" if pretrained else None), progress)
        return model

    make.__doc__ = f"""{name} with torchvision's arguments ({named_model(name).source}).

    Args:
        pretrained: torchvision's first weights for ImageNet, as in older versions of torchvision.
        progress: whether to show a download's progress.
        weights: `V1`, `V2`, `DEFAULT` or a member of torchvision's enumeration; None for fresh weights.
        **kwargs: arguments of `ResNet`, e.g. `num_classes`.
    """
    make.__signature__ = _Signature.from_callable(make)  # type: ignore[attr-defined]
    make.__signature__.name = name  # type: ignore[attr-defined]
    return make


def _ours(name: str) -> Callable[..., "FeatureNetwork"]:
    found = named_model(name)

    def make(*, weights: Any = None, progress: bool = True, **overrides: Any) -> "FeatureNetwork":
        return _build(found.spec, name, weights, progress, overrides)

    make.__doc__ = f"""{name} ({found.source}).

    Args:
        weights: as in `create_model`; None for fresh ones.
        progress: whether to show a download's progress.
        **overrides: fields of `NetSpec` to change, e.g. `num_classes=100`.
    """
    return make


def _keller_jordans(name: str) -> Callable[..., "FeatureNetwork"]:
    found = named_model(name)

    def make(
        res_option: str = "A", *, weights: Any = None, progress: bool = True, **overrides: Any
    ) -> "FeatureNetwork":
        if res_option not in _KELLER_JORDANS:
            raise ModelError(f"res_option must be A, B or C, not {res_option!r}.")
        spec = apply_overrides(found.spec, _KELLER_JORDANS[res_option])
        return _build(spec, name, weights, progress, overrides)

    make.__doc__ = f"""{name} ({found.source}).

    Args:
        res_option: A, zero-padded identity; B, a projection without norm; C, average pooling and zeros.
        weights: as in `create_model`; None for fresh ones.
        progress: whether to show a download's progress.
        **overrides: fields of `NetSpec` to change, e.g. `num_classes=100`.
    """
    return make


def _build(spec: NetSpec, name: str, weights: Any, progress: bool, overrides: dict[str, Any]) -> "FeatureNetwork":
    from reslab.models.build import build

    model = build(apply_overrides(spec, overrides))
    _load(model, name, weights, progress)
    return model


def _load(model: "FeatureNetwork", name: str, weights: Any, progress: bool) -> None:
    if weights is not None:
        from reslab.models.released import load_pretrained

        load_pretrained(model, name, weights, progress=progress)


def _constructor(name: str) -> Callable[..., "FeatureNetwork"]:
    kind = _torchvisions if name in _TORCHVISIONS else _keller_jordans if name.startswith("keller_jordan") else _ours
    make: Callable[..., FeatureNetwork] = kind(name)
    make.__name__ = make.__qualname__ = name
    globals()[name] = make  # where pickle and torch.hub look for it
    return make


CONSTRUCTORS = {name: _constructor(name) for name in list_models()}
"""The functions by their names."""
