"""Batches of photos: decoded and augmented in worker processes, normalised where the network runs."""

import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from reslab.data.augment import balanced_order, epoch_order
from reslab.data.batches import Collate
from reslab.data.normalization import Normalization
from reslab.data.photo_transforms import PhotoTransform
from reslab.data.photos import PhotoSplit
from reslab.errors import DataError

__all__ = ["PhotoBatches"]

_AHEAD = 2  # batches that each worker prepares


@dataclass(frozen=True, eq=False)
class RawBatch:
    """What a worker prepares: uint8 pixels (B, S, S, 3), targets, shifts (B, 3), erased rectangles (B, 4)."""

    pixels: Tensor
    labels: Any
    shifts: Tensor
    erased: Tensor

    def pin_memory(self) -> "RawBatch":
        """For the copy to a GPU."""
        tensors = (self.pixels, self.labels, self.shifts, self.erased)
        return RawBatch(*(tensor.pin_memory() for tensor in tensors))


@dataclass(eq=False)
class PhotoBatches:
    """Augmented, normalised batches of a training split, as `TrainingBatches` gives them of small images.

    Epochs are laid end to end and cut into full batches. `batch(iteration)` depends on nothing but its argument and the
    fields, the number of workers excepted, which changes nothing. Iterations in sequence are prepared ahead.

    Args:
        split: the training photos.
        normalization: fitted on them, or everyone's.
        transform: what happens to a photo.
        batch_size: images a batch.
        seed: of the run.
        num_batches: after which none is prepared any more.
        repeats: times that an epoch shows an image.
        balanced: whether all classes are shown equally often.
        workers: processes; 0 for none.
        device: where the batches go; None for the CPU.
        collate: makes a batch of the images' targets.
    """

    split: PhotoSplit
    normalization: Normalization
    transform: PhotoTransform
    batch_size: int
    seed: int
    num_batches: int
    repeats: int = 1
    balanced: bool = False
    workers: int = 0
    device: torch.device | None = None
    collate: Collate = torch.from_numpy

    def __post_init__(self) -> None:
        side = self.transform.train_size
        scale, offset = self.normalization.at(side, side).constants()
        offset = np.broadcast_to(offset, (side, side, 3)).reshape(side, 3 * side)
        self._scale = torch.from_numpy(np.tile(scale, side)).to(self.device)
        self._offset = torch.from_numpy(offset.copy()).to(self.device)
        self._std = torch.from_numpy(self.normalization.std).to(self.device)
        self._next = -1
        self._prepared: Iterator[Any] = iter(())

    def batch(self, iteration: int) -> tuple[Tensor, Any]:
        """The batch of an iteration, from 0.

        Returns:
            images (B, 3, S, S) float32 in channels-last layout, and their targets, as labels (B,) int64.

        Raises:
            DataError: a photo cannot be read or decoded.
        """
        if iteration != self._next:
            self._prepared = self._prepare(iteration)
        try:
            prepared = next(self._prepared)
        except (RuntimeError, OSError, EOFError):
            self.close()
            raise DataError(
                "a process that decodes photos was ended, as happens when memory or /dev/shm is too small; use fewer "
                "--workers, or 0."
            ) from None
        self._next = iteration + 1
        if isinstance(prepared, DataError):
            raise prepared
        return self._normalized(prepared), prepared.labels.to(self.device, non_blocking=True)

    def close(self) -> None:
        """Ends the workers."""
        self._prepared, self._next = iter(()), -1

    def _prepare(self, start: int) -> Iterator[Any]:
        source = _Source(
            self.split, self.transform, self.batch_size, self.seed, self.repeats, self.balanced, self.collate
        )
        iterations = range(start, max(start + 1, self.num_batches))
        if self.workers == 0:
            return (source[iteration] for iteration in iterations)
        loader: DataLoader[Any] = DataLoader(
            source,
            batch_size=None,
            sampler=iterations,
            num_workers=min(self.workers, len(iterations)),
            prefetch_factor=_AHEAD,
            pin_memory=self.device is not None and self.device.type == "cuda",
            worker_init_fn=_start_worker,
        )
        before = signal.getsignal(signal.SIGCHLD)
        prepared = iter(loader)
        # The loader leaves a handler for ended children behind, which raises wherever this process happens to be.
        # Without it a worker that was killed is noticed within five seconds, by asking.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGCHLD, before)
        return prepared

    def _normalized(self, raw: RawBatch) -> Tensor:
        pixels = raw.pixels.to(self.device, non_blocking=True)
        # Constants as long as a row: broadcast over three channels alone, they would take ten times as long.
        images = pixels.flatten(2).float().mul_(self._scale).sub_(self._offset).view(pixels.shape)
        if raw.shifts.any():
            images += (raw.shifts.to(self.device) / self._std)[:, None, None, :]
        for index in raw.erased[:, 2].nonzero()[:, 0].tolist():
            top, left, height, width = raw.erased[index].tolist()
            images[index, top : top + height, left : left + width] = 0
        return images.permute(0, 3, 1, 2)


