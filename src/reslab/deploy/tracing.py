"""From a module to a graph of ONNX operators that has the module's names and that quantisers understand."""

import ast
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from reslab.data.normalization import Normalization
from reslab.deploy.engines import DeployError, first_line, silenced
from reslab.models.features import FeatureNetwork

__all__ = ["INPUT", "ExportError", "FromPixels", "any_batch", "explaining", "trace_onnx"]

INPUT = "images"
# What they say while exporting is about conversions and fallbacks that are checked afterwards.
TALKATIVE = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")

_SCOPES = "pkg.torch.onnx.name_scopes"


class ExportError(DeployError):
    """A network that cannot be exported as asked, or a file that does not compute what the network computes."""


class Normalize(nn.Module):
    """(N, H, W, C) uint8 to (N, C, H, W) float32, normalised: one multiplication and one subtraction a value.

    They are not folded into the first convolution, since the zeros that it pads with are zeros after normalisation:
    black pixels before it would give other values at the border.

    Args:
        normalization: that the network was trained with.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, normalization: Normalization) -> None:
        super().__init__()
        scale = torch.from_numpy(1 / (255 * normalization.std))  # (C,)
        shift = torch.from_numpy(normalization.mean / normalization.std)  # (C,) or (H, W, C)
        self.register_buffer("scale", scale.view(-1, 1, 1))
        self.register_buffer("shift", shift.permute(2, 0, 1).contiguous() if shift.ndim == 3 else shift.view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        # Without the copy the network would be traced with strides that later layers then ask for explicitly.
        pixels = images.permute(0, 3, 1, 2).contiguous().float()
        return pixels * self.scale - self.shift


class FromPixels(nn.Module):
    """A network that takes images as decoders give them, (N, H, W, C) uint8.

    Args:
        network: in evaluation mode.
        normalization: that it was trained with.
    """

    def __init__(self, network: FeatureNetwork, normalization: Normalization) -> None:
        super().__init__()
        self.normalize = Normalize(normalization)
        self.network = network
        self.train(network.training)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(self.normalize(images))
        return logits


def any_batch() -> tuple[dict[int, Any]]:
    """torch.export's word for a first dimension of any size."""
    return ({0: torch.export.Dim("batch")},)


@contextmanager
def explaining() -> Iterator[None]:
    """Takes the reason out of the pages that torch writes about a network it cannot trace."""
    try:
        yield
    except RuntimeError as error:
        reason = first_line(error.__cause__ or error)
        raise ExportError(f"torch cannot trace this network for batches of any size: {reason}") from error


def trace_onnx(module: FeatureNetwork | FromPixels, images: Tensor, opset: int) -> torch.onnx.ONNXProgram:
    """The graph, simplified, with batch norm folded into the convolutions before it.

    Nodes have the names of the network's modules (`layer1.0.conv1`), and what is known of the places in the source
    that they come from is left out.

    Args:
        module: in evaluation mode.
        images: a batch of more than one.
        opset: version of ONNX's operators.

    Raises:
        ExportError: torch cannot trace the module, or not write it with this opset.
    """
    network = module.network if isinstance(module, FromPixels) else module
    with silenced(*TALKATIVE), explaining():
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            optimize=True,
            verbose=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=["logits" if network.num_classes else "features"],
            dynamic_shapes=any_batch(),
        )
    assert program is not None
    written = program.model.opset_imports[""]
    if written != opset:  # the exporter goes back to its own version without an error
        raise ExportError(f"this network cannot be written with opset {opset}, only with {written}; leave it out.")
    _pool_by_name(program.model.graph)
    _name_after_modules(program.model.graph, module)
    return program


def _pool_by_name(graph: Any) -> None:
    """Turns means over height and width into global average pooling, the same by the name that quantisers know."""
    for node in graph:
        if node.op_type != "ReduceMean" or len(node.inputs) != 2 or len(node.outputs[0].shape) != 4:
            continue
        axes = node.inputs[1]
        if axes.const_value is None or sorted(axis % 4 for axis in axes.const_value.numpy()) != [2, 3]:
            continue
        node.op_type = "GlobalAveragePool"
        node.attributes.clear()
        node.resize_inputs(1)
        if not axes.uses():
            graph.initializers.pop(axes.name, None)


def _name_after_modules(graph: Any, module: nn.Module) -> None:
    """Gives nodes and values the names of the modules they come from, and drops the exporter's notes.

    The notes hold lines of source with this machine's paths, and take more room than a small network's weights.
    """
    prefix = "network." if isinstance(module, FromPixels) else ""
    torchs = {name for name, module in module.named_modules() if name and not any(module.children())}
    torchs -= {name for name in torchs if not type(module.get_submodule(name)).__module__.startswith("torch.")}
    taken: Counter[str] = Counter()
    for value in list(graph.initializers.values()):  # a new name is a new key
        value.name = value.name.removeprefix(prefix)
    for node in graph:
        scopes = ast.literal_eval(node.metadata_props.get(_SCOPES, "['', '']"))
        scope = scopes[-2]
        leaf = scope in torchs
        scope = f"{scope}.".removeprefix(prefix).rstrip(".")
        # A convolution with a folded norm has the norm's scope; its weight still has the convolution's name.
        weight = node.inputs[1].name if node.op_type in ("Conv", "Gemm") else ""
        if weight.endswith(".weight"):
            scope, leaf = weight.removesuffix(".weight"), True
        name = scope if leaf else f"{scope}.{node.op_type.lower()}".lstrip(".")
        taken[name] += 1
        node.name = name if taken[name] == 1 else f"{name}_{taken[name]}"
        node.metadata_props.clear()
        for output in node.outputs:
            if not output.is_graph_output():
                output.name = f"{node.name}.output"
    for value in (*graph.inputs, *graph.outputs, *graph.initializers.values()):
        value.metadata_props.clear()
