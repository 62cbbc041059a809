"""Training batches as a function of the iteration, and evaluation batches in order."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reslab.console import counting
from reslab.data.augment import (
    Pixel,
    balanced_order,
    crop_positions,
    draw,
    draw_erased,
    epoch_order,
    random_crops,
    within,
)
from reslab.data.dataset import Images, Samples, Split
from reslab.data.normalization import Normalization
from reslab.data.targets import Targets

__all__ = ["Collate", "TrainingBatches", "evaluation_batches", "read_in_parts", "to_channels_last"]

Collate = Callable[[Targets], Any]
"""Makes what a loss takes of the targets of a batch."""

_READ_AT_ONCE = 128


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
        erase: share of the images that lose a random rectangle, which is zero after normalisation.
        balanced: whether all classes are shown equally often.
        device: an accelerator that keeps the images in its memory and augments them there, to bitwise the same batches;
            None for the CPU's memory, where numpy does it.
        collate: makes a batch of the images' targets.
    """

    split: Split
    normalization: Normalization
    batch_size: int
    seed: int
    pad: int
    pad_with: str
    flip: bool
    erase: float = 0.0
    balanced: bool = False
    device: torch.device | None = None
    collate: Collate = torch.from_numpy

    def __post_init__(self) -> None:
        if self.device is not None:
            object.__setattr__(self, "_resident", torch.from_numpy(self.split.images).to(self.device))
        # Per instance, so that the arrays are freed with it; two, since a batch may touch two epochs.
        object.__setattr__(self, "_epoch", lru_cache(maxsize=2)(self._draw_epoch))

    def _draw_epoch(self, epoch: int) -> tuple[NDArray[Any], ...]:
        """Its order; and for every place in it top and left of the crop, whether to mirror it, and what is erased."""
        num_images, (height, width) = len(self.split), self.split.images.shape[1:3]
        draws = draw(self.seed, epoch, num_images, pad=self.pad, flip=self.flip)
        if self.erase:
            erased = draw_erased(self.seed, epoch, num_images, share=self.erase, height=height, width=width)
        else:
            erased = np.zeros((num_images, 4), np.int64)
        drawn = (draws.top, draws.left, draws.mirror, erased)
        if self.balanced:  # an image may come twice, and then is augmented in two ways
            return balanced_order(self.seed, epoch, self.split.labels)[0], *drawn
        order = epoch_order(self.seed, epoch, num_images)
        return order, *(numbers[order] for numbers in drawn)

    def batch(self, iteration: int) -> tuple[Tensor, Any]:
        """The batch of an iteration, from 0.

        Returns:
            images (B, C, H, W) float32 in channels-last layout, and their targets, as labels (B,) int64.
        """
        positions = np.arange(iteration * self.batch_size, (iteration + 1) * self.batch_size)
        epochs, offsets = np.divmod(positions, len(self.split))
        parts = []
        for epoch in np.unique(epochs):
            places = offsets[epochs == epoch]
            parts.append(tuple(numbers[places] for numbers in self._epoch(int(epoch))))  # type: ignore[attr-defined]
        chosen, top, left, mirror, erased = (np.concatenate(column) for column in zip(*parts, strict=True))
        labels = self.collate(self.split.labels[chosen])
        if self.device is not None:
            images = self._augment_on(self.device, chosen, top, left, mirror)
            if self.erase:
                gone = torch.from_numpy(self._gone(erased)).to(self.device)
                images = images.masked_fill(gone[:, None], 0)
            return images, labels.to(self.device)
        augmented = self._augment(self.split.images[chosen], top, left, mirror)
        if self.erase:
            augmented[self._gone(erased)] = 0
        return to_channels_last(augmented), labels

    def _gone(self, erased: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(B, H, W): the pixels in rectangles of (B, 4) top, left, height and width."""
        height, width = self.split.images.shape[1:3]
        top, left, rows, columns = erased.T
        return within(top, rows, height)[:, :, None] & within(left, columns, width)[:, None, :]

    def close(self) -> None:
        """Nothing is prepared in other processes."""

    def _augment(
        self, images: Images, top: NDArray[np.int64], left: NDArray[np.int64], mirror: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        if self.pad_with == "black":
            return self.normalization(random_crops(_padded(images, self.pad), top, left, mirror, self.pad))
        return random_crops(_padded(self.normalization(images), self.pad), top, left, mirror, self.pad)

    def _augment_on(
        self,
        device: torch.device,
        chosen: NDArray[np.int64],
        top: NDArray[np.int64],
        left: NDArray[np.int64],
        mirror: NDArray[np.bool_],
    ) -> Tensor:
        """As `_augment`, with only indices sent to the device; (B, C, H, W) in channels-last layout."""
        images: Tensor = self._resident[torch.from_numpy(chosen).to(device)]  # type: ignore[attr-defined]
        height, width = images.shape[1:3]
        rows, columns = (
            torch.from_numpy(positions).to(device) for positions in crop_positions(top, left, mirror, height, width)
        )
        scale, offset = (torch.from_numpy(constant).to(device) for constant in self.normalization.constants())
        edges = (0, 0, self.pad, self.pad, self.pad, self.pad)
        black = self.pad_with == "black"
        padded = functional.pad(images, edges) if black else functional.pad(images * scale - offset, edges)
        batch = torch.arange(len(images), device=device)[:, None, None]
        crops = padded[batch, rows[:, :, None], columns[:, None, :]]
        return (crops * scale - offset if black else crops).permute(0, 3, 1, 2)


def evaluation_batches(
    split: Samples, normalization: Normalization, batch_size: int, collate: Collate = torch.from_numpy
) -> Iterator[tuple[Tensor, Any]]:
    """A split once, in order, not augmented; the last batch may be short. Shapes as in `TrainingBatches.batch`."""
    for start in range(0, len(split), batch_size):
        stop = start + batch_size
        yield to_channels_last(normalization(split.read(start, stop))), collate(split.labels[start:stop])


def read_in_parts(split: Samples, *, asked_to_stop: Callable[[], object] = bool) -> Iterator[Images]:
    """A split's images as tests see them, some at a time, with a progress bar.

    Args:
        split: read from the first to the last.
        asked_to_stop: called between two parts; may raise.
    """
    with counting("Reading images", len(split)) as advance:
        for start in range(0, len(split), _READ_AT_ONCE):
            asked_to_stop()
            yield split.read(start, start + _READ_AT_ONCE)
            advance(_READ_AT_ONCE)


def _padded(images: NDArray[Pixel], pad: int) -> NDArray[Pixel]:
    if not pad:
        return images
    number, height, width, channels = images.shape
    padded = np.zeros((number, height + 2 * pad, width + 2 * pad, channels), images.dtype)
    padded[:, pad:-pad, pad:-pad] = images
    return padded
