"""The named networks, as data, and the one-line spelling of any network. Importing this module imports no torch.

A spelling is a name, or a name with fields of `NetSpec` changed in brackets: `resnet20[shortcut=C,num_classes=100]`.
Besides the registered names, `resnet{6n+2}`, `plain{6n+2}` and `keller_jordan{6n+2}` are known for every n (Sec. 4.2).
"""

import fnmatch
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from reslab.errors import ModelError, suggestion
from reslab.fields import knobs, show
from reslab.models.spec import NetSpec

__all__ = [
    "NamedModel",
    "apply_overrides",
    "base_name",
    "cifar_resnet",
    "list_models",
    "named_model",
    "parse_model",
    "read_field",
    "spell",
    "with_fields",
]


@dataclass(frozen=True)
class NamedModel:
    """A registered network.

    Args:
        spec: its description.
        source: where the name comes from.
        whole: whether `spell` uses the name for this very network alone, and no other name with fields in brackets.
    """

    spec: NetSpec
    source: str
    whole: bool = False


_REGISTRY: dict[str, NamedModel] = {}
_CIFAR_NAME = re.compile(r"(resnet|plain|keller_jordan)([1-9]\d{0,4})")
_SPELLING = re.compile(r"\s*([\w.-]+)\s*(?:\[(.*)\])?\s*", re.DOTALL)


def register(name: str, source: str, spec: NetSpec, *, whole: bool = False) -> None:
    """Adds a named network, with arguments as in `NamedModel`.

    Raises:
        ModelError: the name is taken.
    """
    if name in _REGISTRY:
        raise ModelError(f"a model named {name!r} is registered already; give the new one another name.")
    _REGISTRY[name] = NamedModel(spec, source, whole)


def cifar_resnet(n: int, **overrides: Any) -> NetSpec:
    """The CIFAR net of 6n+2 layers: three stages of n basic blocks, option A (Sec. 4.2).

    Args:
        n: blocks a stage; 3, 5, 7, 9, 18 and 200 in the paper.
        **overrides: other fields of `NetSpec`, e.g. `shortcut="none"` for the plain net.

    Raises:
        ModelError: n is not a positive integer, or an override is unknown or wrong.
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ModelError(f"cifar_resnet needs a positive integer n (3 gives ResNet-20), not {n!r}.")
    return apply_overrides(NetSpec(blocks=(n, n, n)), overrides)


_FOUR_STAGES = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_VGG_CONVOLUTIONS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
_PREACT = "arXiv 1603.05027"
_KELLER_JORDAN = "KellerJordan/ResNet-PyTorch-CIFAR10"


def _imagenet(depth: int, **overrides: Any) -> NetSpec:
    """Table 1's net of this depth, with the defaults of torchvision."""
    spec = NetSpec(
        blocks=_FOUR_STAGES[depth],
        block="bottleneck" if depth >= 50 else "basic",
        widths=(64, 128, 256, 512),
        shortcut="B",
        stem="imagenet",
        num_classes=1000,
    )
    return replace(spec, **overrides)


def _keller_jordan(n: int) -> NetSpec:
    return cifar_resnet(n, conv_bias=True, branch_dropout=0.5)


def _vgg(depth: int, **overrides: Any) -> NetSpec:
    widths = (64, 128, 256, 512, 512)
    return NetSpec(
        family="vgg",
        blocks=_VGG_CONVOLUTIONS[depth],
        widths=widths,
        shortcut="none",
        stem="imagenet",
        conv_bias=True,
        dropout=0.5,
        num_classes=1000,
        **{"norm": "none", **overrides},
    )


