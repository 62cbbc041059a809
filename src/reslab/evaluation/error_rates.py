"""Error rates of a network on the images as they are: one view each, not augmented (Sec. 4.2)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from reslab.data.batches import evaluation_batches
from reslab.data.dataset import Samples
from reslab.data.normalization import Normalization
from reslab.models.devices import exact_arithmetic

__all__ = ["EVALUATION_BATCH", "Evaluation", "evaluate", "score"]

PROTOCOL = "one-crop"
EVALUATION_BATCH = 250
"""Images a forward pass, unless told otherwise."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What `evaluate` found.

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


def evaluate(
    model: nn.Module,
    split: Samples,
    normalization: Normalization,
    *,
    batch_size: int = EVALUATION_BATCH,
    advance: Callable[[int], object] | None = None,
) -> Evaluation:
    """Evaluates a network in inference mode; its training flag is left as it was.

    Args:
        model: (N, C, H, W) to (N, num_classes) logits.
        split: the images.
        normalization: that the network was trained with.
        batch_size: images a forward pass; the result does not depend on it.
        advance: told of the number of images done after every batch.
    """
    parameter = next(model.parameters())
    was_training = model.training

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for images, labels in evaluation_batches(split, normalization, batch_size):
            yield model(images.to(parameter.device, non_blocking=True)).float().cpu(), labels
            if advance:
                advance(len(labels))

    model.eval()
    try:
        with exact_arithmetic(parameter.device), torch.inference_mode():
            return score(batches())
    finally:
        model.train(was_training)


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
