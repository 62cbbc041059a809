"""What probabilities say of a network: errors, calibration, classes, confusions and mistakes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reslab.data.dataset import Labels
from reslab.evaluation.scoring import Scores

__all__ = [
    "NUM_BINS",
    "Calibration",
    "ClassError",
    "Confusion",
    "calibrate",
    "class_errors",
    "confused_pairs",
    "worst_mistakes",
]

NUM_BINS = 15
"""Of confidence, as in arXiv 1706.04599."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """How far a network's confidence, the probability of its answer, is from the share of answers that are right.

    Args:
        error: expected calibration error, in %: the mean of |confidence - accuracy| over the bins, weighted by their
            images (arXiv 1706.04599, Eq. 3).
        num_images: (bins,) int64, images whose confidence is in (k / bins, (k + 1) / bins].
        confidence: (bins,) their mean confidence; 0 in empty bins.
        accuracy: (bins,) the share of them whose answer is right; 0 in empty bins.
    """

    error: float
    num_images: NDArray[np.int64]
    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]

    def to_dict(self) -> dict[str, Any]:
        """As plain values, the bins from low confidence to high."""
        bins = zip(self.num_images.tolist(), self.confidence.tolist(), self.accuracy.tolist(), strict=True)
        return {
            "calibration_error": self.error,
            "bins": [
                {"num_images": count, "confidence": confidence, "accuracy": accuracy}
                for count, confidence, accuracy in bins
            ],
        }


@dataclass(frozen=True)
class ClassError:
    """A class of which there are images.

    Args:
        index: of the class.
        num_images: of the class.
        error: share of them that are taken for another class, in %.
    """

    index: int
    num_images: int
    error: float


@dataclass(frozen=True)
class Confusion:
    """Images of one class that are taken for another.

    Args:
        truth: the class that they are of.
        predicted: the class that they are taken for.
        num_images: how many.
        share: of all images of the class, in %.
    """

    truth: int
    predicted: int
    num_images: int
    share: float


def calibrate(probabilities: Scores, labels: Labels, *, num_bins: int = NUM_BINS) -> Calibration:
    """Confidence against accuracy, in bins of equal width.

    Args:
        probabilities: (N, num_classes).
        labels: (N,) indices of the classes.
        num_bins: from 0 to 1.
    """
    confidence = probabilities.max(axis=1).astype(np.float64)
    right = probabilities.argmax(axis=1) == labels
    bins = np.clip(np.ceil(confidence * num_bins).astype(np.int64) - 1, 0, num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    per_bin = np.maximum(counts, 1)
    mean_confidence = np.bincount(bins, confidence, num_bins) / per_bin
    accuracy = np.bincount(bins, right, num_bins) / per_bin
    error = 100 * float((counts * np.abs(mean_confidence - accuracy)).sum() / len(labels))
    return Calibration(error, counts, mean_confidence, accuracy)


def class_errors(confusion: NDArray[np.int64]) -> list[ClassError]:
    """The classes that have images, in the order of their indices.

    Args:
        confusion: (num_classes, num_classes) counts; rows are true classes, columns predicted ones.
    """
    counts, right = confusion.sum(axis=1), confusion.diagonal()
    return [
        ClassError(int(index), int(counts[index]), 100 * float(1 - right[index] / counts[index]))
        for index in np.flatnonzero(counts)
    ]


def confused_pairs(confusion: NDArray[np.int64], limit: int) -> list[Confusion]:
    """The pairs of a class and the one it is most often taken for; of equally frequent ones the larger share first.

    Args:
        confusion: (num_classes, num_classes) counts; rows are true classes, columns predicted ones.
        limit: how many at most.
    """
    wrong = confusion.copy()
    np.fill_diagonal(wrong, 0)
    truths, predictions = np.nonzero(wrong)
    counts, shares = wrong[truths, predictions], 100 * wrong[truths, predictions] / confusion.sum(axis=1)[truths]
    order = np.lexsort((predictions, truths, -shares, -counts))[:limit]
    return [
        Confusion(int(truths[place]), int(predictions[place]), int(counts[place]), float(shares[place]))
        for place in order
    ]


def worst_mistakes(probabilities: Scores, labels: Labels, limit: int) -> NDArray[np.int64]:
    """Indices of the images of whose wrong class the network is surest, the worst first.

    Args:
        probabilities: (N, num_classes).
        labels: (N,) indices of the classes.
        limit: how many at most.
    """
    wrong = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(-probabilities[wrong].max(axis=1), kind="stable")
    return wrong[order[:limit]].astype(np.int64)
