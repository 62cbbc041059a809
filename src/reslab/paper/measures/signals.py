"""Responses of layers (Fig. 7), and forward signals and gradients by layer (Sec. 4.1)."""

from typing import Any

import numpy as np
from torch import Tensor

from reslab.analysis.responses import estimated_responses, layer_responses
from reslab.analysis.signals import GradientGrowth, gradient_growth, layer_signals
from reslab.errors import ModelError
from reslab.models.features import FeatureNetwork
from reslab.paper.measures import Measured
from reslab.paper.subjects import MeasuredNetwork

__all__ = ["growth", "responses", "signals"]

_RESPONSE_IMAGES = 2_000
_SIGNAL_IMAGES = 128


def responses(subject: MeasuredNetwork) -> Measured:
    """Standard deviations of the 3x3 layers' responses, measured on test images where there are some, and estimated
    from batch norm's parameters alone."""
    network = subject.network
    values: dict[str, float] = {}
    series: dict[str, Any] = {}
    if subject.has_images:
        measured = layer_responses(network, (images for images, _ in subject.batches("test", _RESPONSE_IMAGES)))
        series["layer"] = [layer.name for layer in measured]
        series["response"] = [layer.std for layer in measured]
        values["mean_response"] = float(np.mean(series["response"]))
        values["median_response"] = float(np.median(series["response"]))
    try:
        estimated = estimated_responses(network)
    except ModelError:  # it has no such norms
        estimated = ()
    if estimated:
        series.setdefault("layer", [layer.name for layer in estimated])
        series["estimate"] = [layer.std for layer in estimated]
        values["estimated_response"] = float(np.mean(series["estimate"]))
        values["rms_scale"] = _rms_scale(network)
    return Measured(values=values, series=series)


def _rms_scale(network: FeatureNetwork) -> float:
    """Root mean square of batch norm's scales over the layers."""
    scales = [parameter for name, parameter in network.named_parameters() if _is_scale(name, parameter)]
    return float(np.sqrt(np.mean([float(scale.detach().square().mean()) for scale in scales])))


def _is_scale(name: str, parameter: Tensor) -> bool:
    return parameter.dim() == 1 and name.endswith("weight")


def growth(subject: MeasuredNetwork) -> Measured:
    """How the gradient's norm grows from layer to layer towards the input, with fresh weights."""
    images, labels = next(subject.batches("train", _SIGNAL_IMAGES, _SIGNAL_IMAGES))
    layers = layer_signals(subject.fresh(), images, labels)
    found = gradient_growth(layers)
    return Measured(
        values={"growth": found.per_layer, "gradient_ratio": found.first_over_last},
        series={
            "layer": [layer.name for layer in layers],
            "gradient": [layer.relative_gradient for layer in layers],
            "stage_growth": list(found.stages),
        },
    )


def signals(subject: MeasuredNetwork) -> Measured:
    """Responses, gradients and weights' norms by layer at the start, along the training, and at its end."""
    images, labels = next(subject.batches("train", _SIGNAL_IMAGES, _SIGNAL_IMAGES))
    series: dict[str, Any] = {"at": [], "response": [], "gradient": [], "weight": []}
    growths: list[GradientGrowth] = []
    for iteration, network in subject.along_training():
        layers = layer_signals(network, images, labels)
        series["layer"] = [layer.name for layer in layers]
        series["at"].append(iteration)
        responses = [layer.forward_std if layer.normed_std is None else layer.normed_std for layer in layers]
        series["response"].append(responses)
        series["gradient"].append([layer.relative_gradient for layer in layers])
        series["weight"].append([layer.weight_norm for layer in layers])
        growths.append(gradient_growth(layers))
    return Measured(
        values={
            "start_gradient_ratio": growths[0].first_over_last,
            "end_gradient_ratio": growths[-1].first_over_last,
            "start_growth": growths[0].per_layer,
            "end_growth": growths[-1].per_layer,
            "least_response": min(series["response"][0]),
            "weight_growth": float(np.max(np.divide(series["weight"][-1], series["weight"][0]))),
        },
        series=series,
    )
