"""Dense testing: the network as a fully convolutional one, on whole images at several scales (Tables 4 and 5)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from reslab.data.dataset import Images
from reslab.data.preprocessing import Interpolation
from reslab.errors import DataError
from reslab.evaluation.views import (
    MOST_PIXELS,
    Average,
    Probabilities,
    check_sides,
    pixels_of,
    resized,
    resized_size,
    scores_of,
    softmax,
)
from reslab.models.build import build
from reslab.models.features import FeatureNetwork
from reslab.models.spec import NetSpec
from reslab.models.vgg import VGG

__all__ = ["DENSE_SCALES", "Dense", "Pool", "dense_window"]

Pool = Literal["sliding", "global"]

DENSE_SCALES = (224, 256, 384, 480, 640)
"""Shorter sides of the paper's best results (Sec. 4.1), for networks trained at 224."""


@dataclass(frozen=True, kw_only=True)
class Dense:
    """The network as a fully convolutional one, on whole images at several scales (Sec. 4.1; Tables 4 and 5).

    The last feature map is averaged in windows of the size that the map has in training, at stride 1, and the
    classifier is applied at every place, as a 1x1 convolution; its scores are averaged over the places, then over the
    scales. On a square image of the training size that is the plain forward pass.

    The classifier of a VGG sees every window as it is, which makes its first layer a convolution.

    Args:
        scales: shorter sides that an image is resized to, in pixels.
        pool: windows that slide over the map, or one average of the whole map.
        average: of the softmax at every place, or of the logits; then the softmax comes last.
        flips: whether the mirror images count as well; the paper says nothing of them.
        window: height and width of the windows; a smaller map is averaged as a whole. `dense_window` finds it.
        interpolation: of the resizing.

    Raises:
        DataError: no scales, or sides that are not positive.
    """

    scales: tuple[int, ...] = DENSE_SCALES
    pool: Pool = "sliding"
    average: Average = "probabilities"
    flips: bool = False
    window: tuple[int, int] = (7, 7)
    interpolation: Interpolation = "bilinear"
    name: ClassVar[str] = "dense"

    def __post_init__(self) -> None:
        if not self.scales or len(set(self.scales)) != len(self.scales):
            raise DataError("dense testing needs scales, one or more, all different.")
        check_sides((*self.scales, *self.window))

    def views(self, image: Image.Image) -> list[Images]:
        """As in `EvaluationProtocol`."""
        views = []
        for scale in self.scales:
            width, height = resized_size(image, scale)
            if width * height > MOST_PIXELS:
                raise DataError(
                    f"it is too long for dense testing: with a shorter side of {scale} it has {width}x{height} pixels."
                )
            pixels = pixels_of(resized(image, (width, height), self.interpolation))
            views.append(np.stack([pixels, pixels[:, ::-1]]) if self.flips else pixels[np.newaxis])
        return views

    def predict(self, model: FeatureNetwork, inputs: Tensor, probabilities: Probabilities = softmax) -> Tensor:
        """As in `EvaluationProtocol`."""
        features = model.forward_features(inputs)
        if self.pool == "global":
            return scores_of(model.forward_head(features), self.average, probabilities)
        num_images, channels, height, width = features.shape
        window = min(self.window[0], height), min(self.window[1], width)
        if isinstance(model, VGG) or model.global_pool != "avg":
            unfolded = functional.unfold(features, window)  # (N, channels * window, places)
            num_places = unfolded.shape[2]
            places = unfolded.transpose(1, 2).reshape(num_images * num_places, channels, *window)
        else:
            pooled = functional.avg_pool2d(features, window, stride=1)
            num_places = pooled.shape[2] * pooled.shape[3]
            places = pooled.permute(0, 2, 3, 1).reshape(num_images * num_places, channels, 1, 1)
        # The pooling in the head then finds nothing left to average.
        scores = scores_of(model.forward_head(places), self.average, probabilities)
        return scores.reshape(num_images, num_places, -1).mean(dim=1)

    def to_dict(self) -> dict[str, Any]:
        """As in `EvaluationProtocol`."""
        return {
            "name": self.name,
            "scales": list(self.scales),
            "pool": self.pool,
            "average": self.average,
            "flips": self.flips,
            "window": list(self.window),
            "interpolation": self.interpolation,
        }


def dense_window(spec: NetSpec, size: tuple[int, int]) -> tuple[int, int]:
    """Height and width of a network's last feature map at the size it is trained at: 7 by 7 for 224 (Table 1).

    Args:
        spec: the network.
        size: height and width of the images, in pixels.

    Raises:
        DataError: the images are too small for the network.
    """
    with torch.device("meta"), torch.no_grad():
        model = build(spec).eval()
        try:
            height, width = model.forward_features(torch.empty(1, spec.in_channels, *size)).shape[2:]
        except RuntimeError:
            raise DataError(f"images of {size[0]}x{size[1]} pixels are too small for this network.") from None
    return height, width
