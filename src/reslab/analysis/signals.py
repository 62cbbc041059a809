"""How strong activations and gradients are from layer to layer: whether they vanish, keep their strength, or explode.

Sec. 4.1 says of plain nets with batch norm that neither forward nor backward signals vanish. Theory agrees, and says
more: in a deep plain net of batch norm and ReLU gradients explode (Yang et al. 2019, arXiv 1902.08129).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reslab.analysis.probes import ProbedLayer, check_images, check_labels, json_ready, left_unchanged, probed_layers
from reslab.errors import DataError, ModelError
from reslab.models.features import FeatureNetwork

__all__ = ["THEORETICAL_GROWTH", "GradientGrowth", "LayerSignal", "gradient_growth", "layer_signals"]

THEORETICAL_GROWTH = math.sqrt(math.pi / (math.pi - 1))
"""1.211: growth of the gradient's norm a layer towards the input, in plain nets of batch norm and ReLU at the start.

It is the limit of wide layers and large batches. For Gaussian z the layer h = W relu(z) has a variance of fan_in times
the weights' variance times that of relu(z), (pi - 1) / (2 pi), and batch norm divides by its root. Backwards a gradient
goes through the same weights, and through ReLU in the half of the places where z > 0: its mean square grows by a half
over (pi - 1) / (2 pi), which is pi / (pi - 1).
"""


@dataclass(frozen=True)
class LayerSignal:
    """What goes forward and back through a 3x3 convolution. Numbers that overflow are `inf` or `nan`, lost ones 0.

    Args:
        name: path of the convolution in the network.
        stage: number of its stage, from 1; 0 for the stem.
        block: its block's number in the stage, from 0.
        forward_std: standard deviation of its output over images, positions and channels.
        normed_std: of the output of the norm that directly follows; None where none does.
        gradient_norm: Euclidean norm of the loss's gradient with respect to its output, over the whole batch.
        weight_gradient_norm: the same with respect to its weights.
        weight_norm: Euclidean norm of its weights.
        num_outputs: numbers in its output, over the whole batch.
    """

    name: str
    stage: int
    block: int
    forward_std: float
    normed_std: float | None
    gradient_norm: float
    weight_gradient_norm: float
    weight_norm: float
    num_outputs: int

    @property
    def gradient_rms(self) -> float:
        """Root mean square of the gradient with respect to its output."""
        return self.gradient_norm / math.sqrt(self.num_outputs)

    @property
    def relative_gradient(self) -> float:
        """Norm of the gradient with respect to its output, measured in standard deviations of that output."""
        return self.gradient_norm * self.forward_std

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, where `inf` and `nan` are texts."""
        table: dict[str, Any] = json_ready(self)
        return table


