"""What is subtracted from the pixels, and what they are divided by, before a network sees them."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from reslab.data.dataset import Images
from reslab.errors import DataError
from reslab.files.hashing import hash_arrays
from reslab.files.safetensors_file import save_safetensors

__all__ = ["Normalization", "NormalizationKind"]

NormalizationKind = Literal["per-pixel-mean", "per-channel", "imagenet"]

_DIGEST = "sha256"


@dataclass(frozen=True, eq=False)
class Normalization:
    """(pixel / 255 - mean) / std.

    Args:
        mean: float32, (H, W, C) where it is per pixel (the paper, Sec. 4.2), (C,) where it is per channel; in [0, 1].
        std: float32 (C,), in units of [0, 1]; ones where the data are not scaled (the paper mentions no scaling).
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]

    @classmethod
    def measure(cls, images: Images | Iterable[Images], kind: NormalizationKind) -> Self:
        """The statistics of training images, (N, H, W, C) uint8 in one array or in several; `imagenet` reads none."""
        if kind == "imagenet":
            return cls.imagenet()
        # Sums of integers are exact, so the statistics depend on neither order, nor batches, nor thread count.
        batches = (images,) if isinstance(images, np.ndarray) else images
        num_images = 0
        sums, counts = np.zeros((), np.int64), np.zeros((), np.int64)
        for batch in batches:
            num_images += len(batch)
            if kind == "per-pixel-mean":
                sums = np.asarray(sums + batch.sum(axis=0, dtype=np.int64))
            else:
                columns = (batch[..., channel].ravel() for channel in range(batch.shape[-1]))
                counts = np.asarray(counts + np.stack([np.bincount(column, minlength=256) for column in columns]))
        if kind == "per-pixel-mean":
            mean = sums / (255 * num_images)
            return cls(mean.astype(np.float32), np.ones(mean.shape[-1], np.float32))
        levels = np.arange(256) / 255
        mean = counts @ levels / counts.sum(axis=1)
        deviations = levels - mean[:, np.newaxis]  # of E[x^2] - E[x]^2, rounding may leave a negative number
        std = np.sqrt((counts * deviations**2).sum(axis=1) / counts.sum(axis=1))
        return cls(mean.astype(np.float32), np.maximum(std, 1 / 255).astype(np.float32))  # constant images stay finite

    @classmethod
    def imagenet(cls) -> Self:
        """The channels' mean and std that fb.resnet.torch, torchvision and nearly everyone use for ImageNet."""
        return cls(np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32))

    @classmethod
    def per_channel(cls, mean: tuple[float, ...], std: tuple[float, ...], channels: int) -> Self:
        """Given statistics, one number a channel or one for all.

        Raises:
            DataError: as many numbers as neither 1 nor the channels, or a std that is not positive.
        """
        for name, values in (("mean", mean), ("std", std)):
            if len(values) not in (1, channels):
                raise DataError(
                    f"{name} has {len(values)} numbers and the images have {channels} channels; "
                    f"give {channels} numbers or one for all."
                )
            if not all(np.isfinite(value) for value in values):
                raise DataError(f"{name} must be finite numbers, not {values}.")
        if min(std) <= 0:
            raise DataError(f"std must be positive, not {std}.")
        shape = (channels,)
        return cls(
            np.broadcast_to(np.asarray(mean, np.float32), shape), np.broadcast_to(np.asarray(std, np.float32), shape)
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Reads what `save` wrote.

        Raises:
            DataError: the file is missing or damaged; the message says why, without the file's name.
        """
        try:
            with safe_open(path, framework="np") as file:
                mean, std = file.get_tensor("mean"), file.get_tensor("std")
                stated = (file.metadata() or {}).get(_DIGEST)
        except (OSError, SafetensorError) as error:
            raise DataError(str(error)) from None
        fits = mean.dtype == std.dtype == np.float32 and std.ndim == 1 and mean.ndim in (1, 3)
        if not fits or mean.shape[-1] != len(std) or not (np.isfinite(mean).all() and (std > 0).all()):
            raise DataError("it holds no mean and std of images")
        found = cls(mean, std)
        if stated not in (found.digest, None):  # version 0.1.0 stated none
            raise DataError("its sha256 is not the one that it states")
        return found

    def save(self, path: Path) -> None:
        """Writes a safetensors file that states its own digest; not atomically."""
        # Chosen or broadcast channels may lie in memory in another order than a file has them.
        arrays = {"mean": np.ascontiguousarray(self.mean), "std": np.ascontiguousarray(self.std)}
        save_safetensors(arrays, path, {_DIGEST: self.digest})

    @property
    def digest(self) -> str:
        """Hex sha256 of mean and std."""
        return hash_arrays(self.mean, self.std)

    @property
    def per_pixel(self) -> bool:
        """Whether the mean is per pixel, so that it has a file of its own."""
        return self.mean.ndim == 3

    def at(self, height: int, width: int) -> "Normalization":
        """For images of another size: the mean of every pixel is replaced by its mean over the pixels."""
        if self.mean.ndim == 1 or self.mean.shape[:2] == (height, width):
            return self
        mean = self.mean.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
        return replace(self, mean=mean)

    def with_channels(self, channels: int) -> "Normalization":
        """For images of another number of channels: grey ones get the mean of all, others the same in turn."""
        had = len(self.std)
        if channels == had:
            return self
        if channels == 1:
            mean = self.mean.mean(axis=-1, keepdims=True, dtype=np.float64)
            std = self.std.mean(keepdims=True, dtype=np.float64)
            return replace(self, mean=mean.astype(np.float32), std=std.astype(np.float32))
        turns = np.arange(channels) % had
        return replace(self, mean=self.mean[..., turns], std=self.std[turns])

    def check(self, height: int, width: int, channels: int) -> None:
        """Raises DataError unless images of this shape can be normalised so."""
        if self.mean.shape not in ((height, width, channels), (channels,)):
            raise DataError(
                f"the normalisation is for images of shape {'x'.join(map(str, self.mean.shape))}, "
                f"but these are {height}x{width}x{channels}."
            )

    @property
    def mean_colour(self) -> tuple[int, ...]:
        """What becomes 0, or nearly so, for each channel, from 0 to 255; a mean per pixel as its mean over them."""
        mean = self.mean.mean(axis=(0, 1), dtype=np.float64) if self.mean.ndim == 3 else self.mean
        return tuple(round(255 * float(value)) for value in mean.clip(0, 1))

    def constants(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """By which pixels of 0 to 255 are multiplied, and what is then subtracted."""
        return (1 / (255 * self.std)).astype(np.float32), self.mean / self.std

    def __call__(self, images: Images) -> NDArray[np.float32]:
        """(N, H, W, C) uint8 to float32."""
        # Written out for every pixel: loops over three channels alone take numpy four times as long.
        scale, offset = (np.broadcast_to(constant, images.shape[1:]).copy() for constant in self.constants())
        normalized = images.astype(np.float32)
        normalized *= scale
        normalized -= offset
        return normalized

    def to_dict(self) -> dict[str, Any]:
        """For a card; a per-pixel mean stands there as its mean over the pixels, and whole in a file of its own."""
        per_pixel = self.mean.ndim == 3
        mean = self.mean.mean(axis=(0, 1), dtype=np.float64) if per_pixel else self.mean
        return {
            "kind": "per-pixel-mean" if per_pixel else "per-channel",
            "mean": [float(value) for value in mean],
            "std": [float(value) for value in self.std],
        }
