"""Our networks in timm: after `register()`, `timm.create_model("reslab_resnet50")` and timm's own scripts build them.

import timm
from reslab.integrations.timm import register

register()
timm.create_model("reslab_resnet50", features_only=True, out_indices=(1, 2, 3, 4))
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import fields
from typing import Any

import torch

from reslab.errors import ModelError
from reslab.models import create_model, list_models, parse_model
from reslab.models.features import FeatureNetwork
from reslab.models.released import WeightCard, list_cards
from reslab.models.spec import NetSpec

__all__ = ["PREFIX", "register"]

PREFIX = "reslab_"

default_cfgs: dict[str, dict[str, Any]] = {}
"""timm's descriptions of our networks' inputs and weights, by timm's names: its registry looks for them here."""
_DILATED = {32: (False, False, False), 16: (False, False, True), 8: (False, True, True)}


def register(pattern: str = "*") -> list[str]:
    """Registers our networks with timm, by our names after `reslab_`.

    They take timm's arguments (`num_classes`, `in_chans`, `global_pool`, `drop_rate`, `drop_path_rate`,
    `output_stride`, `features_only`, `out_indices`, `pretrained`, `device`, `dtype`) and the fields of `NetSpec`.
    Registering again does no harm.

    Args:
        pattern: shell-style wildcard over our names; or any spelling, as in `resnet26` or `resnet20[shortcut=C]`.

    Returns:
        The names that timm now knows.

    Raises:
        ModelError: timm is not installed, or no network is called so.
    """
    try:
        from timm.models import is_model, register_model
    except ImportError:
        raise ModelError("timm is not installed: pip install timm.") from None
    registered = []
    names = list_models(pattern)
    if not names:
        parse_model(pattern)  # which says so where there is no such network
        names = [pattern]
    for name in names:
        entrypoint = _entrypoint(name)
        default_cfgs[entrypoint.__name__] = _configuration(name)
        if not is_model(entrypoint.__name__):
            register_model(entrypoint)
        registered.append(entrypoint.__name__)
    return registered


def _entrypoint(name: str) -> Callable[..., Any]:
    """A function as timm's registry has them."""
    from timm.models import PretrainedCfg, build_model_with_cfg

    spec = parse_model(name)
    is_vgg = spec.family == "vgg"
    num_maps = len(spec.blocks) + 1  # the stem's, too; of a VGG the last pooling's

    def build(pretrained: bool = False, **kwargs: Any) -> Any:
        variant = f"{PREFIX}{name}"
        kwargs["pretrained_cfg"] = kwargs.get("pretrained_cfg") or PretrainedCfg(**default_cfgs[variant])
        feature_cfg = {"out_indices": tuple(range(num_maps)), "flatten_sequential": is_vgg}
        feature_cfg |= kwargs.pop("feature_cfg", None) or {}

        def make(**model_kwargs: Any) -> FeatureNetwork:
            return _make(name, **model_kwargs)

        return build_model_with_cfg(make, variant, pretrained, feature_cfg=feature_cfg, **kwargs)

    build.__name__ = build.__qualname__ = f"{PREFIX}{name}"
    return build


# As many arguments as timm's networks take.
def _make(
    name: str,
    *,
    num_classes: int | None = None,
    in_chans: int = 3,
    global_pool: str | None = None,
    drop_rate: float | None = None,
    drop_path_rate: float = 0.0,
    output_stride: int = 32,
    device: Any = None,
    dtype: torch.dtype | None = None,
    **overrides: Any,
) -> FeatureNetwork:
    """Our network from timm's arguments; TypeError for an unknown one, as timm's networks raise it."""
    spec = parse_model(name)
    if unknown := sorted(set(overrides) - {field.name for field in fields(NetSpec)}):
        raise TypeError(f"{PREFIX}{name} has no argument {unknown[0]!r}.")
    if num_classes is not None:
        overrides["num_classes"] = num_classes
    if drop_rate is not None:
        overrides["dropout"] = drop_rate
    if drop_path_rate:
        overrides["stochastic_depth"] = drop_path_rate
    if output_stride != 32:
        if output_stride not in _DILATED or len(spec.blocks) != 4:
            raise ModelError(
                f"output_stride={output_stride} is not possible here: networks of four stages take 32, 16, 8."
            )
        overrides["replace_stride_with_dilation"] = _DILATED[output_stride]
    with nullcontext() if device is None else torch.device(device):
        model = create_model(spec, in_channels=in_chans, **overrides).to(dtype=dtype)
    if global_pool is not None and global_pool != model.global_pool:
        model.reset_classifier(model.num_classes, global_pool)
    return model


def _configuration(name: str) -> dict[str, Any]:
    """timm's description of a network's input and weights."""
    spec = parse_model(name)
    size = spec.usual_input_size
    is_vgg = spec.family == "vgg"
    halvings = len(spec.blocks) - 1 - sum(spec.replace_stride_with_dilation) + (0 if spec.stem == "cifar" else 2)
    known: WeightCard | None = next(
        (card for card in reversed(list_cards()) if card.model == name and card.name.startswith("torchvision:")), None
    )
    configuration: dict[str, Any] = {
        "num_classes": spec.num_classes,
        "input_size": (spec.in_channels, size, size),
        "pool_size": (size // (32 if is_vgg else 2**halvings),) * 2,
        "first_conv": "features.0" if is_vgg else "conv1.0" if spec.stem == "deep" else "conv1",
        "classifier": "classifier.6" if is_vgg else "fc",
    }
    if known is not None:
        configuration |= {
            "url": known.location,
            "mean": known.mean,
            "std": known.std,
            "interpolation": known.interpolation,
            "crop_pct": known.input_size / known.resize,
            "license": known.license,
        }
    return configuration
