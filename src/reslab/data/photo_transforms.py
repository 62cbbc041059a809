"""Random crops and changes of photos for training: the paper's (Sec. 3.4), and those that came after it.

What happens to a photo is a function of seed, epoch, its index and its repeat in the epoch alone. Most of it is
torchvision's transforms, which draw from torch's generator; that one is seeded anew for every photo.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from reslab.data.augment import ERASED_RATIOS, ERASED_SHARES
from reslab.data.dataset import Images
from reslab.data.decoding import Divisor, decode_rgb, jpeg_size
from reslab.data.preprocessing import Interpolation

__all__ = ["PhotoSample", "PhotoTransform"]

# Principal components of the colours of ImageNet's training images, pixels in [0, 1], and standard deviations along
# them: AlexNet's method (arXiv 1512.03385 cites it), fb.resnet.torch's numbers. Rows are red, green and blue.
_COMPONENTS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], dtype=np.float64
)
_DEVIATIONS = np.array([0.2175, 0.0188, 0.0045])

_DIVISORS: tuple[Divisor, ...] = (8, 4, 2)
_ASPECT_RATIOS = (3 / 4, 4 / 3)

_Window = tuple[float, float, float, float]  # top, left, height, width


@dataclass(frozen=True, eq=False)
class PhotoSample:
    """A photo as a batch takes it.

    Args:
        pixels: (3, S, S) uint8.
        shift: (3,) float32, added to the channels, in units of [0, 1].
        erased: top, left, height and width of a rectangle that becomes zero once normalised; zeros for none.
    """

    pixels: Tensor
    shift: NDArray[np.float32]
    erased: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class PhotoTransform:
    """What training does to a photo; the fields are those of `DataRecipe`, which explains them."""

    train_size: int = 224
    interpolation: Interpolation = "bilinear"
    crop: Literal["shorter-side", "area"] = "shorter-side"
    shorter_side: tuple[int, int] = (256, 480)
    area: tuple[float, float] = (0.08, 1.0)
    flip: bool = True
    color: Literal["none", "pca", "jitter"] = "none"
    color_strength: float = 0.1
    auto_augment: Literal["none", "trivial", "rand"] = "none"
    rand_operations: int = 2
    rand_magnitude: int = 7
    erase: float = 0.0
    reduced_decoding: bool = False

    def __call__(self, data: bytes, seed: int, epoch: int, index: int, repeat: int = 0) -> PhotoSample:
        """Decodes and changes a photo.

        Args:
            data: an image file's bytes.
            seed: of the run.
            epoch: from 0.
            index: of the photo.
            repeat: from 0, where an epoch shows a photo several times.

        Raises:
            DataError: the image cannot be decoded.
        """
        size = jpeg_size(data) if self.reduced_decoding else None
        whole = None if size else decode_rgb(data)
        height, width = whole.shape[:2] if whole is not None else size or (0, 0)
        with _seeded(sample_seed(seed, epoch, index, repeat)):
            window = self._area(height, width) if self.crop == "area" else self._part_of_resized(height, width)
            if whole is None:
                whole = decode_rgb(data, self._divisor(window))
            image = self._cut(whole, window, whole.shape[0] / height, whole.shape[1] / width)
            if self.flip and torch.rand(()) < 0.5:
                image = image.flip(-1)
            for transform in self._transforms():
                image = transform(image)
            shift = np.zeros(3, np.float32)
            if self.color == "pca":
                along = torch.randn(3, dtype=torch.float64).numpy() * _DEVIATIONS * self.color_strength
                shift = (_COMPONENTS @ along).astype(np.float32)
            return PhotoSample(image, shift, self._draw_erased(image))

    def _part_of_resized(self, height: int, width: int) -> _Window:
        """The part of a photo that is a random crop once the photo is resized to a random shorter side."""
        low, high = self.shorter_side
        side = int(torch.randint(low, high + 1, ()))
        # Rounded down, as torchvision resizes.
        full_height = max(side, side * height // width) if height > width else side
        full_width = side if height > width else max(side, side * width // height)
        top = int(torch.randint(0, full_height - self.train_size + 1, ()))
        left = int(torch.randint(0, full_width - self.train_size + 1, ()))
        y, x = height / full_height, width / full_width
        return top * y, left * x, self.train_size * y, self.train_size * x

    def _area(self, height: int, width: int) -> _Window:
        from torchvision.transforms import RandomResizedCrop

        photo = torch.empty(3, height, width, device="meta")  # only its size is asked for
        top, left, rows, columns = RandomResizedCrop.get_params(photo, list(self.area), list(_ASPECT_RATIOS))
        return top, left, rows, columns

    def _divisor(self, window: _Window) -> Divisor:
        """By which a photo may be decoded smaller: the window keeps twice the pixels of the crop, each way."""
        return next((way for way in _DIVISORS if min(window[2:]) / way >= 2 * self.train_size), 1)

    def _cut(self, whole: Images, window: _Window, y: float, x: float) -> Tensor:
        """The window, resized to the crop's size.

        Args:
            whole: the photo as it was decoded, (H, W, 3).
            window: top, left, height and width in pixels of the photo as it is.
            y: rows decoded for each of its rows.
            x: columns likewise.
        """
        size = self.train_size
        top, left, height, width = window[0] * y, window[1] * x, window[2] * y, window[3] * x
        if self.crop == "shorter-side" or y < 1 or x < 1:
            # Pillow can compute a part of a resized image that begins between two pixels, filters reaching beyond it;
            # torch's resizing cannot.
            resample = Image.Resampling.BICUBIC if self.interpolation == "bicubic" else Image.Resampling.BILINEAR
            box = (left, top, min(left + width, whole.shape[1]), min(top + height, whole.shape[0]))
            part = Image.fromarray(whole).resize((size, size), resample, box=box)
            return torch.from_numpy(np.array(part)).permute(2, 0, 1)
        rows, columns = slice(int(top), int(top) + int(height)), slice(int(left), int(left) + int(width))
        # The crop alone, in channels-last order, is what torch resizes fastest; torchvision's crops come out of it.
        crop = torch.from_numpy(np.ascontiguousarray(whole[rows, columns])[np.newaxis]).permute(0, 3, 1, 2)
        return functional.interpolate(crop, (size, size), mode=self.interpolation, antialias=True)[0]

    def _transforms(self) -> list[Any]:
        from torchvision.transforms import InterpolationMode, v2

        bilinear = InterpolationMode.BILINEAR  # rotating and shearing tensors knows no bicubic
        found: list[Any] = []
        if self.color == "jitter":
            found.append(v2.ColorJitter(self.color_strength, self.color_strength, self.color_strength))
        if self.auto_augment == "trivial":
            found.append(v2.TrivialAugmentWide(interpolation=bilinear))
        if self.auto_augment == "rand":
            operations, magnitude = self.rand_operations, self.rand_magnitude
            found.append(v2.RandAugment(operations, magnitude, interpolation=bilinear))
        return found

    def _draw_erased(self, image: Tensor) -> tuple[int, int, int, int]:
        from torchvision.transforms import RandomErasing

        if not self.erase or torch.rand(()) >= self.erase:
            return 0, 0, 0, 0
        top, left, height, width, _ = RandomErasing.get_params(image, ERASED_SHARES, ERASED_RATIOS, [0.0])
        # Where torchvision finds no rectangle in ten tries, it gives the whole image, and erases nothing.
        return (0, 0, 0, 0) if (height, width) == tuple(image.shape[-2:]) else (top, left, height, width)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """torch's generator of the CPU, seeded for a while; `torch.manual_seed` does more, and takes half a millisecond."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)


def sample_seed(seed: int, epoch: int, index: int, repeat: int) -> int:
    """Seed of what happens to a photo: a hash, so that neither a resume nor the number of workers changes it."""
    digest = hashlib.sha256(f"photo {seed} {epoch} {index} {repeat}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
