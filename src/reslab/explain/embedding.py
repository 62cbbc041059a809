"""What a network sees in images before it decides: what its classifier gets, and its scores, in one pass."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from reslab.data.batches import evaluation_batches
from reslab.data.dataset import Samples
from reslab.deploy.prediction import usual_batch_size
from reslab.evaluation.cache import cached_scores, scores_key
from reslab.evaluation.protocols import OneCrop
from reslab.evaluation.scoring import Scores
from reslab.files.hashing import hash_json
from reslab.tasks import find_task
from reslab.trained import Trained

__all__ = ["Embedding", "Features", "embed", "nearest"]

Features = NDArray[np.float32]
"""(N, channels): what the classifier sees of every image."""

_SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Embedding:
    """A split's images as a network sees them.

    Args:
        features: (N, channels), what its classifier sees.
        scores: (N, num_classes) probabilities.
    """

    features: Features
    scores: Scores


def embed(
    trained: Trained, split: Samples, *, use_cache: bool = True, advance: Callable[[int], object] | None = None
) -> Embedding:
    """Features and probabilities of a split's images, one view each.

    Args:
        trained: the network, whose normalisation must be known.
        split: the images, as the network takes them (`Description.fit`).
        use_cache: keep them in the user's cache, and use those that are there.
        advance: told of the number of images done.

    Raises:
        DataError: an image cannot be read.
    """
    model, normalization = trained.model, trained.normalization
    device = next(model.parameters()).device
    width = model.classifier_inputs()
    size = usual_batch_size(trained.about.preprocessing)

    task = find_task(trained.about.task)

    def compute() -> NDArray[np.float32]:
        rows = np.empty((len(split), width + model.num_classes), np.float32)
        done = 0
        model.eval()
        with torch.inference_mode():
            for images, labels in evaluation_batches(split, normalization, size):
                features = model.forward_head(model.forward_features(images.to(device)), pre_logits=True)
                scores = task.probabilities(model.get_classifier()(features).double())
                rows[done : done + len(labels)] = torch.cat([features.float(), scores.float()], dim=1).cpu().numpy()
                done += len(labels)
                if advance:
                    advance(len(labels))
        return rows

    if use_cache:
        unlabelled = split.with_labels(split.labels * 0)
        own = scores_key(model.spec, str(trained.sha256), unlabelled, normalization, OneCrop(), str(device), task.name)
        key = hash_json({"embedding": _SCHEMA, "scores": own})
        rows, found = cached_scores(key, (len(split), width + model.num_classes), compute)
        if found and advance:
            advance(len(split))
    else:
        rows = compute()
    return Embedding(rows[:, :width], rows[:, width:])


def nearest(queries: Features, among: Features, count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The images whose features point in the most similar directions.

    Args:
        queries: (Q, channels).
        among: (N, channels).
        count: how many of each, N at most.

    Returns:
        (Q, count) indices, the most similar first, and their cosines.
    """
    cosines = _directions(queries) @ _directions(among).T
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return order.astype(np.int64), np.take_along_axis(cosines, order, axis=1)


def _directions(features: Features) -> Features:
    """Of length 1; one without features stays 0, and is like nothing."""
    lengths: Features = np.linalg.norm(features, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    directions: Features = features / lengths
    return directions
