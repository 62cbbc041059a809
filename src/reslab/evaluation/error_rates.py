"""Error rates of a network on the images as they are: one view each, not augmented (Sec. 4.2)."""

from collections.abc import Callable, Iterator
from typing import Any, overload

import torch
from torch import nn

from reslab.data.batches import evaluation_batches
from reslab.data.dataset import Samples
from reslab.data.normalization import Normalization
from reslab.models.devices import exact_arithmetic
from reslab.tasks.classification import Classification, Evaluation
from reslab.tasks.task import Score, Task

__all__ = ["EVALUATION_BATCH", "evaluate"]

EVALUATION_BATCH = 250
"""Images a forward pass, unless told otherwise."""


@overload
def evaluate(
    model: nn.Module,
    split: Samples,
    normalization: Normalization,
    *,
    batch_size: int = EVALUATION_BATCH,
    advance: Callable[[int], object] | None = None,
    task: None = None,
) -> Evaluation: ...


@overload
def evaluate(
    model: nn.Module,
    split: Samples,
    normalization: Normalization,
    *,
    batch_size: int = EVALUATION_BATCH,
    advance: Callable[[int], object] | None = None,
    task: Task,
) -> Score: ...


def evaluate(
    model: nn.Module,
    split: Samples,
    normalization: Normalization,
    *,
    batch_size: int = EVALUATION_BATCH,
    advance: Callable[[int], object] | None = None,
    task: Task | None = None,
) -> Score:
    """Evaluates a network in inference mode; its training flag is left as it was.

    Args:
        model: (N, C, H, W) to (N, num_classes) logits.
        split: the images.
        normalization: that the network was trained with.
        batch_size: images a forward pass; the result does not depend on it.
        advance: told of the number of images done after every batch.
        task: that the network is for; one label an image by default.
    """
    asked = task or Classification()
    parameter = next(model.parameters())
    was_training = model.training

    def batches() -> Iterator[tuple[Any, Any]]:
        for images, targets in evaluation_batches(split, normalization, batch_size, asked.collate):
            yield model(images.to(parameter.device, non_blocking=True)).float().cpu(), targets
            if advance:
                advance(len(images))

    model.eval()
    try:
        with exact_arithmetic(parameter.device), torch.inference_mode():
            return asked.score(batches())
    finally:
        model.train(was_training)
