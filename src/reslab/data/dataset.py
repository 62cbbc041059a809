"""Labelled images in memory, by role: train, val and test cannot be confused."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reslab.errors import DataError
from reslab.files.hashing import hash_arrays

__all__ = ["ImageData", "Images", "Labels", "Role", "Split"]

Role = Literal["train", "val", "test"]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

_HOLD_OUT_SEED = 0  # the split belongs to the data, not to a run: every run with val images holds out the same ones


@dataclass(frozen=True, eq=False)
class Split:
    """Images of one role.

    Args:
        images: (N, H, W, C) uint8; C is 1 or 3.
        labels: (N,) int64, indices into the classes.
    """

    images: Images
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """Sha256 of the images and labels, in order."""
        return hash_arrays(self.images, self.labels)


@dataclass(frozen=True, eq=False)
class ImageData:
    """A data set for image classification.

    Args:
        name: as people call it; a folder's own name for a folder.
        classes: names, in the order of the label indices.
        splits: the images of each role that the data set has; `train` at least or `test` at least.
        note: what a reader of a result must know of the data, one sentence or empty.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[Role, Split]
    note: str = ""

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        height, width, channels = next(iter(self.splits.values())).images.shape[1:]
        return height, width, channels

    def split(self, role: Role) -> Split:
        """The images of a role.

        Raises:
            DataError: the data set has none.
        """
        if role not in self.splits:
            raise DataError(f"{self.name} has no {role} images; it has {' and '.join(self.splits)}.")
        return self.splits[role]

    def as_rgb(self) -> "ImageData":
        """The same data with three equal channels where it is grey."""
        if self.image_shape[2] == 3:
            return self
        splits = {role: Split(np.repeat(split.images, 3, axis=3), split.labels) for role, split in self.splits.items()}
        return replace(self, splits=splits)

    def hold_out(self, num_images: int) -> "ImageData":
        """The same data with a val split taken from train, the same share of every class (Sec. 4.2: 45k/5k).

        Args:
            num_images: in the val split; which ones depends on the data alone. 0 leaves the data as it is.

        Raises:
            DataError: there is a val split already, or train is too small.
        """
        if num_images == 0:
            return self
        train = self.split("train")
        if "val" in self.splits:
            raise DataError(f"{self.name} has a val split of its own; leave data.val_images at 0.")
        if not self.num_classes <= num_images <= len(train) - self.num_classes:
            raise DataError(
                f"cannot hold out {num_images:,} of {self.name}'s {len(train):,} train images: with "
                f"{self.num_classes} classes it takes {self.num_classes:,} to {len(train) - self.num_classes:,}."
            )
        counts = np.bincount(train.labels, minlength=self.num_classes)
        if (counts == 1).any():
            raise DataError(
                f"cannot hold out of {self.name}: the class {self.classes[int(np.argmax(counts == 1))]!r} has one "
                "train image, and it takes two to be in both splits."
            )
        parts = stratified_parts(train, num_images)
        return replace(self, splits={"train": parts[0], "val": parts[1], **_without(self.splits, "train")})

    def describe(self) -> dict[str, Any]:
        """What a record says of the data: name, sizes and content hashes."""
        height, width, channels = self.image_shape
        return {
            "name": self.name,
            "note": self.note,
            "num_classes": self.num_classes,
            "height": height,
            "width": width,
            "channels": channels,
            "splits": {role: {"num_images": len(split), "sha256": split.digest} for role, split in self.splits.items()},
        }


def stratified_parts(split: Split, num_images: int) -> tuple[Split, Split]:
    """A split in two: the rest, and `num_images` with the same share of every class, each in the original order."""
    from sklearn.model_selection import train_test_split  # half a second to import, and few runs hold out

    rest, held_out = train_test_split(
        np.arange(len(split)), test_size=num_images, stratify=split.labels, random_state=_HOLD_OUT_SEED
    )
    return tuple(Split(split.images[chosen], split.labels[chosen]) for chosen in (np.sort(rest), np.sort(held_out)))  # type: ignore[return-value]


def _without(splits: Mapping[Role, Split], role: Role) -> dict[Role, Split]:
    return {name: split for name, split in splits.items() if name != role}
