"""The test protocols of the paper: which views of an image a network sees, and what is averaged over them.

- One central crop (Fig. 4), or a small image as it is (Sec. 4.2).
- Ten crops: the corners, the middle, and their mirror images (Tables 2 and 3).
- Shifted: a small image at several places, as training has shown them.
- Dense (`reslab.evaluation.dense`): the network as a fully convolutional one, on whole images at several scales
  (Tables 4 and 5).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from PIL import Image
from torch import Tensor

from reslab.data.dataset import Images
from reslab.data.preprocessing import Interpolation, Preprocessing
from reslab.errors import DataError
from reslab.evaluation.views import (
    FILTERS,
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
from reslab.models.features import FeatureNetwork

__all__ = ["LARGEST_SHIFT", "EvaluationProtocol", "OneCrop", "Shifted", "TenCrop"]

LARGEST_SHIFT = 8


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

    def predict(self, model: FeatureNetwork, inputs: Tensor, probabilities: Probabilities = softmax) -> Tensor:
        """Scores of normalised views, (N, C, H, W) to (N, num_classes) float64: of the kind that is averaged.

        Args:
            model: the network.
            inputs: the views.
            probabilities: what it makes of logits.
        """

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
        return [pixels_of(image)[np.newaxis]]

    def predict(self, model: FeatureNetwork, inputs: Tensor, probabilities: Probabilities = softmax) -> Tensor:
        """As in `EvaluationProtocol`."""
        return scores_of(model(inputs), self.average, probabilities)

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
        check_sides((self.resize, self.crop))
        if self.resize < self.crop:
            raise DataError(f"images resized to {self.resize} pixels hold no crop of {self.crop}x{self.crop}.")

    def views(self, image: Image.Image) -> list[Images]:
        """As in `EvaluationProtocol`."""
        width, height = resized_size(image, self.resize)
        crop, filtering = self.crop, FILTERS[self.interpolation]
        corners = [(0, 0), (0, width - crop), (height - crop, 0), (height - crop, width - crop)]
        middle = round((height - crop) / 2), round((width - crop) / 2)
        # The middle of the mirrored image is not the mirrored middle where an odd number of columns is cut off.
        mirrored_middle = middle[0], width - crop - middle[1]
        if width * height <= MOST_PIXELS:
            whole = pixels_of(resized(image, (width, height), self.interpolation))
            crops = {
                (top, left): whole[top : top + crop, left : left + crop]
                for top, left in (*corners, middle, mirrored_middle)
            }
        else:  # very long: only the crops are computed, with other rounding errors
            x, y = image.width / width, image.height / height
            crops = {
                (top, left): pixels_of(
                    image.resize((crop, crop), filtering, (left * x, top * y, (left + crop) * x, (top + crop) * y))
                )
                for top, left in (*corners, middle, mirrored_middle)
            }
        upright = [crops[place] for place in (*corners, middle)]
        mirrored_corners = (corners[1], corners[0], corners[3], corners[2])  # where they lie in the image itself
        mirrored = [crops[place][:, ::-1] for place in (*mirrored_corners, mirrored_middle)]
        return [np.stack(upright + mirrored)]

    def predict(self, model: FeatureNetwork, inputs: Tensor, probabilities: Probabilities = softmax) -> Tensor:
        """As in `EvaluationProtocol`."""
        return scores_of(model(inputs), self.average, probabilities)

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
        if type(self.shift) is not int or not 0 <= self.shift <= LARGEST_SHIFT:
            raise DataError(f"images can be shifted by 0 to {LARGEST_SHIFT} pixels, and not by {self.shift}.")
        if not self.border or not all(type(value) is int and 0 <= value <= 255 for value in self.border):
            raise DataError("a border must be whole numbers from 0 to 255.")

    def views(self, image: Image.Image) -> list[Images]:
        """As in `EvaluationProtocol`; the image itself is the middle one of those that are not mirrored."""
        pixels, shift = pixels_of(image), self.shift
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

    def predict(self, model: FeatureNetwork, inputs: Tensor, probabilities: Probabilities = softmax) -> Tensor:
        """As in `EvaluationProtocol`."""
        return scores_of(model(inputs), self.average, probabilities)

    def to_dict(self) -> dict[str, Any]:
        """As in `EvaluationProtocol`."""
        return {
            "name": self.name,
            "shift": self.shift,
            "border": list(self.border),
            "flips": self.flips,
            "average": self.average,
        }
