"""An int8 file against the float32 one that it comes from: is it as good, and is it faster?"""

import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from reslab.data.dataset import Images, Role, Samples
from reslab.deploy.deployed import Deployed, Logits
from reslab.deploy.quantizers import QuantizationError
from reslab.tasks import Task
from reslab.tasks.classification import Classification

__all__ = ["Comparison", "check", "compare", "logits_of"]

Advance = Callable[[int], object]

_TURNS = 5
_TURN_SECONDS = 0.3  # at least, for the faster of the two


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two files on the same images, with the same engine and threads.

    Args:
        engine: that ran both.
        split: of the images.
        num_images: that were evaluated.
        float32_error: top-1 error of the float32 file, in %; with several labels an image, 100 less the mean average
            precision.
        int8_error: likewise of the int8 file.
        agreement: share of answers, one an image or one a label of each, in which both say the same, in %.
        speed_ratio: images/s of the int8 file by those of the float32 file; median of turns, one after the other.
        speed_ratios: of the turns.
        batch_size: images a batch, for the speeds.
        what: the error is, in words.
    """

    engine: str
    split: Role
    num_images: int
    float32_error: float
    int8_error: float
    agreement: float
    speed_ratio: float
    speed_ratios: tuple[float, ...]
    batch_size: int
    what: str = "top-1 error"

    @property
    def error_rise(self) -> float:
        """Error that int8 adds, in percentage points."""
        return self.int8_error - self.float32_error

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        values = asdict(self)
        del values["what"]
        return {**values, "speed_ratios": list(self.speed_ratios), "error_rise": self.error_rise}


def compare(
    float32: Deployed,
    int8: Deployed,
    split: Samples,
    *,
    role: Role,
    batch_size: int = 32,
    advance: Advance | None = None,
    task: Task | None = None,
) -> Comparison:
    """Runs both files on the images, then by turns on some batches of them for their speed.

    Args:
        float32: the file that was quantised.
        int8: what came of it.
        split: labelled images that were not used for calibration.
        role: of the split.
        batch_size: images a batch.
        advance: told of the number of images done; each is done twice.
        task: that the files are for; one label an image by default.
    """
    asked = task or Classification()
    targets = asked.collate(split.labels)
    found = [logits_of(deployed, split, batch_size, advance) for deployed in (float32, int8)]
    errors = [asked.score([(torch.from_numpy(logits), targets)]).error for logits in found]
    agreement = 100 * float((asked.decisions(found[0]) == asked.decisions(found[1])).mean())
    some = split.read(0, min(batch_size, len(split)))
    ratios = _speed_ratios(float32, int8, np.resize(some, (batch_size, *some.shape[1:])))
    return Comparison(
        engine=int8.engine,
        split=role,
        num_images=len(split),
        float32_error=errors[0],
        int8_error=errors[1],
        agreement=agreement,
        speed_ratio=median(ratios),
        speed_ratios=tuple(ratios),
        batch_size=batch_size,
        what="top-1 error" if asked.words.error == "error" else asked.words.error,
    )


def check(comparison: Comparison, max_drop: float) -> None:
    """Raises QuantizationError if int8 adds more than `max_drop` points of error, or is not faster."""
    complaints = []
    # Not `>`, which NaN would pass.
    if not comparison.error_rise <= max_drop:
        complaints.append(
            f"its {comparison.what} is {comparison.int8_error:.2f} % instead of {comparison.float32_error:.2f} % on "
            f"{comparison.num_images:,} {comparison.split} images, and {max_drop:g} points more are allowed"
        )
    if not comparison.speed_ratio > 1:
        complaints.append(f"it runs at {comparison.speed_ratio:.2f} times the speed of float32")
    if complaints:
        raise QuantizationError(
            f"the int8 network was not written: {'; '.join(complaints)}. --force writes it nevertheless."
        )


def logits_of(deployed: Deployed, split: Samples, batch_size: int, advance: Advance | None = None) -> Logits:
    """What a network answers to the images of a split, as tests see them: (N, num_classes) float32.

    Args:
        deployed: the network.
        split: the images, of the shape that it takes.
        batch_size: images a pass; the result depends on it by rounding errors alone.
        advance: told of the number of images done after every batch.
    """

    def batches() -> Iterator[Images]:
        for start in range(0, len(split), batch_size):
            yield split.read(start, start + batch_size)

    found = []
    for logits in deployed.stream(batches()):
        found.append(logits)
        if advance:
            advance(len(logits))
    return np.concatenate(found)


def _speed_ratios(float32: Deployed, int8: Deployed, images: Images) -> list[float]:
    def seconds(deployed: Deployed, num_batches: int) -> float:
        start = time.perf_counter()
        for _ in deployed.stream(images for _ in range(num_batches)):
            pass
        return time.perf_counter() - start

    seconds(float32, 1)
    seconds(int8, 1)
    num_batches = max(2, round(_TURN_SECONDS / min(seconds(float32, 2), seconds(int8, 2)) * 2))
    return [seconds(float32, num_batches) / seconds(int8, num_batches) for _ in range(_TURNS)]
