"""Training batches as a function of the iteration, and evaluation batches in order."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reslab.data.augment import Draws, Pixel, draw, epoch_order, random_crops
from reslab.data.dataset import Images, Split
from reslab.data.normalization import Normalization

__all__ = ["TrainingBatches", "evaluation_batches", "to_channels_last"]


def to_channels_last(images: NDArray[np.float32]) -> Tensor:
    """(N, H, W, C) float32 array as an (N, C, H, W) tensor in channels-last layout; no pixel is copied."""
    return torch.from_numpy(images).permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class TrainingBatches:
    """Augmented, normalised batches of a training split.

    The epochs' permutations are laid end to end and cut into full batches, so that a batch may cross the seam between
    two epochs and none is short. `batch(iteration)` depends on nothing but its argument and the fields.

    Args:
        split: the training images.
        normalization: fitted on them.
        batch_size: images a batch.
        seed: of the run.
        pad: pixels added on every side before the crop; 0 for none.
        pad_with: `mean`: padded pixels are zero after normalisation; `black`: zero before it.
        flip: whether half of the images are mirrored.
    """

    split: Split
    normalization: Normalization
    batch_size: int
    seed: int
    pad: int
    pad_with: str
    flip: bool

    def __post_init__(self) -> None:
        # Per instance, so that the arrays are freed with it; two, since a batch may touch two epochs.
        object.__setattr__(self, "_epoch", lru_cache(maxsize=2)(self._draw_epoch))

    def _draw_epoch(self, epoch: int) -> tuple[NDArray[np.int64], Draws]:
        num_images = len(self.split)
        draws = draw(self.seed, epoch, num_images, pad=self.pad, flip=self.flip)
        return epoch_order(self.seed, epoch, num_images), draws

    def batch(self, iteration: int) -> tuple[Tensor, Tensor]:
        """The batch of an iteration, from 0.

        Returns:
            images (B, C, H, W) float32 in channels-last layout, and labels (B,) int64.
        """
        positions = np.arange(iteration * self.batch_size, (iteration + 1) * self.batch_size)
        epochs, offsets = np.divmod(positions, len(self.split))
        parts = []
        for epoch in np.unique(epochs):
            order, draws = self._epoch(int(epoch))  # type: ignore[attr-defined]
            chosen = order[offsets[epochs == epoch]]
            parts.append((chosen, draws.top[chosen], draws.left[chosen], draws.mirror[chosen]))
        chosen, top, left, mirror = (np.concatenate(column) for column in zip(*parts, strict=True))
        images = self._augment(self.split.images[chosen], top, left, mirror)
        return to_channels_last(images), torch.from_numpy(self.split.labels[chosen])

    def _augment(
        self, images: Images, top: NDArray[np.int64], left: NDArray[np.int64], mirror: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        if self.pad_with == "black":
            return self.normalization(random_crops(_padded(images, self.pad), top, left, mirror, self.pad))
        return random_crops(_padded(self.normalization(images), self.pad), top, left, mirror, self.pad)


def evaluation_batches(split: Split, normalization: Normalization, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """A split once, in order, not augmented; the last batch may be short. Shapes as in `TrainingBatches.batch`."""
    for start in range(0, len(split), batch_size):
        images = normalization(split.images[start : start + batch_size])
        yield to_channels_last(images), torch.from_numpy(split.labels[start : start + batch_size])


def _padded(images: NDArray[Pixel], pad: int) -> NDArray[Pixel]:
    return np.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0))) if pad else images
