"""What convolutions start as: He's initialisation (Sec. 3.4), and those that it is compared with."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reslab.models.spec import NetSpec

__all__ = ["initialize_classifier", "initialize_convolution"]


def initialize_convolution(convolution: nn.Conv2d, spec: NetSpec) -> None:
    """Draws weights as a network's description says; biases start at 0, but for torch's own initialisation.

    Args:
        convolution: any, also of a shortcut.
        spec: its `init` and `init_std`.
    """
    if spec.init == "torch":
        return
    draw: dict[str, Any] = {
        "xavier": nn.init.xavier_normal_,
        "normal": partial(nn.init.normal_, std=spec.init_std),
        "identity": partial(nn.init.dirac_, groups=convolution.groups),
        "looks-linear": _looks_linear,
    }
    he = partial(nn.init.kaiming_normal_, mode=spec.init, nonlinearity="relu")  # type: ignore[arg-type]
    draw.get(spec.init, he)(convolution.weight)
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


@torch.no_grad()
def initialize_classifier(classifier: nn.Linear, spec: NetSpec) -> None:
    """Lets the halves of its inputs count with opposite signs in a net that looks linear; else it stays as it is."""
    if spec.init == "looks-linear":
        half = classifier.in_features // 2
        classifier.weight[:, half : 2 * half] = -classifier.weight[:, :half]


@torch.no_grad()
def _looks_linear(weight: Tensor) -> None:
    """Filters in pairs of opposite sign, so that a plain net of ReLUs is linear at first (arXiv 1702.08591).

    Half of the channels have their opposites in the other half. Since relu(x) - relu(-x) = x, a layer whose filters see
    the two halves with opposite signs computes an orthogonal map of x. The first layer sees images, which have no
    opposites; an odd number of channels leaves the last one alone.

    Args:
        weight: (out, in, h, w).
    """
    out, channels, height, width = weight.shape
    halves = channels % 2 == 0 and out % 2 == 0
    drawn = torch.empty((out + 1) // 2, channels // 2 if halves else channels, height, width, device=weight.device)
    drawn.zero_()
    nn.init.orthogonal_(centre := torch.empty(drawn.shape[:2], device=weight.device))
    drawn[:, :, height // 2, width // 2] = centre
    filters = torch.cat([drawn, -drawn], 1) if halves else drawn
    weight.copy_(torch.cat([filters, -filters])[:out])
