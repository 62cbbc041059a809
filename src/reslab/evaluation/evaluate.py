"""Error rates of a network on the images as they are: one view each, not augmented (Sec. 4.2)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from reslab.data.batches import evaluation_batches
from reslab.data.dataset import Split
from reslab.data.normalization import Normalization

__all__ = ["EVALUATION_BATCH", "Evaluation", "evaluate"]

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

    def to_dict(self) -> dict[str, Any]:
        """The figures, without the confusion matrix."""
        return {
            "top1_error": self.top1_error,
            "top5_error": self.top5_error,
            "loss": self.loss,
            "num_images": self.num_images,
            "protocol": PROTOCOL,
        }


def evaluate(
    model: nn.Module,
    split: Split,
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
    model.eval()
    num_wrong1 = num_wrong5 = 0
    loss = 0.0
    confusion = torch.zeros(0)
    try:
        with torch.inference_mode():
            for images, labels in evaluation_batches(split, normalization, batch_size):
                logits = model(images.to(parameter.device, non_blocking=True)).float().cpu()  # (N, num_classes)
                num_classes = logits.shape[1]
                if not confusion.numel():
                    confusion = torch.zeros(num_classes**2, dtype=torch.int64)
                top = logits.topk(min(5, num_classes), dim=1).indices
                hits = top == labels[:, None]
                num_wrong1 += int((~hits[:, 0]).sum())
                num_wrong5 += int((~hits.any(dim=1)).sum())
                loss += float(functional.cross_entropy(logits.double(), labels, reduction="sum"))
                confusion += torch.bincount(labels * num_classes + top[:, 0], minlength=num_classes**2)
                if advance:
                    advance(len(labels))
    finally:
        model.train(was_training)
    num_classes = round(confusion.numel() ** 0.5)
    return Evaluation(
        top1_error=100 * num_wrong1 / len(split),
        top5_error=100 * num_wrong5 / len(split),
        loss=loss / len(split),
        num_images=len(split),
        confusion=confusion.reshape(num_classes, num_classes).numpy(),
    )
