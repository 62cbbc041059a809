"""Labelled images by role, in memory or elsewhere: train, val and test cannot be confused."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, Literal, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reslab.data.imagenet import imagenet_names
from reslab.data.targets import ONE_LABEL, TargetForm, Targets, form_of
from reslab.errors import DataError
from reslab.files.hashing import hash_arrays

__all__ = ["UNBALANCED", "DataSet", "ImageData", "Images", "Labels", "Role", "Samples", "Split", "match_classes"]

UNBALANCED = 3.0
"""Times as many images in the largest class as in the smallest, above which one error rate may hide a class."""

Role = Literal["train", "val", "test"]
Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

_HOLD_OUT_SEED = 0  # the split belongs to the data, not to a run: every run with val images holds out the same ones


class Samples(Protocol):
    """Labelled images of one role, wherever they are."""

    @property
    def labels(self) -> Targets:
        """What is known of each image, in the form of the data's task: (N,) int64, indices into the classes; or
        (N, num_classes) uint8, 1 for the labels that an image has."""

    @property
    def digest(self) -> str:
        """Sha256 that tells other images, labels or orders apart."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of what `read` gives."""

    def __len__(self) -> int:
        """Number of images."""

    def read(self, start: int, stop: int) -> Images:
        """Consecutive images as a network sees them when it is tested, (n, H, W, C) uint8."""

    def subset(self, chosen: NDArray[np.int64]) -> Self:
        """Some of the images, in the order given."""

    def with_labels(self, labels: Targets) -> Self:
        """The same images with other labels."""


