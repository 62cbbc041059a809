"""What measurements inside networks share: the 3x3 convolutions in layer order, and a network left as it was found."""

import math
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from reslab.errors import DataError, ModelError
from reslab.models.features import FeatureNetwork
from reslab.models.residual import ResNet
from reslab.models.vgg import VGG

__all__ = ["ProbedLayer", "check_images", "check_labels", "json_ready", "left_unchanged", "probed_layers"]


@dataclass(frozen=True, eq=False)
class ProbedLayer:
    """A 3x3 convolution of a network.

    Args:
        name: path in the network.
        stage: number of its stage, from 1; 0 for the stem.
        block: its block's number in the stage, from 0 as in the names; in a VGG the convolution's own.
        convolution: the module.
        norm: the norm that directly follows it; None where something else does.
    """

    name: str
    stage: int
    block: int
    convolution: nn.Conv2d
    norm: nn.Module | None


def probed_layers(model: nn.Module) -> tuple[ProbedLayer, ...]:
    """A network's 3x3 convolutions in the order in which they compute (Fig. 7); a projection of 1x1 is none.

    The network sees one small image for this.

    Raises:
        ModelError: it is not a network of `reslab.models`, has no such convolution, or does not call its modules one by
            one.
    """
    if not isinstance(model, FeatureNetwork):
        raise ModelError(f"{type(model).__name__} is not a network of reslab.models; build one with create_model.")
    called: list[nn.Module] = []
    norms: dict[nn.Module, nn.Module] = {}
    last: list[tuple[nn.Module, Tensor]] = []  # the convolution that computed last, and its output

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        called.append(module)
        if isinstance(module, nn.Conv2d):
            last[:] = [(module, output)]
        elif last and args[0] is last[0][1]:
            norms[last[0][0]] = module

    names = {
        module: name for name, module in model.named_modules() if _is_norm(module) or isinstance(module, nn.Conv2d)
    }
    hooks = [module.register_forward_hook(hook) for module in names]
    try:
        with left_unchanged(model), torch.no_grad():
            model(_small_image(model))
    finally:
        for handle in hooks:
            handle.remove()
    if silent := [name for module, name in names.items() if module not in called]:
        raise ModelError(
            f"{silent[0]} is not called as a module of its own, as where kernels for training are in use; load the "
            "weights into a network fresh from create_model, and measure that."
        )
    found = tuple(
        ProbedLayer(names[module], *_place(model, names[module]), module, norms.get(module))
        for module in called
        if isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3)
    )
    if not found:
        raise ModelError("the network has no 3x3 convolution, whose output could be measured.")
    return found


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm | nn.GroupNorm)


def _small_image(model: FeatureNetwork) -> Tensor:
    """One that the last stage sees as a map of 2x2: enough to find the layers."""
    side = 2 * int(model.feature_info[-1]["reduction"])
    parameter = _parameter(model)
    return torch.zeros((1, model.in_chans, side, side), dtype=parameter.dtype, device=parameter.device)


def _place(model: FeatureNetwork, name: str) -> tuple[int, int]:
    """Stage and block of a module."""
    first, *rest = name.split(".")
    if isinstance(model, ResNet) and first in model.stage_names:
        return model.stage_names.index(first) + 1, int(rest[0])
    if isinstance(model, VGG):
        position = int(rest[0])
        stage = bisect_right(model.stage_ends, position)
        start = model.stage_ends[stage - 1] if stage else 0
        return stage + 1, sum(isinstance(layer, nn.Conv2d) for layer in model.features[start:position])
    return 0, 0


@contextmanager
def left_unchanged(model: nn.Module, *, batch_statistics: bool = False, gradients: bool = False) -> Iterator[None]:
    """Within it nothing random happens; after it modes, buffers and what needs gradients are as they were before.

    Dropout and stochastic depth are off, as in tests, so that nothing is drawn from torch's generators.

    Args:
        model: whose parameters are not changed within.
        batch_statistics: let batch norms use the batch's statistics, as in training.
        gradients: let all parameters need gradients, also where some are frozen.
    """
    modes = [(module, module.training) for module in model.modules()]
    needs = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()] if batch_statistics else []
    model.eval()
    try:
        if gradients:
            model.requires_grad_(True)
        for module in model.modules():
            if batch_statistics and isinstance(module, _BatchNorm):
                module.train()
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, needed in needs:
            parameter.requires_grad_(needed)
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)


def check_images(model: FeatureNetwork, images: object) -> Tensor:
    """A batch of images, on the network's device and in its precision.

    Args:
        model: that is to see them.
        images: (N, C, H, W), normalised.

    Raises:
        DataError: it is no such tensor, is empty, or has another number of channels.
    """
    if not isinstance(images, Tensor) or images.dim() != 4 or not images.is_floating_point():
        what = f"a tensor of {tuple(images.shape)}, {images.dtype}" if isinstance(images, Tensor) else repr(images)[:60]
        raise DataError(f"images must be a floating-point tensor (N, C, H, W), normalised, not {what}.")
    if not images.shape[0] or images.shape[1] != model.in_chans:
        raise DataError(
            f"images must be (N, {model.in_chans}, H, W) for this network with N at least 1, not {tuple(images.shape)}."
        )
    parameter = _parameter(model)
    return images.detach().to(device=parameter.device, dtype=parameter.dtype)


def check_labels(model: FeatureNetwork, images: Tensor, labels: object) -> Tensor:
    """The classes of a batch, on the network's device.

    Args:
        model: the classifier.
        images: the batch.
        labels: (N,) int64.

    Raises:
        ModelError: the network has no classifier.
        DataError: they are no such tensor, of another number than the images, or of classes that there are not.
    """
    if not model.num_classes:
        raise ModelError("the network has no classifier, whose loss could be measured; build it with num_classes.")
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
        what = f"a tensor of {tuple(labels.shape)}, {labels.dtype}" if isinstance(labels, Tensor) else repr(labels)[:60]
        raise DataError(f"labels must be int64 ({len(images)},), one for each image, not {what}.")
    if int(labels.min()) < 0 or int(labels.max()) >= model.num_classes:
        raise DataError(f"labels must lie in 0 to {model.num_classes - 1}, the network's classes.")
    return labels.to(_parameter(model).device)


def _parameter(model: nn.Module) -> nn.Parameter:
    return next(model.parameters())


def json_ready(value: Any) -> Any:
    """A result as JSON takes it: dataclasses are tables, arrays lists, `inf` and `nan` texts that float() reads."""
    if is_dataclass(value):
        return {field.name: json_ready(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        return json_ready(value.tolist())
    if isinstance(value, tuple | list):
        return [json_ready(item) for item in value]
    if isinstance(value, dict):
        return {name: json_ready(item) for name, item in value.items()}
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