@dataclass(frozen=True)
class GradientGrowth:
    """By which factor gradients grow from a 3x3 convolution's output to that of the one before it.

    Args:
        per_layer: over the whole net: exp of the slope of a straight line through the logarithms.
        first_over_last: the first layer's gradient over the last one's.
        num_layers: 3x3 convolutions.
        stages: the same slope within each stage, in order; `nan` where it has less than two layers.
    """

    per_layer: float
    first_over_last: float
    num_layers: int
    stages: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON, where `inf` and `nan` are texts."""
        table: dict[str, Any] = json_ready(self)
        return table


def layer_signals(model: FeatureNetwork, images: Tensor, labels: Tensor) -> tuple[LayerSignal, ...]:
    """One step forward and back without an update: what every 3x3 convolution gives, and the gradient that it gets.

    Batch norms use the batch's statistics, as in training; dropout and stochastic depth are off. The loss is the mean
    cross-entropy.

    Args:
        model: left as it is, gradients included.
        images: (N, C, H, W), normalised.
        labels: (N,) int64.

    Returns:
        A signal for each layer, in layer order.

    Raises:
        DataError: images or labels that do not fit the network, or too few for batch norm's statistics.
        ModelError: a network whose layers cannot be found, or without a classifier.
    """
    layers = probed_layers(model)
    images = check_images(model, images)
    labels = check_labels(model, images, labels)
    if len(images) < 2:
        raise DataError("signals need at least two images: batch norm's statistics of one say nothing.")
    outputs: dict[str, tuple[float, int]] = {}
    normed: dict[str, float] = {}
    gradients: dict[str, float] = {}
    hooks = [hook for layer in layers for hook in _hooks(layer, outputs, normed, gradients)]
    weights = [layer.convolution.weight for layer in layers]
    try:
        with left_unchanged(model, batch_statistics=True, gradients=True), torch.enable_grad():
            loss = functional.cross_entropy(model(images), labels)
            of_weights = torch.autograd.grad(loss, weights)  # and not backward(), which would add to .grad
    finally:
        for handle in hooks:
            handle.remove()
    return tuple(
        LayerSignal(
            layer.name,
            layer.stage,
            layer.block,
            outputs[layer.name][0],
            normed.get(layer.name),
            gradients[layer.name],
            _norm(gradient),
            _norm(layer.convolution.weight),
            outputs[layer.name][1],
        )
        for layer, gradient in zip(layers, of_weights, strict=True)
    )


def _hooks(
    layer: ProbedLayer, outputs: dict[str, tuple[float, int]], normed: dict[str, float], gradients: dict[str, float]
) -> list[Any]:
    """Hooks that note a layer's numbers under its name."""

    def after_convolution(module: Any, args: Any, output: Tensor) -> None:
        outputs[layer.name] = _std(output), output.numel()
        # The tensor's own hook sees the gradient before any activation that overwrites the tensor.
        output.register_hook(  # type: ignore[no-untyped-call]
            lambda gradient: gradients.__setitem__(layer.name, _norm(gradient))
        )

    def after_norm(module: Any, args: Any, output: Tensor) -> None:
        normed[layer.name] = _std(output)

    hooks = [layer.convolution.register_forward_hook(after_convolution)]
    if layer.norm is not None:
        hooks.append(layer.norm.register_forward_hook(after_norm))
    return hooks


def _std(values: Tensor) -> float:
    return float(values.detach().double().std(correction=0))


def _norm(values: Tensor) -> float:
    return float(values.detach().double().norm())  # squares of small float32 numbers would be 0


def gradient_growth(signals: Sequence[LayerSignal]) -> GradientGrowth:
    """How fast gradients grow towards the input: 1 is a net that keeps them, more is explosion, less is vanishing.

    A layer's gradient is the norm of dL/d(its output), measured in standard deviations of that output. Both have a
    reason. With a norm after it a layer may have weights of any scale, and the gradient is in inverse proportion to it:
    only the product says something of the function, and it is the same for both of He's initialisations, and for
    images of any scale. And it is the norm that grows evenly where a stage begins, not the root mean square: there a
    gradient goes back from C' channels on maps of H'W' to C on HW, and an input feeds C' outputs in H'W' / HW of its
    places instead of C. The mean square thus changes by (C' H'W') / (C HW), and the sum of squares as within a stage.

    Measured at the start, `THEORETICAL_GROWTH` holds to the third digit in nets of 24 layers without borders (circular
    padding) on white noise, across stages too. Zeros around the maps take 0.01 to 0.05 from it, the more the smaller
    the maps; and after some tens of layers few images make most of a channel's variance, which takes as much again.

    Where the first layer's gradient is lost to underflow the growth is 0, where it overflows `inf`; `nan` where the
    numbers say nothing else.

    Args:
        signals: of `layer_signals`, in layer order.

    Raises:
        ModelError: fewer than two layers.
    """
    if len(signals) < 2:
        raise ModelError(f"growth from layer to layer needs at least two 3x3 convolutions, not {len(signals)}.")
    numbers = sorted({signal.stage for signal in signals} - {0})
    stages = [[signal.relative_gradient for signal in signals if signal.stage == number] for number in numbers]
    whole = [signal.relative_gradient for signal in signals]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        ratio = float(np.float64(whole[0]) / np.float64(whole[-1]))
    return GradientGrowth(_slope(whole), ratio, len(whole), tuple(_slope(stage) for stage in stages))


def _slope(gradients: Sequence[float]) -> float:
    """Growth a layer towards the first, by least squares in the logarithms."""
    if len(gradients) < 2:
        return math.nan
    if all(0 < gradient < math.inf for gradient in gradients):
        return float(np.exp(-np.polyfit(np.arange(len(gradients)), np.log(gradients), 1)[0]))
    first, last = gradients[0], gradients[-1]
    if 0 < last < math.inf and first in (0.0, math.inf):
        return first
    return math.nan
