"""Standard deviations of the layers' responses (Fig. 7): how strongly each layer changes what it is given."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reslab.analysis.probes import ProbedLayer, check_images, json_ready, left_unchanged, probed_layers
from reslab.errors import DataError, ModelError
from reslab.models.features import FeatureNetwork

__all__ = ["LayerResponse", "estimated_responses", "layer_responses"]


@dataclass(frozen=True)
class LayerResponse:
    """How much a 3x3 convolution's response varies.

    Args:
        name: path of the convolution in the network.
        stage: number of its stage, from 1; 0 for the stem.
        block: its block's number in the stage, from 0.
        std: standard deviation over images, positions and channels, before ReLU or addition.
        after_norm: whether it is that of the norm's output; where no norm directly follows the convolution, it is that
            of the convolution's own.
    """

    name: str
    stage: int
    block: int
    std: float
    after_norm: bool

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        table: dict[str, Any] = json_ready(self)
        return table


class _Spread:
    """Mean and variance of numbers that come in parts, in double precision (Chan, Golub and LeVeque, 1983)."""

    def __init__(self) -> None:
        self.count, self.mean, self.variance = 0, 0.0, 0.0

    def add(self, values: Tensor) -> None:
        variance, mean = (float(moment) for moment in torch.var_mean(values.double(), correction=0))
        before, count = self.count, self.count + values.numel()
        shift, share = mean - self.mean, values.numel() / count
        self.variance = self.variance * before / count + variance * share + shift * shift * share * (before / count)
        self.mean += shift * share
        self.count = count


def layer_responses(model: FeatureNetwork, batches: Iterable[Tensor]) -> tuple[LayerResponse, ...]:
    """Measures the responses of all 3x3 convolutions in evaluation mode, as Figure 7 shows them.

    The stem counts where it is of 3x3 convolutions; the 1x1 projections of shortcuts do not.

    Args:
        model: left as it is.
        batches: normalised images, (N, C, H, W) each; only one batch at a time is in memory.

    Returns:
        A response for each layer, in layer order.

    Raises:
        DataError: there are no images, or none that the network takes.
        ModelError: a network whose layers cannot be found.
    """
    layers = probed_layers(model)
    spreads = [_Spread() for _ in layers]
    hooks = [
        _measured(layer).register_forward_hook(_adds_to(spread)) for layer, spread in zip(layers, spreads, strict=True)
    ]
    try:
        with left_unchanged(model), torch.no_grad():
            for images in batches:
                model(check_images(model, images))
    finally:
        for handle in hooks:
            handle.remove()
    if not spreads[0].count:
        raise DataError("there are no images to measure responses on: give at least one batch, (N, C, H, W).")
    return tuple(_response(layer, spread.variance) for layer, spread in zip(layers, spreads, strict=True))


def estimated_responses(model: FeatureNetwork) -> tuple[LayerResponse, ...]:
    """What the responses are where every batch norm sees inputs of the mean and variance that it expects.

    A channel then has the norm's scale gamma for its standard deviation and its shift beta for its mean, so that over
    all channels the variance is the mean of gamma^2 and the variance of beta. No image is needed, and any state dict
    will do.

    Args:
        model: a network with a batch norm after every 3x3 convolution.

    Returns:
        As `layer_responses`.

    Raises:
        ModelError: some 3x3 convolution has no batch norm after it.
    """
    return tuple(_response(layer, _expected_variance(layer)) for layer in probed_layers(model))


def _expected_variance(layer: ProbedLayer) -> float:
    norm = layer.norm
    if not isinstance(norm, nn.BatchNorm2d):
        raise ModelError(
            f"{layer.name} has no batch norm directly after it, whose scale and shift would tell the response; measure "
            "it on images with layer_responses."
        )
    if norm.weight is None:  # no scale and shift of its own
        return 1.0
    gamma, beta = norm.weight.detach().double(), norm.bias.detach().double()
    return float(gamma.square().mean() + beta.var(correction=0))


def _measured(layer: ProbedLayer) -> nn.Module:
    return layer.convolution if layer.norm is None else layer.norm


def _adds_to(spread: _Spread) -> Any:
    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        spread.add(output)  # now: an activation may overwrite it

    return hook


def _response(layer: ProbedLayer, variance: float) -> LayerResponse:
    return LayerResponse(layer.name, layer.stage, layer.block, math.sqrt(variance), layer.norm is not None)
