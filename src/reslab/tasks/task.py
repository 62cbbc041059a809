"""What each task says of itself, so that loop, tests, predictions and explanations are the same for all."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reslab.data.targets import TargetForm, Targets
from reslab.tasks.words import Words

__all__ = ["Answer", "Batch", "Loss", "Regularization", "Score", "Task"]

Batch: TypeAlias = Any
"""The targets of a batch, as `Task.collate` makes them: a tensor, or whatever else the task's loss takes."""
Loss: TypeAlias = Callable[[Any, Batch], Tensor]
"""Of a network's outputs in float32 and the targets of the batch: a scalar."""


class Score(Protocol):
    """How good a network is on images."""

    @property
    def error(self) -> float:
        """In %, the lower the better: by this the best state is chosen, and training ends early."""

    @property
    def wrong(self) -> float:
        """Share of wrong answers in %, as the training error counts them."""

    @property
    def loss(self) -> float:
        """Mean loss, in nats."""

    @property
    def num_images(self) -> int:
        """That were tested."""

    def figures(self, name: str) -> dict[str, float]:
        """What a run's record says besides, by keys that begin with the name of the images."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""

    def by_class(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Figures of each class as plain values, for a record; none where they stand elsewhere."""

    def tell(self) -> str:
        """The errors in words."""

    @property
    def title(self) -> str:
        """The first of them, for a picture."""


class LossKind(Protocol):
    """Which loss a recipe asks for."""

    @property
    def kind(self) -> str:
        """Its name."""


class Regularization(Protocol):
    """What a recipe says of the loss, as `reslab.training.recipe.RegularizationRecipe` does."""

    @property
    def label_smoothing(self) -> float:
        """Share of a label that is spread."""

    @property
    def mixup(self) -> float:
        """Alpha of the mixing of images; 0 for none."""

    @property
    def cutmix(self) -> float:
        """Alpha of the pasting of images; 0 for none."""

    @property
    def class_weights(self) -> str:
        """`none`, or what they are balanced by."""

    @property
    def loss(self) -> LossKind:
        """Which one."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a network says of an image.

    Args:
        labels: the answer: the most probable classes, or the labels that are probable enough; most probable first.
        probabilities: from 0 to 1, of the labels and then of the others.
        others: the next ones, which are not the answer, where an answer may be shorter than what is told; else None.
        abstained: whether the network is too unsure for an answer.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    others: tuple[str, ...] | None = None
    abstained: bool = False


class Task(ABC):
    """What a network is asked of an image."""

    name: ClassVar[str]
    """As records have it."""
    form: ClassVar[TargetForm]
    """What the targets look like in a data set."""
    words: ClassVar[Words]
    """What its figures are called."""
    default_threshold: ClassVar[float]
    """Probability that an answer takes, where nobody says another."""

    @abstractmethod
    def check(self, regularization: Regularization, sampling: str) -> None:
        """Refuses what a recipe asks for and the task has no use for.

        Args:
            regularization: of the recipe.
            sampling: of the training images, `uniform` or `balanced`.

        Raises:
            RecipeError: in a sentence.
        """

    def collate(self, targets: Targets) -> Batch:
        """The targets of a batch of images as a network's loss takes them."""
        return torch.from_numpy(targets)

    def parts(self, batch: Batch, number: int) -> Sequence[Batch]:
        """A batch's targets in so many parts, as equal as can be."""
        return batch.chunk(number)  # type: ignore[no-any-return]

    @abstractmethod
    def make_loss(self, regularization: Regularization, num_classes: int, targets: Targets) -> Loss:
        """What training minimises.

        Args:
            regularization: of the recipe.
            num_classes: that the network knows.
            targets: of all training images, of which some losses take statistics.
        """

    @abstractmethod
    def count_wrong(self, outputs: Any, batch: Batch) -> Tensor:
        """How many answers of a batch are wrong, a scalar on the outputs' device."""

    @abstractmethod
    def num_answers(self, batch: Batch) -> int:
        """How many answers there are in a batch, right and wrong."""

    @abstractmethod
    def probabilities(self, outputs: Tensor) -> Tensor:
        """(N, num_classes) logits to probabilities of the same type."""

    @abstractmethod
    def array_probabilities(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """The same in numpy, in float64."""

    @abstractmethod
    def decisions(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """What is decided by logits (N, num_classes), equal where two networks say the same."""

    @abstractmethod
    def score(self, batches: Iterable[tuple[Any, Batch]]) -> Score:
        """How good outputs are, given batch by batch with the targets."""

    @abstractmethod
    def score_probabilities(self, probabilities: NDArray[np.float32], targets: Targets) -> Score:
        """How good probabilities of all images are, (N, num_classes)."""

    @abstractmethod
    def answer(self, probabilities: NDArray[np.float64], names: Sequence[str], top: int, threshold: float) -> Answer:
        """What is said of an image.

        Args:
            probabilities: (num_classes,) of the image.
            names: of the classes.
            top: classes whose probabilities are told, at least.
            threshold: probability that an answer takes.
        """

    @abstractmethod
    def explained(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """(N, K) the classes that an explanation is about where nobody names one, for (N, num_classes)."""
