"""What a network loses when a part of an image is covered (Zeiler and Fergus 2014, arXiv 1311.2901).

It asks nothing of a network but its answers, and so works with exported files and whatever runs them.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from reslab.data.dataset import Images
from reslab.deploy.deployed import Deployed, Logits
from reslab.deploy.prediction import usual_batch_size
from reslab.errors import ReslabError
from reslab.explain.activation import Maps
from reslab.tasks import find_task

__all__ = ["Scores", "occlusion_maps", "usual_window"]

Scores = NDArray[np.float64]

_WINDOWS_A_SIDE = 7


def usual_window(height: int, width: int) -> int:
    """Side of the window where nobody says another: a seventh of the image's shorter side."""
    return max(1, round(min(height, width) / _WINDOWS_A_SIDE))


def occlusion_maps(
    deployed: Deployed,
    image: Images,
    classes: Sequence[int],
    *,
    window: int | None = None,
    step: int | None = None,
    fill: Sequence[int] | None = None,
    scores: Callable[[Logits], Scores] | None = None,
) -> Maps:
    """How far the scores of classes fall when a square window is covered: the mean over the windows that cover a pixel.

    Args:
        deployed: the network, of PyTorch or an exported file.
        image: (H, W, C) uint8 as it sees it.
        classes: K outputs to explain.
        window: side of the square, in pixels of the network's view; `usual_window` by default.
        step: from one window to the next, half of the window by default; the last ones may reach beyond the edge.
        fill: the colour, one number a channel, from 0 to 255; the mean colour of the image by default, which exported
            files need not say.
        scores: (N, num_classes) logits to what is explained; the probabilities of the network's task by default.

    Returns:
        (K, H, W): positive where covering lowers the score.

    Raises:
        ReslabError: a window or step that is not positive, or a step larger than the window, which would leave
            pixels out.
    """
    scores = scores or find_task(deployed.about.task).array_probabilities
    height, width, _ = image.shape
    window = usual_window(height, width) if window is None else min(window, max(height, width))
    step = max(1, window // 2) if step is None else step
    if not 1 <= step <= window:
        raise ReslabError(f"a window of {window} pixels and a step of {step} do not fit: give 1 to {window}.")
    color = image.mean(axis=(0, 1)).round().astype(np.uint8) if fill is None else np.array(fill, np.uint8)
    places = [(top, left) for top in _starts(height, window, step) for left in _starts(width, window, step)]
    size = usual_batch_size(deployed.preprocessing)

    def batches() -> Iterator[Images]:
        yield image[np.newaxis]
        for start in range(0, len(places), size):
            batch = np.repeat(image[np.newaxis], len(places[start : start + size]), axis=0)
            for covered, (top, left) in zip(batch, places[start:], strict=False):
                covered[top : top + window, left : left + window] = color
            yield batch

    found = np.concatenate([scores(logits)[:, list(classes)] for logits in deployed.stream(batches())])  # (1 + P, K)
    total, counts = np.zeros((len(classes), height, width)), np.zeros((height, width))
    for (top, left), drop in zip(places, found[:1] - found[1:], strict=True):
        part = np.s_[top : top + window, left : left + window]
        counts[part] += 1
        total[:, *part] += drop[:, np.newaxis, np.newaxis]
    return (total / counts).astype(np.float32)


def _starts(side: int, window: int, step: int) -> range:
    """Where windows begin, so that together they cover everything."""
    steps = max(0, -(-(side - window) // step))
    return range(0, steps * step + 1, step)
