"""One label an image."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from reslab.data.dataset import UNBALANCED
from reslab.data.targets import ONE_LABEL, Targets
from reslab.tasks.task import Answer, Batch, Loss, Regularization, Task
from reslab.tasks.words import ONE_LABEL_WORDS

__all__ = ["Classification", "Evaluation", "class_weights", "score"]

PROTOCOL = "one-crop"
_ROWS = 4096  # at once: sorting takes several times their memory


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a test of a network with one label an image found.

    Args:
        top1_error: share of images whose highest score is another class's, in %.
        top5_error: share whose class is not among the five highest scores (or all, if there are fewer), in %.
        loss: mean cross-entropy, in nats.
        num_images: that were evaluated.
        confusion: (num_classes, num_classes) counts; rows are true classes, columns predicted ones.
    """

    top1_error: float
    top5_error: float
    loss: float
    num_images: int
    confusion: NDArray[np.int64]

    @property
    def error(self) -> float:
        """As in `Score`: the top-1 error."""
        return self.top1_error

    @property
    def wrong(self) -> float:
        """As in `Score`: the top-1 error."""
        return self.top1_error

    @property
    def mean_class_error(self) -> float:
        """Mean of the classes' own top-1 errors, in %, each class counting alike; of those that have images."""
        counts, right = self.confusion.sum(axis=1), self.confusion.diagonal()
        there = counts > 0
        return float(100 * (1 - right[there] / counts[there]).mean())

    @property
    def class_imbalance(self) -> float:
        """How many times as many images the largest class has as the smallest, of those that have any."""
        counts = self.confusion.sum(axis=1)
        return float(counts.max() / counts[counts > 0].min())

    def figures(self, name: str) -> dict[str, float]:
        """As in `Score`."""
        return {f"{name}_mean_class_error": self.mean_class_error, f"{name}_class_imbalance": self.class_imbalance}

    def to_dict(self) -> dict[str, Any]:
        """The figures, without the confusion matrix."""
        return {
            "top1_error": self.top1_error,
            "top5_error": self.top5_error,
            "mean_class_error": self.mean_class_error,
            "class_imbalance": self.class_imbalance,
            "loss": self.loss,
            "num_images": self.num_images,
            "protocol": PROTOCOL,
        }

    def by_class(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """As in `Score`: the confusion matrix has them, and a report's classes.csv."""
        return []

    def tell(self) -> str:
        """As in `Score`; five answers of five classes or fewer are never wrong, and not worth a word."""
        top5 = f", top-5 error {self.top5_error:.2f} %" if len(self.confusion) > 5 else ""
        hidden = self.class_imbalance > UNBALANCED
        mean = f", mean over the classes {self.mean_class_error:.2f} %" if hidden else ""
        return f"top-1 error {self.top1_error:.2f} %{mean}{top5}"

    @property
    def title(self) -> str:
        """As in `Score`."""
        return f"{self.top1_error:.2f} % error"


@dataclass(frozen=True)
class Classification(Task):
    """One label an image: targets are (N,) int64, indices into the classes."""

    name = ONE_LABEL.task
    form = ONE_LABEL
    words = ONE_LABEL_WORDS
    default_threshold = 0.0

    def check(self, regularization: Regularization, sampling: str) -> None:
        """As in `Task`: all of it makes sense."""

    def make_loss(self, regularization: Regularization, num_classes: int, targets: Targets | None = None) -> Loss:
        """As in `Task`: of logits (N, num_classes) and labels, (N,) indices or (N, num_classes) shares.

        Args:
            regularization: of the recipe.
            num_classes: of the logits.
            targets: (N,) of all training images, where the recipe weights the classes.
        """
        smoothing, asked = regularization.label_smoothing, regularization.loss
        if asked.kind == "cross-entropy":
            weights = None
            if regularization.class_weights == "balanced":
                assert targets is not None
                weights = torch.from_numpy(class_weights(targets, num_classes))
            return lambda logits, labels: functional.cross_entropy(
                logits, labels, None if weights is None else weights.to(logits.device), label_smoothing=smoothing
            )
        threshold = float(getattr(asked, "target_threshold", 0))

        def binary(logits: Tensor, labels: Tensor) -> Tensor:
            shares = functional.one_hot(labels, num_classes).to(logits.dtype) if labels.ndim == 1 else labels
            if threshold:
                shares = (shares > threshold).to(logits.dtype)
            smooth = shares * (1 - smoothing) + smoothing / num_classes
            return functional.binary_cross_entropy_with_logits(logits, smooth)

        return binary

    def count_wrong(self, outputs: Tensor, batch: Tensor) -> Tensor:
        """Images whose highest score is another class's; of a mixed image, than the one with the greatest share."""
        classes = batch if batch.ndim == 1 else batch.argmax(dim=1)
        return (outputs.detach().argmax(dim=1) != classes).sum()

    def num_answers(self, batch: Batch) -> int:
        """As in `Task`: one an image."""
        return len(batch)

    def probabilities(self, outputs: Tensor) -> Tensor:
        """As in `Task`: the softmax."""
        return outputs.softmax(dim=1)

    def array_probabilities(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """As in `Task`: the softmax."""
        rows = outputs.astype(np.float64)
        exponents = np.exp(rows - rows.max(axis=1, keepdims=True))
        found: NDArray[np.float64] = exponents / exponents.sum(axis=1, keepdims=True)
        return found

    def decisions(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """As in `Task`: (N,) the classes."""
        found: NDArray[np.int64] = outputs.argmax(axis=1)
        return found

    def score(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
        """As in `Task`."""
        return score(batches)

    def score_probabilities(self, probabilities: NDArray[np.float32], targets: Targets) -> Evaluation:
        """As in `Task`; a probability that float32 rounds to 0 costs 87.3 nats."""

        def batches() -> Iterator[tuple[Tensor, Tensor]]:
            least = torch.finfo(torch.float32).tiny
            for start in range(0, len(targets), _ROWS):
                rows = torch.from_numpy(probabilities[start : start + _ROWS]).double()
                # In float64, in which the logarithm keeps different probabilities apart.
                yield rows.clamp_min(least).log(), torch.from_numpy(targets[start : start + _ROWS])

        return score(batches())

    def answer(self, probabilities: NDArray[np.float64], names: Sequence[str], top: int, threshold: float) -> Answer:
        """As in `Task`: the classes with the highest probabilities, the highest first."""
        best = np.argsort(-probabilities, kind="stable")[:top]
        return Answer(
            labels=tuple(names[index] for index in best),
            probabilities=tuple(float(probabilities[index]) for index in best),
            abstained=not probabilities[best[0]] >= threshold,
        )

    def explained(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """As in `Task`: the most probable one."""
        best: NDArray[np.int64] = probabilities.argmax(axis=1)[:, np.newaxis]
        return best


def class_weights(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float32]:
    """(num_classes,) weights by which all classes count alike, N / (num_classes * images of the class).

    scikit-learn's `class_weight="balanced"`; a class without images, which no label has, weighs 0.
    """
    counts = np.bincount(labels, minlength=num_classes)
    return np.where(counts > 0, len(labels) / (num_classes * np.maximum(counts, 1)), 0).astype(np.float32)


def score(batches: Iterable[tuple[Tensor, Tensor]]) -> Evaluation:
    """Error rates from batches of float32 logits, (N, num_classes), and labels, (N,) int64."""
    num_wrong1 = num_wrong5 = num_images = num_classes = 0
    loss = 0.0
    confusion = torch.zeros(0, dtype=torch.int64)
    for logits, labels in batches:
        num_classes = logits.shape[1]
        if not confusion.numel():
            confusion = torch.zeros(num_classes**2, dtype=torch.int64)
        # Stable: of equal scores, which int8 networks give, the first class counts, as with argmax.
        top = logits.argsort(dim=1, descending=True, stable=True)[:, :5]
        hits = top == labels[:, None]
        num_images += len(labels)
        num_wrong1 += int((~hits[:, 0]).sum())
        num_wrong5 += int((~hits.any(dim=1)).sum())
        loss += float(functional.cross_entropy(logits.double(), labels, reduction="sum"))
        confusion += torch.bincount(labels * num_classes + top[:, 0], minlength=num_classes**2)
    return Evaluation(
        top1_error=100 * num_wrong1 / num_images,
        top5_error=100 * num_wrong5 / num_images,
        loss=loss / num_images,
        num_images=num_images,
        confusion=confusion.reshape(num_classes, num_classes).numpy(),
    )