def _register_all() -> None:
    for depth in (20, 32, 44, 56, 110, 1202):
        register(f"resnet{depth}", "Sec. 4.2, Table 6", cifar_resnet((depth - 2) // 6))
    for depth in (20, 32, 44, 56, 110):
        register(f"plain{depth}", "Sec. 4.2, Fig. 6", cifar_resnet((depth - 2) // 6, shortcut="none"))
    for depth in _FOUR_STAGES:
        register(f"resnet{depth}", "Table 1", _imagenet(depth))
    for depth in (18, 34):
        register(f"plain{depth}", "Table 1, Table 2", _imagenet(depth, shortcut="none"))
    for depth, groups, width in ((50, 32, 4), (101, 32, 8), (101, 64, 4)):
        spec = _imagenet(depth, groups=groups, width_per_group=width)
        register(f"resnext{depth}_{groups}x{width}d", "arXiv 1611.05431", spec)
    for depth in (50, 101):
        register(f"wide_resnet{depth}_2", "arXiv 1605.07146", _imagenet(depth, width_per_group=128))
    for depth in _FOUR_STAGES:
        spec = _imagenet(depth, order="pre", projection_norm=False)
        register(f"preact_resnet{depth}", _PREACT, spec)
    register("preact_resnet110", f"{_PREACT}, Table 2", cifar_resnet(18, order="pre"))
    for depth in (164, 1001):  # 9n + 2 layers in bottlenecks
        n = (depth - 2) // 9
        spec = cifar_resnet(n, block="bottleneck", order="pre", shortcut="B", projection_norm=False)
        register(f"preact_resnet{depth}", f"{_PREACT}, Table 4", spec)
    register("keller_jordan32", _KELLER_JORDAN, _keller_jordan(5))
    for depth in _FOUR_STAGES:
        spec = _imagenet(depth, stem="cifar", num_classes=10, init="torch")
        register(f"kuangliu_resnet{depth}", "kuangliu/pytorch-cifar", spec, whole=True)
        register(f"seresnet{depth}", "arXiv 1709.01507", _imagenet(depth, squeeze_excitation=16), whole=True)
    for depth in _VGG_CONVOLUTIONS:
        register(f"vgg{depth}", "arXiv 1409.1556", _vgg(depth))
        register(f"vgg{depth}_bn", "torchvision", _vgg(depth, norm="batch"))


def list_models(pattern: str = "*") -> list[str]:
    """Registered names that match a shell-style wildcard, in natural order (resnet20 before resnet110)."""
    names = fnmatch.filter(_REGISTRY, pattern)
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def named_model(name: str) -> NamedModel:
    """The network of a registered name, or of `resnet{6n+2}`, `plain{6n+2}` or `keller_jordan{6n+2}`.

    Raises:
        ModelError: no such network; the message suggests near names.
    """
    if name in _REGISTRY:
        return _REGISTRY[name]
    if (match := _CIFAR_NAME.fullmatch(name)) and (depth := int(match[2])) >= 8 and depth % 6 == 2:
        n = (depth - 2) // 6
        if match[1] == "keller_jordan":
            return NamedModel(_keller_jordan(n), _KELLER_JORDAN)
        shortcut = "none" if match[1] == "plain" else "A"
        return NamedModel(cifar_resnet(n, shortcut=shortcut), "Sec. 4.2, 6n+2 layers")
    hint = suggestion(name, _REGISTRY, "; `reslab models` lists them.", most=3)
    raise ModelError(f"there is no model named {name!r}{hint}")


def parse_model(
    spelling: str, overrides: Mapping[str, Any] | None = None, defaults: Mapping[str, Any] | None = None
) -> NetSpec:
    """The description that a one-line spelling stands for.

    Args:
        spelling: a name, with changed fields in brackets or without; tuples are written 3-4-6-3.
        overrides: fields changed on top of the spelling.
        defaults: fields changed where neither the spelling nor the overrides give them, e.g. a data set's classes.

    Raises:
        ModelError: an unknown name or field, a bad value, or one field given twice with two values.
    """
    named, given = split_spelling(with_fields(spelling, overrides or {}))
    return apply_overrides(named.spec, {**(defaults or {}), **given})


def base_name(spelling: str) -> str:
    """The name in a spelling, without the fields in brackets."""
    return spelling.partition("[")[0].strip()


def split_spelling(spelling: str) -> tuple[NamedModel, dict[str, Any]]:
    """The named network of a spelling and the fields that its brackets change."""
    match = _SPELLING.fullmatch(spelling)
    if match is None:
        raise ModelError(
            f"cannot read the model {spelling!r}: write a name, or a name with fields, as in resnet20[shortcut=C]."
        )
    given: dict[str, Any] = {}
    for item in (match[2] or "").split(","):
        if not item.strip():
            continue
        name, equals, text = (part.strip() for part in item.partition("="))
        if not equals:
            raise ModelError(f"cannot read {item.strip()!r} in the model {spelling!r}: write field=value.")
        if name in given:
            raise ModelError(f"{name} stands twice in the model {spelling!r}.")
        given[name] = read_field(name, text)
    return named_model(match[1]), given


def apply_overrides(spec: NetSpec, overrides: Mapping[str, Any]) -> NetSpec:
    """`spec` with some fields changed.

    Raises:
        ModelError: an unknown field (the message suggests near ones) or a bad value.
    """
    known = [field.name for field in fields(NetSpec)]
    for name in overrides:
        if name not in known:
            hint = suggestion(name, known, f"; it has {', '.join(known)}.")
            raise ModelError(f"a network has no field {name!r}{hint}")
    return replace(spec, **overrides)


def with_fields(spelling: str, overrides: Mapping[str, Any]) -> str:
    """A spelling with more fields in its brackets.

    Raises:
        ModelError: a field is there already, with another value.
    """
    _, given = split_spelling(spelling)
    for name, value in overrides.items():
        if name in given and given[name] != value:
            raise ModelError(f"{name} is given twice, as {given[name]!r} in {spelling!r} and as {value!r} beside it.")
        given[name] = value
    return base_name(spelling) + _bracketed(given)


def spell(spec: NetSpec) -> str:
    """The shortest spelling of a description; `parse_model` reads it back to an equal one."""
    whole = next((name for name, model in _REGISTRY.items() if model.whole and model.spec == spec), None)
    if whole:
        return whole
    candidates = [(name, model.spec) for name, model in _REGISTRY.items() if not model.whole]
    if len(set(spec.blocks)) == 1 and len(spec.blocks) == 3:
        depth = 6 * spec.blocks[0] + 2
        candidates += [(name, named_model(name).spec) for name in (f"resnet{depth}", f"plain{depth}")]

    def changed(base: NetSpec) -> list[str]:
        return [field.name for field in fields(NetSpec) if getattr(spec, field.name) != getattr(base, field.name)]

    name, base = min(candidates, key=lambda candidate: len(changed(candidate[1])))
    names = changed(base)
    return name + _bracketed({field: getattr(spec, field) for field in names})


def _bracketed(values: Mapping[str, Any]) -> str:
    return f"[{','.join(f'{name}={show(value)}' for name, value in values.items())}]" if values else ""


def read_field(name: str, text: str) -> Any:
    """The value of a field of `NetSpec` that a text stands for.

    Raises:
        ModelError: it stands for none.
    """
    item = next((item for item in knobs(NetSpec) if item.name == name), None)
    if item is None:
        return text  # `apply_overrides` says that there is no such field
    try:
        return item.parse(text)
    except ValueError as takes:
        raise ModelError(f"{name} must be {takes}, not {text}.") from None


_register_all()
