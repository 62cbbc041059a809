"""Where somebody's own network differs from one of ours, layer by layer in the order in which both compute.

Four things are held against each other: the layers with weights and their settings; which of them are projections of
shortcuts; with the same weights in both, the values that reach each layer, which tell of ReLUs, additions and
shortcuts; and how the weights are drawn.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from reslab.analysis.user_code import build_network, first_line
from reslab.errors import ModelError
from reslab.models.build import build
from reslab.models.spec import NetSpec
from reslab.models.zoo import list_models, parse_model, spell

__all__ = ["Comparison", "compare_networks", "nearest_network"]

_TOLERANCE = 1e-6  # relative, in double precision
_MOST_APART = 1.25  # standard deviations of weights that were drawn alike
_FEWEST_WEIGHTS = 400  # of which a standard deviation is taken
_SETTINGS = {
    "in_channels": "input channels",
    "out_channels": "filters",
    "kernel_size": "kernel",
    "stride": "stride",
    "padding": "padding",
    "dilation": "dilation",
    "groups": "groups",
}


class Comparison(NamedTuple):
    """What `compare_networks` found.

    Args:
        reference: our network's spelling.
        layer: the path of the first layer that differs, in the other network; empty where it is the whole.
        sentence: what differs there; empty where nothing does.
    """

    reference: str
    layer: str = ""
    sentence: str = ""


@dataclass(eq=False)
class _Unit:
    """A layer with weights, with the norm that directly follows a convolution."""

    name: str
    module: Any
    input: Tensor
    output: Tensor
    norm: Any = None
    is_projection: bool = False

    @property
    def kind(self) -> str:
        kinds = {nn.Conv2d: "convolution", nn.Linear: "fully-connected layer"}
        return kinds.get(type(self.module), "norm")


@dataclass(eq=False)
class _Trace:
    units: list[_Unit] = field(default_factory=list)
    output: Tensor | None = None

    @property
    def main(self) -> list[_Unit]:
        return [unit for unit in self.units if not unit.is_projection]

    @property
    def projections(self) -> list[_Unit]:
        return [unit for unit in self.units if unit.is_projection]


def compare_networks(
    make: Callable[[], nn.Module], reference: str | NetSpec | None = None, image_size: tuple[int, int] | None = None
) -> Comparison:
    """Finds the first difference between somebody's network and one of ours.

    Args:
        make: builds the other network, with fresh weights.
        reference: a name, spelling or description of ours; the nearest one by default (`nearest_network`).
        image_size: height and width; what our network was made for by default.

    Raises:
        ModelError: the other network cannot be built, or takes other inputs.
    """
    theirs = build_network(make)
    spec = nearest_network(theirs) if reference is None else reference
    spec = parse_model(spec) if isinstance(spec, str) else spec
    ours = build(spec)
    name = spell(spec)
    size = image_size or (spec.usual_input_size, spec.usual_input_size)
    images = torch.randn(2, spec.in_channels, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    drawn = _initial_weights(theirs), _initial_weights(ours)
    found = _layers(_trace(theirs, images), _trace(ours, images))
    if found is None:
        _randomize(ours)
        _share_weights(_trace(ours, images), _trace(theirs, images))
        found = _values(_trace(theirs, images), _trace(ours, images))
    found = found or _drawn(*drawn)
    return Comparison(name, *(found or ()))


def nearest_network(model: nn.Module) -> NetSpec:
    """The registered network with the most similar number of parameters, for as many classes and image channels."""
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    classifiers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if not convolutions or not classifiers:
        raise ModelError("it has no convolutions and a fully-connected layer, as every network of the paper has.")
    changed = {"num_classes": classifiers[-1].out_features, "in_channels": convolutions[0].in_channels}
    total = sum(parameter.numel() for parameter in model.parameters())

    def distance(spec: NetSpec) -> tuple[int, bool]:
        with torch.device("meta"):
            ours = build(spec)
        # A plain net has as many parameters as a residual one with option A.
        return abs(total - sum(parameter.numel() for parameter in ours.parameters())), spec.shortcut == "none"

    specs = [parse_model(name, changed) for name in list_models()]
    layers = len(convolutions) + len(classifiers)
    # Those of another depth are not even built, which takes seconds for a thousand layers.
    near = [spec for spec in specs if spec.depth / 2 <= layers <= 2 * spec.depth]
    return min(near or specs, key=distance)


@torch.no_grad()
def _trace(model: nn.Module, images: Tensor) -> _Trace:
    """What a network computes, in double precision and evaluation mode."""
    trace, hooks, model = _Trace(), [], model.double().eval()

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
            last = trace.units[-1] if trace.units else None
            if isinstance(module, _BatchNorm) and last and last.kind == "convolution" and args[0] is last.output:
                last.norm, last.output = module, output
            else:
                # The input as it was: an activation may overwrite it, and `is` tells whose it is.
                trace.units.append(_Unit(name, module, args[0], output))
                kept.append(args[0].clone())

        return hook

    kept: list[Tensor] = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear | _BatchNorm):
            hooks.append(module.register_forward_hook(note(name)))
    try:
        trace.output = model(images)
    except Exception as error:
        size = "x".join(map(str, images.shape[1:]))
        raise ModelError(f"it does not take a batch of {size} images: {first_line(error)}") from None
    finally:
        for handle in hooks:
            handle.remove()
    if not isinstance(trace.output, Tensor):
        raise ModelError(f"it gives no tensor of logits, but {type(trace.output).__name__}.")
    _mark_projections(trace.units)
    for unit, values in zip(trace.units, kept, strict=True):
        unit.input = values
    return trace


def _mark_projections(units: Sequence[_Unit]) -> None:
    """Of convolutions that read the same tensor, the one with the smaller kernel, or else with more filters."""
    by_input: dict[int, list[_Unit]] = {}
    for unit in units:
        if unit.kind == "convolution":
            by_input.setdefault(id(unit.input), []).append(unit)
    for alike in by_input.values():
        if len(alike) > 1:
            projection = min(alike, key=lambda unit: (unit.module.kernel_size, -unit.module.out_channels))
            projection.is_projection = projection.module.kernel_size == (1, 1)


def _layers(theirs: _Trace, ours: _Trace) -> tuple[str, str] | None:
    for part in ("main", "projections"):
        mine: list[_Unit] = getattr(ours, part)
        other: list[_Unit] = getattr(theirs, part)
        for number, (one, two) in enumerate(zip(other, mine, strict=False), 1):
            if sentence := _settings(one, two):
                where = f"layer {number} of the main path" if part == "main" else f"projection {number}"
                return one.name, f"{where}, {one.name}, {sentence}."
        if len(other) != len(mine):
            what = "layers with weights on its main path" if part == "main" else "projections in its shortcuts"
            return "", f"it has {len(other)} {what}, and should have {len(mine)}."
    return None


def _settings(one: _Unit, two: _Unit) -> str | None:
    if one.kind != two.kind:
        return f"is a {one.kind}, where a {two.kind} should be ({two.name})"
    if one.kind == "convolution":
        for name, what in _SETTINGS.items():
            if (value := getattr(one.module, name)) != (expected := getattr(two.module, name)):
                return f"has {what} {_shown(value)}, and should have {_shown(expected)}"
        if (one.norm is None) != (two.norm is None):
            return (
                "has no batch norm after it" if one.norm is None else "has a batch norm after it, and should have none"
            )
    elif one.kind == "norm" and one.module.num_features != two.module.num_features:
        return f"is of {one.module.num_features} channels, and should be of {two.module.num_features}"
    elif one.kind == "fully-connected layer":
        sizes = [(unit.module.in_features, unit.module.out_features) for unit in (one, two)]
        if sizes[0] != sizes[1]:
            return f"goes from {sizes[0][0]} to {sizes[0][1]}, and should go from {sizes[1][0]} to {sizes[1][1]}"
    if (one.module.bias is None) != (two.module.bias is None):
        return "has no bias, and should have one" if one.module.bias is None else "has a bias, and should have none"
    return None


def _shown(value: Any) -> str:
    values = value if isinstance(value, tuple) else (value,)
    return str(values[0]) if len(set(values)) == 1 else "x".join(map(str, values))


@torch.no_grad()
def _randomize(model: nn.Module) -> None:
    """Norms that do something, so that their places show."""
    generator = torch.Generator().manual_seed(1)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            for tensor in (module.weight, module.running_var):
                if tensor is not None:
                    tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            for tensor in (module.bias, module.running_mean):
                if tensor is not None:
                    tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)


@torch.no_grad()
def _share_weights(ours: _Trace, theirs: _Trace) -> None:
    for part in ("main", "projections"):
        for mine, other in zip(getattr(ours, part), getattr(theirs, part), strict=True):
            for source, target in ((mine.module, other.module), (mine.norm, other.norm)):
                if source is not None:
                    values = source.state_dict()
                    for name, tensor in target.state_dict().items():
                        tensor.copy_(values[name])


def _same(one: Tensor, two: Tensor) -> bool:
    return one.shape == two.shape and bool((one - two).abs().max() <= _TOLERANCE * two.abs().max().clamp(min=1e-12))


def _values(theirs: _Trace, ours: _Trace) -> tuple[str, str] | None:
    previous: _Unit | None = None
    block_inputs: list[Tensor] = []
    for one, two in zip(theirs.main, ours.main, strict=True):
        if not _same(one.input, two.input):
            return (
                one.name,
                f"what reaches {one.name} differs: {_reason(one.input, two.input, previous, block_inputs)}.",
            )
        block_inputs.append(two.input)
        previous = two
    assert theirs.output is not None
    assert ours.output is not None
    if _same(theirs.output, ours.output):
        return None
    if theirs.output.shape == ours.output.shape:
        for name, function in (("a softmax", functional.softmax), ("a logarithm of softmax", functional.log_softmax)):
            if _same(theirs.output, function(ours.output, dim=1)):
                return "", f"its output has {name} at its end, and should be logits: the loss has it already."
    return "", "its layers are right, and so is what reaches them, but its output differs."


def _reason(found: Tensor, expected: Tensor, previous: _Unit | None, inputs: Sequence[Tensor]) -> str:
    """Why, where one of the usual mistakes explains it."""
    if found.shape != expected.shape:
        return f"it is of {tuple(found.shape[1:])}, and should be of {tuple(expected.shape[1:])}"
    relu = functional.relu
    if _same(relu(found), expected):
        return "a ReLU before it is missing"
    if _same(found, relu(expected)):
        return "there is a ReLU before it that should not be"
    if previous is not None:
        branch = previous.output
        if _same(found, relu(branch)) or _same(found, branch):
            return "the shortcut is not added"
        for x in reversed(inputs):
            if x.shape == branch.shape:
                if _same(found, relu(branch) + x):
                    return "the ReLU stands before the addition, and should follow it"
                if _same(found, relu(branch + x)) and not _same(expected, relu(branch + x)):
                    return "a shortcut is added that should not be"
    return "what stands between the layers does something else: look at additions, shortcuts, pooling and activations"


def _initial_weights(model: nn.Module) -> list[tuple[str, str, float]]:
    """Of each convolution with many weights: its name, its kind, and the standard deviation."""
    return [
        (name, "x".join(map(str, module.weight.shape)), float(module.weight.detach().std()))
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d) and module.weight.numel() >= _FEWEST_WEIGHTS
    ]


def _drawn(theirs: Sequence[tuple[str, str, float]], ours: Sequence[tuple[str, str, float]]) -> tuple[str, str] | None:
    expected = {shape: deviation for _, shape, deviation in ours}
    for name, shape, deviation in theirs:
        right = expected.get(shape, deviation)
        if not 1 / _MOST_APART <= deviation / right <= _MOST_APART:
            return name, (
                f"its layers and what they compute are right, but {name} starts with weights whose standard deviation "
                f"is {deviation:.3g}, and should be {right:.3g} (He's initialisation, Sec. 3.4)."
            )
    return None
