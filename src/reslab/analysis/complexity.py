"""Parameters, multiply-adds and memory of a network, layer by layer, without computing anything.

Multiply-adds are counted as in Table 1 ("FLOPs"): those of convolutions and fully-connected layers, projections
included, and none of batch norm, ReLU, pooling or additions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from reslab.errors import ModelError
from reslab.models.build import build
from reslab.models.spec import NetSpec
from reslab.models.zoo import parse_model
from reslab.texts import show_count

__all__ = ["Layer", "Summary", "count_macs", "count_winograd_macs", "summarize", "summary"]

_BYTES = 4  # float32


@dataclass(frozen=True)
class Layer:
    """A module's row in a summary.

    Args:
        name: path in the network, empty for the network itself.
        kind: the module's class.
        nesting: how deep the module lies.
        output_shape: with the batch size first.
        parameters: of this module without its children's.
        macs: multiply-adds of this module for the whole batch.
        is_leaf: whether it has no children.
        winograd_macs: those that are left by Winograd's F(4x4, 3x3) (arXiv 1509.09308), where it can be used.
    """

    name: str
    kind: str
    nesting: int
    output_shape: tuple[int, ...]
    parameters: int
    macs: int
    is_leaf: bool
    winograd_macs: int = 0


@dataclass(frozen=True)
class Summary:
    """A network's layers in the order of execution, with totals.

    Args:
        layers: containers before their children.
        input_shape: (N, C, H, W).
        parameters: all of them.
        kinds: classes of all modules by their paths, those included that only hold others.
    """

    layers: tuple[Layer, ...]
    input_shape: tuple[int, int, int, int]
    parameters: int
    kinds: Mapping[str, str] = field(default_factory=dict)

    def rows(self, depth: int) -> list[Layer]:
        """The layers down to a depth, each at the bottom with all that it holds, so that rows add up to the total.

        Args:
            depth: 0 for the network, 1 for its stages, 2 for blocks, 3 for layers.
        """
        rows: dict[str, Layer] = {}
        for layer in self.layers:
            if layer.nesting <= depth:
                rows[layer.name] = layer
                continue
            name = ".".join(layer.name.split(".")[:depth])
            above = rows.get(name)
            if above is None:  # a container that is never called itself, as a VGG's features
                above = replace(layer, name=name, kind=self.kinds[name], nesting=depth, parameters=0, macs=0)
            called = name in self.names
            rows[name] = replace(
                above,
                parameters=above.parameters + layer.parameters,
                macs=above.macs + layer.macs,
                output_shape=above.output_shape if called else layer.output_shape,
            )
        return list(rows.values())

    def cells(self, depth: int) -> list[tuple[str, str, str, str]]:
        """`rows` as texts: layer, indented by its depth, output, parameters and multiply-adds."""
        cells = []
        for layer in self.rows(depth):
            name = f"{layer.name.rsplit('.', 1)[-1]} ({layer.kind})" if layer.name else layer.kind
            parameters, macs = (f"{number:,}" if number else "" for number in (layer.parameters, layer.macs))
            cells.append(("  " * layer.nesting + name, " x ".join(map(str, layer.output_shape)), parameters, macs))
        return cells

    def __str__(self) -> str:
        total = self.input_bytes + self.activation_bytes + self.parameter_bytes
        megabytes = (
            f"{size / 1e6:.2f} MB" for size in (self.input_bytes, self.activation_bytes, self.parameter_bytes, total)
        )
        return (
            f"parameters     {self.parameters:,}\n"
            f"multiply-adds  {show_count(self.macs)} at a batch of {self.input_shape[0]}\n"
            "memory         input {}, activations forward and backward {}, parameters {}: {} in all".format(*megabytes)
        )

    @cached_property
    def names(self) -> frozenset[str]:
        """Paths of the modules that are called."""
        return frozenset(layer.name for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-adds of a forward pass of the whole batch."""
        return sum(layer.macs for layer in self.layers)

    @property
    def winograd_macs(self) -> int:
        """Multiply-adds that are left where convolutions of 3x3 and stride 1 go by Winograd's F(4x4, 3x3)."""
        return sum(layer.winograd_macs for layer in self.layers)

    @property
    def input_bytes(self) -> int:
        """Of the float32 images."""
        return _BYTES * prod(self.input_shape)

    @property
    def activation_bytes(self) -> int:
        """Outputs of the layers with parameters, once forward and once as gradients: what training holds (torchinfo's
        "forward/backward pass size")."""
        return 2 * _BYTES * sum(prod(layer.output_shape) for layer in self.layers if layer.is_leaf and layer.parameters)

    @property
    def parameter_bytes(self) -> int:
        """Of the float32 parameters, without gradients and momentum."""
        return _BYTES * self.parameters

    def to_dict(self) -> dict[str, Any]:
        """Totals and layers as plain values."""
        return {
            "input_shape": list(self.input_shape),
            "parameters": self.parameters,
            "macs": self.macs,
            "input_bytes": self.input_bytes,
            "activation_bytes": self.activation_bytes,
            "parameter_bytes": self.parameter_bytes,
            "layers": [
                {
                    "name": layer.name,
                    "kind": layer.kind,
                    "output_shape": list(layer.output_shape),
                    "parameters": layer.parameters,
                    "macs": layer.macs,
                }
                for layer in self.layers
            ],
        }


