"""Batch-norm statistics as strict averages over many training images, instead of moving averages.

The authors' released models hold such statistics, computed after training.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

__all__ = ["precise_batch_norm"]


def precise_batch_norm(model: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replaces every batch norm's running statistics by the average over batches of the batches' own statistics.

    Args:
        model: changed in place.
        batches: normalised training images, (N, C, H, W) each.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    was_training = model.training
    model.train()
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's sign for a cumulative average
        with torch.no_grad():
            for images in batches:
                model(images)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)
