"""Labels that are probably wrong, by what a network says of the images: confident learning.

Of class j the threshold is the network's mean probability of j over the images with that label. An image is counted
among the classes whose probability reaches their threshold, and of several among the most probable one; if that is not
its own, and the network's answer is another, its label is suspicious (Northcutt, Jiang and Chuang 2021, arXiv
1911.00068; cleanlab's `find_label_issues` with `filter_by="confident_learning"`).

That holds for images the network was not trained on. Of training images, whose labels it has learned, it finds fewer.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reslab.data.dataset import Labels
from reslab.evaluation.scoring import Scores

__all__ = ["SuspiciousLabels", "suspicious_labels"]

_ROUNDING = 1e-6  # cleanlab's


@dataclass(frozen=True, eq=False)
class SuspiciousLabels:
    """What was found.

    Args:
        indices: (S,) of the images, the least probable label first.
        quality: (N,) the probability of every image's own label: its self-confidence.
        suggested: (S,) the class that each of them is counted among.
    """

    indices: NDArray[np.int64]
    quality: NDArray[np.float64]
    suggested: NDArray[np.int64]


def suspicious_labels(scores: Scores, labels: Labels) -> SuspiciousLabels:
    """The images whose labels are probably wrong.

    Args:
        scores: (N, num_classes) probabilities.
        labels: (N,) indices of the classes, one an image; a class may have none.
    """
    probabilities = scores.astype(np.float64)
    rows = np.arange(len(labels))
    quality = probabilities[rows, labels]
    counts = np.bincount(labels, minlength=scores.shape[1])
    sums = np.bincount(labels, quality, scores.shape[1])
    thresholds = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)
    confident = probabilities >= thresholds - _ROUNDING
    guessed = np.where(confident.sum(axis=1) > 1, probabilities.argmax(axis=1), confident.argmax(axis=1))
    favoured = probabilities.copy()
    favoured[rows, labels] += _ROUNDING
    suspicious = confident.any(axis=1) & (guessed != labels) & (favoured.argmax(axis=1) != labels)
    indices = np.flatnonzero(suspicious)
    indices = indices[np.argsort(quality[indices], kind="stable")]
    return SuspiciousLabels(indices.astype(np.int64), quality, guessed[indices].astype(np.int64))