@dataclass(frozen=True, eq=False)
class Split:
    """Images of one role, in memory.

    Args:
        images: (N, H, W, C) uint8; C is 1 or 3.
        labels: (N,) int64, indices into the classes; or the targets of another task.
    """

    images: Images
    labels: Targets

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def digest(self) -> str:
        """Sha256 of the images and labels, in order."""
        return hash_arrays(self.images, self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        height, width, channels = self.images.shape[1:]
        return height, width, channels

    def read(self, start: int, stop: int) -> Images:
        """As in `Samples`."""
        return self.images[start:stop]

    def subset(self, chosen: NDArray[np.int64]) -> Self:
        """As in `Samples`."""
        return replace(self, images=self.images[chosen], labels=self.labels[chosen])

    def with_labels(self, labels: Targets) -> Self:
        """As in `Samples`."""
        return replace(self, labels=labels)


SomeSamples = TypeVar("SomeSamples", bound=Samples)


@dataclass(frozen=True, eq=False)
class DataSet(Generic[SomeSamples]):
    """A data set of images with their targets.

    Args:
        name: as people call it; a folder's own name for a folder.
        classes: names, in the order of the label indices.
        splits: the images of each role that the data set has; one role at least.
        note: what a reader of a result must know of the data, one sentence or empty.
        task: that the targets are for, `classification` or `multi-label`.
    """

    name: str
    classes: tuple[str, ...]
    splits: Mapping[Role, SomeSamples]
    note: str = ""
    task: str = ONE_LABEL.task

    @property
    def form(self) -> TargetForm:
        """What the targets look like."""
        return form_of(self.task)

    def need_one_label(self, what: str) -> None:
        """Raises DataError unless each image has one label.

        Args:
            what: needs it, as the beginning of a sentence: `shards are`.
        """
        if self.task != ONE_LABEL.task:
            raise DataError(f"{self.name} has several labels an image, and {what} for images with one label.")

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""
        return next(iter(self.splits.values())).image_shape

    def split(self, role: Role) -> SomeSamples:
        """The images of a role.

        Raises:
            DataError: the data set has none.
        """
        if role not in self.splits:
            raise DataError(f"{self.name} has no {role} images; it has {' and '.join(self.splits)}.")
        return self.splits[role]

    def hold_out(self, num_images: int) -> Self:
        """The same data with a val split taken from train, the same share of every class (Sec. 4.2: 45k/5k).

        Args:
            num_images: in the val split; which ones depends on the data alone. 0 leaves the data as it is.

        Raises:
            DataError: there is a val split already, or train is too small.
        """
        if num_images == 0:
            return self
        self.check_parts(num_images)
        labels = self.split("train").labels
        strata = self.form.strata(labels, least=2, most=min(num_images, len(labels) - num_images))
        return self.parted(*stratified_parts(strata, num_images))

    def check_parts(self, num_images: int) -> None:
        """Refuses to hold out so many images where that cannot be.

        Raises:
            DataError: as in `hold_out`.
        """
        train = self.split("train")
        if "val" in self.splits:
            raise DataError(f"{self.name} has a val split of its own; leave data.val_images at 0.")
        every = self.num_classes if self.form.needs_every_class else 1
        least, most = every, len(train) - every
        if not least <= num_images <= most:
            wanted = f"it takes {least:,} to {most:,}" if least <= most else f"{len(train):,} are too few for any"
            raise DataError(
                f"cannot hold out {num_images:,} of {self.name}'s {len(train):,} train images: with "
                f"{self.num_classes} classes {wanted}."
            )
        counts = self.form.counts(train.labels, self.num_classes)
        if self.form.needs_every_class and (counts == 1).any():
            raise DataError(
                f"cannot hold out of {self.name}: the class {self.classes[int(np.argmax(counts == 1))]!r} has one "
                "train image, and it takes two to be in both splits."
            )

    def parted(self, rest: NDArray[np.int64], held_out: NDArray[np.int64]) -> Self:
        """The same data with train in two parts, by indices: the rest, and a val split."""
        train = self.split("train")
        parts: dict[Role, SomeSamples] = {"train": train.subset(rest), "val": train.subset(held_out)}
        return replace(self, splits={**parts, **{role: self.splits[role] for role in self.splits if role != "train"}})

    def with_classes(self, classes: Sequence[str]) -> Self:
        """The same images, labelled with the indices of a network's classes, which are found by name.

        Args:
            classes: the network's, as in `match_classes`; there may be more than the data set has.

        Raises:
            DataError: the network lacks a class.
        """
        indices = match_classes(self.classes, classes, self.name)
        if self.classes == tuple(classes):
            return self
        form, number = self.form, len(classes)
        splits = {
            role: split.with_labels(form.relabelled(split.labels, indices, number))
            for role, split in self.splits.items()
        }
        return replace(self, classes=tuple(classes), splits=splits)

    def in_order(self, classes: Sequence[str]) -> Self:
        """The same images and classes, with labels in another order.

        Args:
            classes: the names of all of them, in the order of the new labels.

        Raises:
            DataError: a class is missing, or is not one of the data's.
        """
        ours = {unicodedata.normalize("NFC", name): name for name in self.classes}
        wanted = [unicodedata.normalize("NFC", name) for name in classes]
        if unknown := [name for name in wanted if name not in ours]:
            raise DataError(f"the list of classes has {unknown[0]!r}, and {self.name} has no such class folder.")
        if missing := [name for name in ours if name not in wanted]:
            raise DataError(f"the list of classes lacks {missing[0]!r}, a class folder of {self.name}.")
        return self.with_classes(tuple(ours[name] for name in wanted))

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


class ImageData(DataSet[Split]):
    """A data set in memory; its arguments are those of `DataSet`."""

    def with_channels(self, channels: int) -> "ImageData":
        """The same images as RGB (3 channels) or grey (1 channel), as `decoding.in_mode` makes them of files.

        Raises:
            DataError: another number of channels.
        """
        have = self.image_shape[2]
        if have == channels:
            return self
        if (have, channels) == (1, 3):
            changed = {role: np.repeat(split.images, 3, axis=3) for role, split in self.splits.items()}
        elif (have, channels) == (3, 1):
            changed = {role: _grey(split.images) for role, split in self.splits.items()}
        else:
            raise DataError(f"{self.name} has images of {have} channels, and the network takes {channels}.")
        splits = {role: Split(changed[role], split.labels) for role, split in self.splits.items()}
        return ImageData(self.name, self.classes, splits, self.note, self.task)


def _grey(images: Images) -> Images:
    """(N, H, W, 3) to (N, H, W, 1), by Pillow, whose rounding other formulas do not have."""
    grey = [np.asarray(Image.fromarray(image).convert("L")) for image in images]
    return np.stack(grey)[..., np.newaxis]


def match_classes(names: Sequence[str], classes: Sequence[str], owner: str) -> NDArray[np.int64]:
    """Where a data set's classes stand among a network's.

    Names are equal if they are so after Unicode normalisation (NFC): file systems differ in how they spell an accent
    or a Hangul syllable. One of ImageNet's WordNet ids is equal to its name, and the other way round.

    Args:
        names: the data set's.
        classes: the network's.
        owner: of the names, for messages.

    Returns:
        (len(names),) indices into classes.

    Raises:
        DataError: the network lacks a class.
    """
    index = {unicodedata.normalize("NFC", name): number for number, name in enumerate(classes)}
    synonyms = {}
    for wnid, name in imagenet_names().items():
        synonyms[wnid], synonyms[name] = name, wnid
    found = []
    for name in names:
        normal = unicodedata.normalize("NFC", name)
        number = index.get(normal, index.get(synonyms.get(normal, normal)))
        if number is None:
            raise DataError(f"{owner} has the class {name!r}, which the network does not know.")
        found.append(number)
    return np.array(found, np.int64)


def stratified_parts(labels: NDArray[np.int64], num_images: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices in two parts: the rest, and `num_images` with the same share of every class, each in order."""
    from sklearn.model_selection import train_test_split  # half a second to import, and few runs hold out

    rest, held_out = train_test_split(
        np.arange(len(labels)), test_size=num_images, stratify=labels, random_state=_HOLD_OUT_SEED
    )
    return np.sort(rest), np.sort(held_out)
