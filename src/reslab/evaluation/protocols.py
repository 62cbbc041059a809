"""The test protocols of the paper: which views of an image a network sees, and what is averaged over them.

- One central crop (Fig. 4), or a small image as it is (Sec. 4.2).
- Ten crops: the corners, the middle, and their mirror images (Tables 2 and 3).
- Shifted: a small image at several places, as training has shown them.
- Dense: the network as a fully convolutional one, on whole images at several scales (Tables 4 and 5).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from reslab.data.dataset import Images
from reslab.data.decoding import in_mode
from reslab.data.preprocessing import LARGEST_SIDE, Interpolation, Preprocessing
from reslab.errors import DataError
from reslab.models.build import build
from reslab.models.features import FeatureNetwork
from reslab.models.spec import NetSpec
from reslab.models.vgg import VGG

__all__ = [
    "DENSE_SCALES",
    "Average",
    "Dense",
    "EvaluationProtocol",
    "OneCrop",
    "Pool",
    "Shifted",
    "TenCrop",
    "dense_window",
]

Average = Literal["probabilities", "logits"]
Pool = Literal["sliding", "global"]

DENSE_SCALES = (224, 256, 384, 480, 640)
"""Shorter sides of the paper's best results (Sec. 4.1), for networks trained at 224."""

_LARGEST_SHIFT = 8
_MOST_PIXELS = 16_000_000  # of a resized image; a network's activations take a hundred times as many bytes and more
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


class EvaluationProtocol(Protocol):
    """What all protocols have; equal ones give equal scores."""

    name: ClassVar[str]

    @property
    def average(self) -> Average:
        """What is averaged over the views, and in dense testing over the places of a score map."""

    def views(self, image: Image.Image) -> list[Images]:
        """What the network sees of an image: (V, H, W, C) uint8, an array for each shape; every view counts once.

        Raises:
            DataError: the image cannot be used so; the message does not name it.
        """

    def predict(self, model: FeatureNetwork, inputs: Tensor) -> Tensor:
        """Scores of normalised views, (N, C, H, W) to (N, num_classes) float64: of the kind that is averaged."""

    def to_dict(self) -> dict[str, Any]:
        """Name and fields, as plain values."""


@dataclass(frozen=True)
class OneCrop:
    """A single view: the central crop of a photo (Fig. 4), or a small image as it is (Sec. 4.2).

    Args:
        preprocessing: size and crop; None for images that are seen as their data set gives them.
    """

    preprocessing: Preprocessing | None = None
    name: ClassVar[str] = "one-crop"
    average: ClassVar[Average] = "probabilities"

    def views(self, image: Image.Image) -> list[Images]:
        """As in `EvaluationProtocol`."""
        if self.preprocessing is not None:
            return [self.preprocessing(image)[np.newaxis]]
        return [_pixels(image)[np.newaxis]]

    def predict(self, model: FeatureNetwork, inputs: Tensor) -> Tensor:
        """As in `EvaluationProtocol`."""
        return _scores(model(inputs), self.average)

    def to_dict(self) -> dict[str, Any]:
        """As in `EvaluationProtocol`; resize and crop are null where images are seen as they are."""
        seen = self.preprocessing
        if seen is None:
            return {"name": self.name, "resize": None, "crop": None}
        crop = [seen.height, seen.width]
        return {"name": self.name, "resize": seen.resize, "crop": crop, "interpolation": seen.interpolation}


@dataclass(frozen=True, kw_only=True)
class TenCrop:
    """Corners and middle of an image and of its mirror image, the softmax averaged (Sec. 4.1; Tables 2 and 3).

    The crops are those of torchvision's `Resize(resize)` and `TenCrop(crop)`, in its order and bit for bit. What
    fb.resnet.torch and torchvision's documentation average over them is not the softmax but the logits.

    Args:
        resize: shorter side of the image, in pixels.
        crop: side of the crops.
        interpolation: of the resizing.
        average: of the softmax (the paper), or of the logits before it.

    Raises:
        DataError: sizes that are not positive, or a crop that is larger than the resized image.
    """

    resize: int = 256
    crop: int = 224
    interpolation: Interpolation = "bilinear"
    average: Average = "probabilities"
    name: ClassVar[str] = "ten-crop"

    def __post_init__(self) -> None:
        _check_sides((self.resize, self.crop))
        if self.resize < self.crop:
            raise DataError(f"images resized to {self.resize} pixels hold no crop of {self.crop}x{self.crop}.")

    def views(self, image: Image.Image) -> list[Images]:
        """As in `EvaluationProtocol`."""
        width, height = _resized_size(image, self.resize)
        crop, filtering = self.crop, _FILTERS[self.interpolation]
        corners = [(0, 0), (0, width - crop), (height - crop, 0), (height - crop, width - crop)]
        middle = round((height - crop) / 2), round((width - crop) / 2)
        # The middle of the mirrored image is not the mirrored middle where an odd number of columns is cut off.
        mirrored_middle = middle[0], width - crop - middle[1]
        if width * height <= _MOST_PIXELS:
            whole = _pixels(_resized(image, (width, height), self.interpolation))
            crops = {
                (top, left): whole[top : top + crop, left : left + crop]
                for top, left in (*corners, middle, mirrored_middle)
            }
        else:  # very long: only the crops are computed, with other rounding errors
            x, y = image.width / width, image.height / height
            crops = {
                (top, left): _pixels(
                    image.resize((crop, crop), filtering, (left * x, top * y, (left + crop) * x, (top + crop) * y))
                )
                for top, left in (*corners, middle, mirrored_middle)
            }
        upright = [crops[place] for place in (*corners, middle)]
        mirrored_corners = (corners[1], corners[0], corners[3], corners[2])  # where they lie in the image itself
        mirrored = [crops[place][:, ::-1] for place in (*mirrored_corners, mirrored_middle)]
        return [np.stack(upright + mirrored)]

    def predict(self, model: FeatureNetwork, inputs: Tensor) -> Tensor:
        """As in `EvaluationProtocol`."""
        return _scores(model(inputs), self.average)

    def to_dict(self) -> dict[str, Any]:
        """As in `EvaluationProtocol`."""
        return {
            "name": self.name,
            "resize": self.resize,
            "crop": [self.crop, self.crop],
            "interpolation": self.interpolation,
            "average": self.average,
        }


