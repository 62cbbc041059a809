"""The deeper network that computes the same (Sec. 1)."""

import torch

from reslab.analysis.construction import deepened
from reslab.paper.measures import Measured
from reslab.paper.subjects import MeasuredNetwork

__all__ = ["construction"]

_IMAGES = 10_000
_SAME = 1e-3  # of logits that differ by less


def construction(subject: MeasuredNetwork, *, depth: int) -> Measured:
    """A trained net deepened by layers that are identities: how far its outputs and its errors are from its own.

    Args:
        subject: the shallower network, or one of the depth itself, whose error is measured on the same images.
        depth: of the deeper one.
    """
    network = subject.network
    train = subject.split("train", _IMAGES)
    own = subject.error(network, train)
    if network.spec.depth == depth:  # one that was trained at that depth, to be compared with
        return Measured(values={"error_at_depth": own}, counts={"error_at_depth": len(train)})
    deep = deepened(network, depth)
    largest, differing, changed = 0.0, 0, 0
    with torch.inference_mode():
        for images, _ in subject.batches("train", _IMAGES):
            before, after = network(images), deep(images)
            differences = (before - after).abs().amax(dim=1)
            largest = max(largest, float(differences.max()))
            differing += int((differences >= _SAME).sum())
            changed += int((before.argmax(dim=1) != after.argmax(dim=1)).sum())
    constructed = subject.error(deep, train)
    return Measured(
        values={
            "largest_difference": largest,
            "constructed_error": constructed,
            "error_at_depth": constructed,
            "differing_outputs": 100 * differing / len(train),
            "changed_answers": 100 * changed / len(train),
        },
        counts=dict.fromkeys(
            ("constructed_error", "error_at_depth", "differing_outputs", "changed_answers"), len(train)
        ),
        series={"depth": deep.spec.depth, "own_error": own},
    )
