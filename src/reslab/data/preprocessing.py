"""How a decoded image becomes a network's input in a test: its size and crop, which exported files carry with them."""

import json
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

import numpy as np
from PIL import Image

from reslab.data.dataset import Images
from reslab.data.decoding import in_mode
from reslab.errors import DataError

__all__ = ["FILTERS", "LARGEST_SIDE", "PHOTO_CROP_SHARE", "Interpolation", "Preprocessing"]

Interpolation = Literal["bilinear", "bicubic"]

PHOTO_CROP_SHARE = 0.875
"""Side of the crop in the shorter side of the resized photo where nothing else is known: 224 of 256 (Sec. 3.4)."""
LARGEST_SIDE = 1 << 14
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """One central view: the image scaled until it covers a box, and the crop in the middle of that.

    For a square crop, the shorter side becomes `resize` pixels long: torchvision's `Resize(resize)` of a PIL image,
    antialiased, and `CenterCrop((height, width))`. The box of an oblong crop has the crop's shape.

    Args:
        height: of the crop, in pixels.
        width: of the crop.
        channels: 3 for RGB, 1 for grey; networks that take others see no image files.
        resize: the box's shorter side; the crop's own where nothing but the aspect ratio is to be cut.
        interpolation: of the scaling.

    Raises:
        DataError: sizes that are not positive, or a box smaller than the crop.
    """

    height: int
    width: int
    channels: int
    resize: int
    interpolation: Interpolation = "bilinear"

    def __post_init__(self) -> None:
        numbers = (self.height, self.width, self.channels, self.resize)
        if not all(type(value) is int and 1 <= value <= LARGEST_SIDE for value in numbers):
            raise DataError(f"the sizes of a preprocessing must be whole numbers from 1 to {LARGEST_SIDE:,}.")
        if self.resize < min(self.height, self.width):
            raise DataError(f"images resized to {self.resize} pixels hold no crop of {self.height}x{self.width}.")
        if self.interpolation not in FILTERS:
            raise DataError(f"there is no interpolation {self.interpolation!r}, only {' and '.join(FILTERS)}.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the result."""
        return self.height, self.width, self.channels

    @classmethod
    def from_json(cls, text: str) -> Self:
        """What `to_json` wrote.

        Raises:
            DataError: it is something else.
        """
        try:
            values = json.loads(text)
            return cls(**{field.name: values[field.name] for field in fields(cls)})
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            reason = str(error) if isinstance(error, DataError) else "it is not what reslab writes."
            raise DataError(f"cannot read the preprocessing in the file: {reason}") from None

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    def to_json(self) -> str:
        """For a file's metadata."""
        return json.dumps(self.to_dict())

    def __call__(self, image: Image.Image) -> Images:
        """The network's view of an image, (height, width, channels) uint8.

        Raises:
            DataError: the image has more than 8 bits a channel, or the network takes neither 1 channel nor 3.
        """
        image = in_mode(image, self.channels)
        if image.size != (self.width, self.height) or self.resize != min(self.height, self.width):
            image = self._scaled(image)
        return np.asarray(image).reshape(self.shape)

    def seen_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """The part of an upright image that the network sees: left, top, right and bottom in the image's own pixels."""
        full_width, full_height, left, top = self._placed(width, height)
        x, y = width / full_width, height / full_height
        return left * x, top * y, (left + self.width) * x, (top + self.height) * y

    def _placed(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Width and height of an image that is scaled to cover the box, and left and top of the crop in it."""
        short = min(self.height, self.width)
        box_height, box_width = self.height * self.resize // short, self.width * self.resize // short
        # Rounded down, as torchvision does, whichever side is the one that must not fall short of the box.
        if width * box_height <= height * box_width:
            full_width, full_height = box_width, max(box_height, box_width * height // width)
        else:
            full_width, full_height = max(box_width, box_height * width // height), box_height
        return full_width, full_height, round((full_width - self.width) / 2), round((full_height - self.height) / 2)

    def _scaled(self, image: Image.Image) -> Image.Image:
        full_width, full_height, left, top = self._placed(*image.size)
        if (full_width, full_height) == image.size:
            return image.crop((left, top, left + self.width, top + self.height))
        # Only the crop is computed. That takes half the time, and bounds it for an image of 1 by 60,000 pixels; the
        # filter still sees the pixels around the crop, so that the result is that of resizing first.
        box = self.seen_box(*image.size)
        return image.resize((self.width, self.height), FILTERS[self.interpolation], box=box)