@dataclass(frozen=True, kw_only=True)
class Shifted:
    """A small image and itself shifted by some pixels, up, down and sideways, the softmax averaged.

    Not in the paper, which tests CIFAR-10's images in a single view (Sec. 4.2): the test of a network that was trained
    on padded and cropped images, as records for speed on CIFAR-10 use it (github.com/KellerJordan/cifar10-airbench).

    Args:
        shift: the farthest, in pixels; 1 has 9 views and 2 has 25.
        border: what comes into view, from 0 to 255, for each channel or one for all; as in training is best.
        flips: whether the mirror images count as well.
        average: of the softmax, or of the logits before it.

    Raises:
        DataError: a shift or a border that is not in its range.
    """

    shift: int = 1
    border: tuple[int, ...] = (0,)
    flips: bool = False
    average: Average = "probabilities"
    name: ClassVar[str] = "shifted"

    def __post_init__(self) -> None:
        if type(self.shift) is not int or not 0 <= self.shift <= _LARGEST_SHIFT:
            raise DataError(f"images can be shifted by 0 to {_LARGEST_SHIFT} pixels, and not by {self.shift}.")
        if not self.border or not all(type(value) is int and 0 <= value <= 255 for value in self.border):
            raise DataError("a border must be whole numbers from 0 to 255.")

    def views(self, image: Image.Image) -> list[Images]:
        """As in `EvaluationProtocol`; the image itself is the middle one of those that are not mirrored."""
        pixels, shift = _pixels(image), self.shift
        height, width, channels = pixels.shape
        if min(height, width) <= shift:
            raise DataError(f"an image of {width}x{height} pixels has nothing left after a shift by {shift}.")
        if len(self.border) not in (1, channels):
            raise DataError(f"the border has {len(self.border)} channels, and the image {channels}.")
        padded = np.empty((height + 2 * shift, width + 2 * shift, channels), np.uint8)
        padded[:] = self.border
        padded[shift : shift + height, shift : shift + width] = pixels
        places = range(2 * shift + 1)
        views = [padded[top : top + height, left : left + width] for top in places for left in places]
        if self.flips:
            views += [view[:, ::-1] for view in views]
        return [np.stack(views)]

    def predict(self, model: FeatureNetwork, inputs: Tensor) -> Tensor:
        """As in `EvaluationProtocol`."""
        return _scores(model(inputs), self.average)

    def to_dict(self) -> dict[str, Any]:
        """As in `EvaluationProtocol`."""
        return {
            "name": self.name,
            "shift": self.shift,
            "border": list(self.border),
            "flips": self.flips,
            "average": self.average,
        }


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
        _check_sides((*self.scales, *self.window))

    def views(self, image: Image.Image) -> list[Images]:
        """As in `EvaluationProtocol`."""
        views = []
        for scale in self.scales:
            width, height = _resized_size(image, scale)
            if width * height > _MOST_PIXELS:
                raise DataError(
                    f"it is too long for dense testing: with a shorter side of {scale} it has {width}x{height} pixels."
                )
            pixels = _pixels(_resized(image, (width, height), self.interpolation))
            views.append(np.stack([pixels, pixels[:, ::-1]]) if self.flips else pixels[np.newaxis])
        return views

    def predict(self, model: FeatureNetwork, inputs: Tensor) -> Tensor:
        """As in `EvaluationProtocol`."""
        features = model.forward_features(inputs)
        if self.pool == "global":
            return _scores(model.forward_head(features), self.average)
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
        scores = _scores(model.forward_head(places), self.average)
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


def _scores(logits: Tensor, average: Average) -> Tensor:
    """What is averaged, in float64, in which the order of the additions does not show."""
    logits = logits.to("cpu", torch.float64)
    return logits.softmax(dim=1) if average == "probabilities" else logits


def _check_sides(sides: Sequence[int]) -> None:
    if not all(type(side) is int and 1 <= side <= LARGEST_SIDE for side in sides):
        raise DataError(f"the sizes of a protocol must be whole numbers from 1 to {LARGEST_SIDE:,}.")


def _resized_size(image: Image.Image, side: int) -> tuple[int, int]:
    """Width and height of an image whose shorter side becomes `side`; the longer one is rounded down (torchvision)."""
    width, height = image.size
    return (side, side * height // width) if width <= height else (side * width // height, side)


def _resized(image: Image.Image, size: tuple[int, int], interpolation: Interpolation) -> Image.Image:
    return image if image.size == size else image.resize(size, _FILTERS[interpolation])


def _pixels(image: Image.Image) -> Images:
    """(H, W, C) uint8 of an RGB or grey image."""
    pixels = np.asarray(in_mode(image, 1 if image.mode == "L" else 3))
    return pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
