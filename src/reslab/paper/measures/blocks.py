"""What single blocks do in a trained network: how large F is, and what is lost without it."""

from typing import Any

import numpy as np

from reslab.analysis.blocks import blocks_of, branch_report, shuffled, without_branches
from reslab.analysis.paths import path_lengths
from reslab.paper.measures import Measured
from reslab.paper.subjects import MeasuredNetwork

__all__ = ["branches", "lesions"]

_IMAGES = 1_000
_PATH_IMAGES = 64
_REPEATS = 5  # random choices of several blocks
_SEVERAL = (1, 2, 3, 5, 8, 12)


def branches(subject: MeasuredNetwork) -> Measured:
    """|F| / |x| and the cosine of H = F + x and x of every block; and the error with each block's F set to 0."""
    network = subject.network
    split = subject.split("test", _IMAGES)
    found = branch_report(network, (images for images, _ in subject.batches("test", _IMAGES)))
    whole = subject.error(network, split)
    errors = []
    for block in found:
        with without_branches(network, [block.name]):
            errors.append(subject.error(network, split))
    return Measured(
        values={
            "mean_ratio": float(np.mean([block.branch_to_shortcut for block in found])),
            "mean_cosine": float(np.mean([block.cosine for block in found])),
            "mean_lesion_error": float(np.mean(errors)),
            "mean_lesion_rise": float(np.mean(errors)) - whole,
        },
        series={
            "block": [block.name for block in found],
            "ratio": [block.branch_to_shortcut for block in found],
            "cosine": [block.cosine for block in found],
            "grows": [block.grows for block in found],
            "lesion_error": errors,
            "whole_error": whole,
        },
    )


def lesions(subject: MeasuredNetwork) -> Measured:
    """The error without one and without several blocks, with blocks swapped, and the lengths of gradients' paths."""
    network = subject.network
    split = subject.split("test", _IMAGES)
    whole = subject.error(network, split)
    names = [placed.name for placed in blocks_of(network) if placed.keeps_shape]
    generator = np.random.default_rng(subject.job.subject.seed)
    curve: dict[int, list[float]] = {}
    for count in (number for number in _SEVERAL if number <= len(names)):
        choices = (
            [[name] for name in names]
            if count == 1
            else [list(generator.choice(names, count, replace=False)) for _ in range(_REPEATS)]
        )
        curve[count] = []
        for chosen in choices:
            with without_branches(network, chosen):
                curve[count].append(subject.error(network, split))
    swaps: dict[int, list[float]] = {}
    for count in (1, 2, 4, 8):
        swaps[count] = []
        for repeat in range(_REPEATS):
            with shuffled(network, seed=repeat, num_swaps=count):
                swaps[count].append(subject.error(network, split))
    values = {
        "one_lesion_error": float(np.mean(curve[1])),
        "lesion_rise": float(np.mean(curve[1])) - whole,
        "shuffled_error": float(np.mean(swaps[1])),
    }
    if 5 in curve:
        values["five_lesions_error"] = float(np.mean(curve[5]))
    series: dict[str, Any] = {
        "whole_error": whole,
        "block": names,
        "one_lesion": curve[1],
        "lesions": {str(count): errors for count, errors in curve.items()},
        "swaps": {str(count): errors for count, errors in swaps.items()},
    }
    if subject.spec.shortcut != "none":
        images, labels = next(subject.batches("train", _PATH_IMAGES, _PATH_IMAGES))
        paths = path_lengths(network, images, labels, seed=0)
        values["mean_path_length"] = float(np.dot(paths.lengths, paths.shares))
        series |= {"path_length": list(paths.lengths), "path_share": list(paths.shares)}
    return Measured(values=values, series=series)