@dataclass(frozen=True, eq=False)
class _Source(Dataset[Any]):
    """Whole batches by iteration, as workers make them."""

    split: PhotoSplit
    transform: PhotoTransform
    batch_size: int
    seed: int
    repeats: int
    balanced: bool
    collate: Collate

    def __getitem__(self, iteration: int) -> RawBatch | DataError:
        # An error is handed over as a value: raised in a worker, it would come with the worker's traceback as its text.
        try:
            return self._batch(iteration)
        except DataError as error:
            return error

    def _batch(self, iteration: int) -> RawBatch:
        positions = np.arange(iteration * self.batch_size, (iteration + 1) * self.batch_size)
        # A photo's repeats lie far apart: neighbours are mixed with each other, and parts of a batch have norms of
        # their own.
        positions = positions[np.argsort(positions % len(self.split) % self.repeats, kind="stable")]
        side = self.transform.train_size
        try:
            pixels = torch.empty(self.batch_size, side, side, 3, dtype=torch.uint8)
        except RuntimeError:
            raise DataError(f"{self.batch_size:,} photos of {side}x{side} pixels do not fit into memory.") from None
        shifts, erased = np.empty((self.batch_size, 3), np.float32), np.empty((self.batch_size, 4), np.int64)
        chosen = np.empty(self.batch_size, np.int64)
        for place, (epoch, offset) in enumerate(zip(*np.divmod(positions, len(self.split)), strict=True)):
            order, before = self._order(int(epoch))
            index, repeat = int(order[offset // self.repeats]), int(offset % self.repeats)
            if before is not None:
                repeat += self.repeats * int(before[offset // self.repeats])
            data = self.split.file(index)
            try:
                sample = self.transform(data, self.seed, int(epoch), index, repeat)
            except DataError as error:
                raise self.split.named(error, index) from None
            pixels[place] = sample.pixels.permute(1, 2, 0)
            shifts[place], erased[place], chosen[place] = sample.shift, sample.erased, index
        labels = self.collate(self.split.labels[chosen])
        return RawBatch(pixels, labels, torch.from_numpy(shifts), torch.from_numpy(erased))

    def _order(self, epoch: int) -> "tuple[NDArray[np.int64], NDArray[np.int64] | None]":
        """The images of an epoch; and how often each has been there before, where classes are balanced."""
        if self.balanced:
            return _balanced(self.seed, epoch, self.split)
        return _order(self.seed, epoch, len(self.split)), None


@lru_cache(maxsize=2)  # a batch may touch two epochs
def _order(seed: int, epoch: int, num_images: int) -> NDArray[np.int64]:
    return epoch_order(seed, epoch, num_images)


@lru_cache(maxsize=2)
def _balanced(seed: int, epoch: int, split: PhotoSplit) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return balanced_order(seed, epoch, split.labels)


def _start_worker(_: int) -> None:
    """Ctrl-C and SIGTERM are the training process's, which ends its workers; they do not inherit its handlers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
