"""What is known of an image besides its pixels: one label, or several; and what a data set does with it.

Targets are arrays whose first axis is that of the images; what stands behind it is the form's business.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reslab.errors import DataError, suggestion

__all__ = ["FORMS", "ONE_LABEL", "SEVERAL_LABELS", "TargetForm", "Targets", "form_of", "recorded_task"]

Targets: TypeAlias = NDArray[Any]
"""(N, ...), of N images."""


class TargetForm(ABC):
    """What the targets of a task look like."""

    task: ClassVar[str]
    """Name of the task, as records have it."""
    needs_every_class: ClassVar[bool]
    """Whether each part of a split must have images of every class."""

    @abstractmethod
    def relabelled(self, targets: Targets, indices: NDArray[np.int64], num_classes: int) -> Targets:
        """Targets of the same images by other numbers of the classes.

        Args:
            targets: of the images.
            indices: (old classes,) the new number of each class.
            num_classes: of the new ones; there may be more.
        """

    @abstractmethod
    def counts(self, targets: Targets, num_classes: int) -> NDArray[np.int64]:
        """(num_classes,) how many images show each class."""

    @abstractmethod
    def strata(self, targets: Targets, *, least: int, most: int) -> NDArray[np.int64]:
        """(N,) groups of images, of each of which a split gives the same share to its parts.

        Args:
            targets: of the images.
            least: images that a group needs to be divided.
            most: groups that a split can divide.
        """

    @abstractmethod
    def names(self, target: Any, classes: Sequence[str]) -> str:
        """An image's target in words, given by the names of the classes."""


class _OneLabel(TargetForm):
    """(N,) int64, indices into the classes."""

    task = "classification"
    needs_every_class = True

    def relabelled(self, targets: Targets, indices: NDArray[np.int64], num_classes: int) -> Targets:
        return indices[targets]

    def counts(self, targets: Targets, num_classes: int) -> NDArray[np.int64]:
        return np.bincount(targets, minlength=num_classes).astype(np.int64)

    def strata(self, targets: Targets, *, least: int, most: int) -> NDArray[np.int64]:
        return targets

    def names(self, target: Any, classes: Sequence[str]) -> str:
        return classes[int(target)]


class _SeveralLabels(TargetForm):
    """(N, num_classes) uint8, 1 for the labels that an image has, of which there may be none."""

    task = "multi-label"
    needs_every_class = False

    def relabelled(self, targets: Targets, indices: NDArray[np.int64], num_classes: int) -> Targets:
        """As in `TargetForm`; labels that the data have no word for count as absent."""
        found = np.zeros((len(targets), num_classes), targets.dtype)
        found[:, indices] = targets
        return found

    def counts(self, targets: Targets, num_classes: int) -> NDArray[np.int64]:
        found: NDArray[np.int64] = targets.sum(axis=0, dtype=np.int64)
        return found

    def strata(self, targets: Targets, *, least: int, most: int) -> NDArray[np.int64]:
        """By each image's rarest label; images without any are a group, and what is too small to divide another."""
        counts = self.counts(targets, targets.shape[1])
        by_rarity = np.argsort(counts, kind="stable")
        has_any = targets.any(axis=1)
        rarest = np.where(has_any, by_rarity[targets[:, by_rarity].argmax(axis=1)], targets.shape[1])
        groups, place, sizes = np.unique(rarest, return_inverse=True, return_counts=True)
        kept = np.argsort(-sizes, kind="stable")[: max(0, most - 1)]
        kept = kept[sizes[kept] >= least]
        others = np.full(len(groups), len(kept), np.int64)
        others[kept] = np.arange(len(kept))
        strata = others[place]
        if 0 < np.count_nonzero(strata == len(kept)) < least:  # too few even together: they join the largest group
            strata[strata == len(kept)] = 0
        return strata

    def names(self, target: Any, classes: Sequence[str]) -> str:
        return ", ".join(classes[index] for index in np.flatnonzero(target).tolist()) or "none"


ONE_LABEL: TargetForm = _OneLabel()
SEVERAL_LABELS: TargetForm = _SeveralLabels()
FORMS = {form.task: form for form in (ONE_LABEL, SEVERAL_LABELS)}
"""By the task's name."""


def recorded_task(record: Mapping[str, Any]) -> str:
    """The task that a run's record or a card states; those of earlier versions have one label an image.

    Raises:
        DataError: there is no such task.
    """
    return form_of(str(record.get("task", ONE_LABEL.task))).task


def form_of(task: str) -> TargetForm:
    """The form of a task's targets.

    Raises:
        DataError: there is no such task.
    """
    if task not in FORMS:
        raise DataError(f"there is no task {task!r}; there is {' and '.join(FORMS)}{suggestion(task, FORMS)}")
    return FORMS[task]