def summarize(spec: NetSpec, image_size: tuple[int, int], batch_size: int = 1) -> Summary:
    """Runs a network on torch's meta device, which knows shapes and computes nothing.

    Args:
        spec: the network.
        image_size: height and width.
        batch_size: images.

    Raises:
        ModelError: the images are too small for the network.
    """
    with torch.device("meta"):
        model = build(spec).eval()
    return _summarize(model, (batch_size, spec.in_channels, *image_size))


def summary(
    model: str | NetSpec | nn.Module, input_size: Sequence[int] | None = None, *, verbose: bool = True
) -> Summary:
    """Parameters, multiply-adds and memory of any module, as torchinfo counts them.

    Nothing is computed, and the module stays as it is.

    Args:
        model: a name or spelling, a description, or any module that takes one batch of images.
        input_size: (N, C, H, W); one image of the size that the network was made for by default, which a foreign module
            does not tell.
        verbose: print the totals.

    Raises:
        ModelError: no such network, a module without a size, or images that it does not take.
    """
    if isinstance(model, str):
        model = parse_model(model)
    if input_size is None:
        spec = model if isinstance(model, NetSpec) else getattr(model, "spec", None)
        if not isinstance(spec, NetSpec):
            raise ModelError("which images? Give input_size, as in (1, 3, 224, 224).")
        input_size = (1, spec.in_channels, spec.usual_input_size, spec.usual_input_size)
    if len(input_size) != 4 or any(not isinstance(side, int) or side < 1 for side in input_size):
        raise ModelError(f"input_size must be four positive numbers, (N, C, H, W), not {input_size!r}.")
    if isinstance(model, NetSpec):
        with torch.device("meta"):
            model = build(model)
    modes = [(module, module.training) for module in model.modules()]
    try:
        found = _summarize(model.eval(), tuple(input_size))
    finally:
        for module, training in modes:
            module.training = training
    if verbose:
        print(found)
    return found


def _summarize(model: nn.Module, shape: tuple[int, ...]) -> Summary:
    """Of a module in evaluation mode."""
    layers: list[Layer | None] = []
    entered: list[int] = []  # places of the modules that are being called
    seen: set[nn.Module] = set()  # modules called before, as a ReLU that a block uses twice: parameters count once

    def enter(module: nn.Module, args: tuple[Any, ...]) -> None:
        entered.append(len(layers))
        layers.append(None)

    def leave(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            output = _first_tensor(output)
            own = [] if module in seen else list(module.parameters(recurse=False))
            seen.add(module)
            layers[entered.pop()] = Layer(
                name=name,
                kind=type(module).__name__,
                nesting=name.count(".") + 1 if name else 0,
                output_shape=() if output is None else tuple(output.shape),
                parameters=sum(parameter.numel() for parameter in own),
                macs=0 if output is None else _module_macs(module, output),
                is_leaf=not any(True for _ in module.children()),
                winograd_macs=0 if output is None else _winograd_macs(module, output),
            )

        return hook

    hooks = []
    for name, module in model.named_modules():
        hooks += [module.register_forward_pre_hook(enter), module.register_forward_hook(leave(name))]
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    shapes = {name: tensor.to("meta") for name, tensor in tensors.items()}
    try:
        with torch.no_grad():
            torch.func.functional_call(model, shapes, (torch.empty(shape, device="meta"),))
    except (RuntimeError, ValueError, TypeError) as error:
        what = "x".join(map(str, shape[2:]))
        raise ModelError(f"the network does not take {what} images: {str(error).splitlines()[0]}") from None
    finally:
        for handle in hooks:
            handle.remove()
    total = sum(parameter.numel() for parameter in model.parameters())
    kinds = {name: type(module).__name__ for name, module in model.named_modules()}
    batch, channels, height, width = shape
    return Summary(tuple(layer for layer in layers if layer), (batch, channels, height, width), total, kinds)


def _first_tensor(output: Any) -> Tensor | None:
    """What a module gave, or the first tensor in it."""
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, Sequence):
        return next((found for item in output if (found := _first_tensor(item)) is not None), None)
    return output if isinstance(output, Tensor) else None


@lru_cache(maxsize=32)
def count_macs(spec: NetSpec, image_size: tuple[int, int]) -> int:
    """Multiply-adds of one image's forward pass."""
    return summarize(spec, image_size).macs


@lru_cache(maxsize=32)
def count_winograd_macs(spec: NetSpec, image_size: tuple[int, int]) -> int:
    """Those that Winograd's algorithm leaves."""
    return summarize(spec, image_size).winograd_macs


def _module_macs(module: nn.Module, output: Tensor) -> int:
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return output.numel() * module.in_channels // module.groups * prod(module.kernel_size)
    if isinstance(module, nn.Linear):
        return output.numel() * module.in_features
    return 0


def _winograd_macs(module: nn.Module, output: Tensor) -> int:
    """36 for the 16 outputs of a tile and a pair of channels instead of 144; tiles may reach beyond the image."""
    macs = _module_macs(module, output)
    if not isinstance(module, nn.Conv2d) or module.kernel_size != (3, 3) or module.stride != (1, 1):
        return macs
    height, width = output.shape[2:]
    tiles = -(-height // 4) * -(-width // 4)
    return min(macs, macs * 4 * tiles // (height * width))
