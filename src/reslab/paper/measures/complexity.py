"""What a network costs, computed and not measured: weights, multiply-adds by layer, memory."""

from reslab.analysis.complexity import Summary, summarize
from reslab.analysis.training_memory import estimate_training_memory
from reslab.models.spec import NetSpec
from reslab.paper.measures import Measured
from reslab.paper.subjects import MeasuredNetwork

__all__ = ["arithmetic", "complexity", "layer_costs", "training_cost"]

_MIB = 1 << 20


def complexity(subject: MeasuredNetwork) -> Measured:
    """Parameters, layers and multiply-adds at the size of images that the network was made for (Table 1)."""
    spec = subject.spec
    found = _summary(spec)
    values = {
        "parameters": float(found.parameters),
        "million_parameters": found.parameters / 1e6,
        "gmacs": found.macs / 1e9,
        "num_layers": float(spec.depth),
    }
    return Measured(values=values)


def layer_costs(subject: MeasuredNetwork) -> Measured:
    """Multiply-adds of every convolution and matrix product, in order."""
    layers = [layer for layer in _summary(subject.spec).layers if layer.macs and layer.is_leaf]
    maps = [layer.output_shape[-1] if len(layer.output_shape) == 4 else 1 for layer in layers]
    return Measured(
        series={
            "layer": [layer.name for layer in layers],
            "mmacs": [layer.macs / 1e6 for layer in layers],
            "map": maps,
            "parameters": [layer.parameters for layer in layers],
        }
    )


def arithmetic(subject: MeasuredNetwork) -> Measured:
    """What the text says of layers and blocks (Sec. 3.3, 4.1), of a network that has them.

    For basic blocks, how many times the cheapest 3x3 layer of stride 1 the dearest one costs; for bottlenecks, the
    weights of the first stage's second block over those of two 3x3 layers of as many channels as its 3x3 has, and over
    the same with a projection as shortcut.
    """
    spec = subject.spec
    if spec.family == "vgg":
        return Measured()
    layers = {layer.name: layer for layer in _summary(spec).layers}
    if spec.block == "basic":
        costs = [layer.macs for name, layer in layers.items() if name.endswith("conv2") and name.startswith("layer")]
        return Measured(values={"stage_cost_ratio": max(costs) / min(costs)})
    block = [layers[f"layer1.1.conv{number}"].parameters for number in (1, 2, 3)]
    width, outputs = spec.widths[0], spec.widths[0] * spec.expansion
    basic = 2 * 9 * width * width
    return Measured(
        values={
            "bottleneck_weights": float(sum(block)),
            "basic_weights": float(basic),
            "bottleneck_ratio": sum(block) / basic,
            "projection_ratio": (sum(block) + outputs * outputs) / sum(block),
        }
    )


def training_cost(subject: MeasuredNetwork) -> Measured:
    """Parameters, multiply-adds and memory of a training step, for the data's images and the recipe's batch."""
    spec, recipe = subject.spec, subject.job.subject.followed
    height, width, _ = subject.data.image_shape
    found = summarize(spec, (height, width))
    values = {"thousand_parameters": found.parameters / 1e3, "million_macs": found.macs / 1e6}
    if recipe is not None:
        bytes_ = estimate_training_memory(spec, (height, width), recipe.data.batch_size)
        values["training_mib"] = bytes_ / _MIB
    return Measured(values=values)


def _summary(spec: NetSpec) -> Summary:
    side = spec.usual_input_size
    return summarize(spec, (side, side))
