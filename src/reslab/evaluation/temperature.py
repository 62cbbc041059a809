"""Temperature scaling: one number that makes a network as sure as it is right (arXiv 1706.04599, Sec. 4.2).

Logits divided by a temperature keep their order, so that no answer and no error changes, and only the probabilities do.
The division is done to the weights and the bias of the last layer, which is the same function.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import logsumexp, softmax
from torch import nn

from reslab.data.batches import evaluation_batches
from reslab.data.dataset import Labels, Samples
from reslab.data.normalization import Normalization
from reslab.errors import WeightsError
from reslab.evaluation.error_rates import EVALUATION_BATCH
from reslab.models.devices import exact_arithmetic
from reslab.models.features import FeatureNetwork

__all__ = ["divide_logits", "fit_temperature", "negative_log_likelihood", "split_logits"]

Logits = NDArray[np.float32]
"""(N, num_classes)."""

_RANGE = (1e-3, 1e3)  # of temperatures that are looked at
_ROWS = 4096  # at once


def fit_temperature(logits: Logits, labels: Labels) -> float:
    """The temperature with the least negative log-likelihood; it is a convex function of 1 / T, so there is one.

    Args:
        logits: (N, num_classes), of images that were not trained on.
        labels: (N,) indices of their classes.

    Raises:
        WeightsError: there is none from 0.001 to 1,000: all answers are right, so that the least temperature would be
            best, or they are no better than chance.
    """

    def slope(log_temperature: float) -> float:
        """Of the mean likelihood in 1 / T: what the network expects its logit to be, less what the true class has."""
        total = 0.0
        for rows, truth in _parts(logits, labels):
            expected = (softmax(rows / np.exp(log_temperature), axis=1) * rows).sum(axis=1)
            total += float((expected - rows[np.arange(len(truth)), truth]).sum())
        return total / len(labels)

    coldest, hottest = np.log(_RANGE)
    if slope(coldest) <= 0:
        raise WeightsError(
            f"no temperature can be fitted: all {len(labels):,} answers are right, or nearly so, and the surest "
            "network would be best. Take images on which it errs, with --data."
        )
    if slope(hottest) >= 0:
        raise WeightsError(
            "no temperature can be fitted: the network does no better than chance on these images, and the most unsure "
            "one would be best."
        )
    return float(np.exp(brentq(slope, coldest, hottest, xtol=1e-12)))


def negative_log_likelihood(logits: Logits, labels: Labels) -> float:
    """The mean over images, in nats."""
    total = 0.0
    for rows, truth in _parts(logits, labels):
        total += float((logsumexp(rows, axis=1) - rows[np.arange(len(truth)), truth]).sum())
    return total / len(labels)


def split_logits(
    model: nn.Module, split: Samples, normalization: Normalization, advance: Callable[[int], object] = lambda _: None
) -> Logits:
    """The logits of every image of a split, seen as in tests; the network's training flag is left as it was.

    Args:
        model: (N, C, H, W) to (N, num_classes) logits.
        split: the images.
        normalization: that the network was trained with.
        advance: told of the number of images done after every batch.

    Raises:
        WeightsError: a logit is not finite.
    """
    device = next(model.parameters()).device
    was_training = model.training
    found = []
    model.eval()
    try:
        with exact_arithmetic(device), torch.inference_mode():
            for images, labels in evaluation_batches(split, normalization, EVALUATION_BATCH):
                found.append(model(images.to(device)).float().cpu().numpy())
                advance(len(labels))
    finally:
        model.train(was_training)
    logits: Logits = np.concatenate(found)
    if not np.isfinite(logits).all():
        raise WeightsError("the network makes NaN or infinite logits of these images.")
    return logits


def divide_logits(model: FeatureNetwork, temperature: float) -> None:
    """Divides a network's logits by a temperature, by the weights and the bias of its last layer.

    Args:
        model: changed in place.
        temperature: above 0.
    """
    with torch.no_grad():
        for parameter in model.get_classifier().parameters():
            parameter.div_(temperature)


def _parts(logits: Logits, labels: Labels) -> Iterator[tuple[NDArray[np.float64], Labels]]:
    for start in range(0, len(labels), _ROWS):
        yield logits[start : start + _ROWS].astype(np.float64), labels[start : start + _ROWS]
