"""Several labels an image, or none of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor
from torch.nn import functional

from reslab.data.targets import SEVERAL_LABELS, Targets
from reslab.errors import RecipeError
from reslab.tasks.task import Answer, Batch, Loss, Regularization, Task
from reslab.tasks.words import SEVERAL_LABELS_WORDS

__all__ = ["LabelEvaluation", "MultiLabel", "average_precisions"]

_EVEN = 0.5


@dataclass(frozen=True, eq=False)
class LabelEvaluation:
    """What a test of a network with several labels an image found.

    Args:
        average_precision: (num_classes,) of each label in %, scikit-learn's; NaN where no image has the label.
        label_error: share of wrong labels in %, of all images and labels, at a probability of 0.5.
        loss: mean binary cross-entropy of the labels, in nats.
        num_images: that were evaluated.
        counts: (num_classes,) images that have each label.
    """

    average_precision: NDArray[np.float64]
    label_error: float
    loss: float
    num_images: int
    counts: NDArray[np.int64]

    @property
    def mean_average_precision(self) -> float:
        """In %, the mean over the labels that some image has; 0 where there are none."""
        there = self.counts > 0
        return float(self.average_precision[there].mean()) if there.any() else 0.0

    @property
    def error(self) -> float:
        """As in `Score`: 100 less the mean average precision."""
        return 100 - self.mean_average_precision

    @property
    def wrong(self) -> float:
        """As in `Score`: the error of the labels."""
        return self.label_error

    def figures(self, name: str) -> dict[str, float]:
        """As in `Score`."""
        return {f"{name}_mean_average_precision": self.mean_average_precision, f"{name}_label_error": self.label_error}

    def to_dict(self) -> dict[str, Any]:
        """As in `Score`."""
        return {
            "mean_average_precision": self.mean_average_precision,
            "label_error": self.label_error,
            "loss": self.loss,
            "num_images": self.num_images,
            "protocol": "one-crop",
        }

    def by_class(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """As in `Score`: images with each label, and its average precision, None where there are none."""
        return [
            {"label": name, "num_images": number, "average_precision": None if np.isnan(value) else value}
            for name, number, value in zip(names, self.counts.tolist(), self.average_precision.tolist(), strict=True)
        ]

    def tell(self) -> str:
        """As in `Score`."""
        return f"mAP {self.mean_average_precision:.2f} %, wrong labels {self.label_error:.2f} %"

    @property
    def title(self) -> str:
        """As in `Score`."""
        return f"mAP {self.mean_average_precision:.2f} %"


@dataclass(frozen=True)
class MultiLabel(Task):
    """Several labels an image: targets are (N, num_classes), 1 for those that it has; a decision for each label."""

    name = SEVERAL_LABELS.task
    form = SEVERAL_LABELS
    words = SEVERAL_LABELS_WORDS
    default_threshold = _EVEN

    def check(self, regularization: Regularization, sampling: str) -> None:
        """As in `Task`: one label an image is what mixing, balancing and the weights of classes are for."""
        asked = {
            "regularization.mixup": bool(regularization.mixup),
            "regularization.cutmix": bool(regularization.cutmix),
            "regularization.class_weights": regularization.class_weights != "none",
            "data.sampling = balanced": sampling == "balanced",
            "regularization.loss.target_threshold": bool(getattr(regularization.loss, "target_threshold", 0)),
        }
        if wrong := [name for name, given in asked.items() if given]:
            raise RecipeError(f"{wrong[0]} is for images with one label, and these have several; leave it out.")

    def make_loss(self, regularization: Regularization, num_classes: int, targets: Targets | None = None) -> Loss:
        """As in `Task`: the mean binary cross-entropy over images and labels; smoothed by s, s / 2 stands for 0.

        Args:
            regularization: of the recipe; whichever loss it names.
            num_classes: of the logits (N, num_classes).
            targets: not needed.
        """
        smoothing = regularization.label_smoothing

        def binary(logits: Tensor, labels: Tensor) -> Tensor:
            smooth = labels.to(logits.dtype) * (1 - smoothing) + smoothing / 2
            return functional.binary_cross_entropy_with_logits(logits, smooth)

        return binary

    def count_wrong(self, outputs: Tensor, batch: Tensor) -> Tensor:
        """As in `Task`: labels on the wrong side of a probability of 0.5."""
        return ((outputs.detach() >= 0) != (batch > 0)).sum()

    def num_answers(self, batch: Batch) -> int:
        """As in `Task`: one a label of each image."""
        return int(batch.numel())

    def probabilities(self, outputs: Tensor) -> Tensor:
        """As in `Task`: the sigmoid of each logit."""
        return outputs.sigmoid()

    def array_probabilities(self, outputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """As in `Task`."""
        found: NDArray[np.float64] = expit(outputs.astype(np.float64))
        return found

    def decisions(self, outputs: NDArray[np.float32]) -> NDArray[Any]:
        """As in `Task`: (N, num_classes) whether the image has each label."""
        return outputs >= 0

    def score(self, batches: Iterable[tuple[Tensor, Tensor]]) -> LabelEvaluation:
        """As in `Task`."""
        parts = [(logits.double().sigmoid().float(), labels) for logits, labels in batches]
        scores, targets = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
        return self.score_probabilities(scores, targets)

    def score_probabilities(self, probabilities: NDArray[np.float32], targets: Targets) -> LabelEvaluation:
        """As in `Task`; a probability that float32 rounds to 0 or 1, and is wrong, costs 87.3 or 16.6 nats."""
        wrong = (probabilities >= _EVEN) != (targets > 0)
        rounded = probabilities.astype(np.float64)
        tiny, most = np.finfo(np.float32).tiny, 1 - np.finfo(np.float32).epsneg
        likelihood = np.where(targets > 0, rounded.clip(tiny), 1 - rounded.clip(None, most))
        return LabelEvaluation(
            average_precision=average_precisions(probabilities, targets),
            label_error=100 * float(wrong.mean()),
            loss=float(-np.log(likelihood).mean()),
            num_images=len(targets),
            counts=self.form.counts(targets, targets.shape[1]),
        )

    def answer(self, probabilities: NDArray[np.float64], names: Sequence[str], top: int, threshold: float) -> Answer:
        """As in `Task`: the labels whose probabilities reach the threshold, of which there may be none."""
        order = np.argsort(-probabilities, kind="stable")
        number = int((probabilities >= threshold).sum())
        best = order[: max(top, number)]
        ranked = tuple(names[index] for index in best)
        return Answer(
            labels=ranked[:number],
            probabilities=tuple(float(probabilities[index]) for index in best),
            others=ranked[number:],
        )

    def explained(self, probabilities: NDArray[np.float64]) -> NDArray[np.int64]:
        """As in `Task`: the most probable label."""
        best: NDArray[np.int64] = probabilities.argmax(axis=1)[:, np.newaxis]
        return best


def average_precisions(probabilities: NDArray[np.float32], targets: Targets) -> NDArray[np.float64]:
    """(num_classes,) average precision of each label in %, as scikit-learn defines it; NaN where no image has it.

    Args:
        probabilities: (N, num_classes), or anything of the same order.
        targets: (N, num_classes), 1 for the labels that an image has.
    """
    from sklearn.metrics import average_precision_score  # half a second to import

    found = np.full(targets.shape[1], np.nan)
    for label in np.flatnonzero(targets.any(axis=0)).tolist():
        found[label] = 100 * average_precision_score(targets[:, label], probabilities[:, label])
    return found
