"""Measured values of an arm, with all that their uncertainty depends on. Importing this module imports no torch."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reslab.errors import ReslabError

__all__ = ["Sample"]

_ROUNDING = 0.005  # points by which a recorded error rate may be rounded


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """What was measured of one arm.

    Args:
        values: one a seed.
        num_images: number of distinct images over which an error rate in % was counted; None where the values are no
            error rates. An image that is seen ten times, cut and mirrored in ten ways, is one image: its ten views are
            right or wrong together more often than ten images are, and counting them as ten would make the rate look
            more certain than it is. So the running training error of augmented batches has the number of images of the
            training set, or of those that were seen where they are fewer.
        wrong: (seeds, num_images), which of the images were wrong, where that was kept; of all arms of a claim on the
            same images in the same order.
        exact: whether the value is computed and not measured, such as a number of parameters. It has no uncertainty.

    Raises:
        ReslabError: the fields contradict each other.
    """

    values: tuple[float, ...]
    num_images: int | None = None
    wrong: NDArray[np.bool_] | None = None
    exact: bool = False

    def __post_init__(self) -> None:
        try:
            if isinstance(self.values, str | bytes):
                raise TypeError
            object.__setattr__(self, "values", tuple(map(float, self.values)))
        except (TypeError, ValueError):
            raise ReslabError(f"a sample's values must be numbers, one a seed, not {self.values!r}.") from None
        if not self.values:
            raise ReslabError("a sample needs a value: give one for each seed.")
        if self.exact and len(self.values) > 1:
            raise ReslabError(f"a computed value has no seeds: give one value, not {len(self.values)}.")
        if self.num_images is not None:
            self._check_rates(self.num_images)
        if self.wrong is not None:
            self._check_wrong(self.wrong)

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return sum(self.values) / len(self.values)

    @property
    def num_seeds(self) -> int:
        """How many there are."""
        return len(self.values)

    @property
    def variance(self) -> float:
        """Of a value from seed to seed, unbiased; nan with one seed."""
        if len(self.values) == 1:
            return float("nan")
        # Of equal values, whose mean may be rounded, numpy's is not quite 0.
        return float(np.var(self.values, ddof=1)) if len(set(self.values)) > 1 else 0.0

    @property
    def is_finite(self) -> bool:
        """Whether all values are finite numbers."""
        return all(map(isfinite, self.values))

    def _check_rates(self, num_images: Any) -> None:
        if isinstance(num_images, bool) or not isinstance(num_images, int | np.integer) or num_images < 1:
            raise ReslabError(f"num_images must be a whole number of at least 1, or None, not {num_images!r}.")
        outside = [value for value in self.values if isfinite(value) and not 0 <= value <= 100]
        if outside:
            raise ReslabError(
                f"an error rate lies from 0 to 100 %, and {outside[0]:g} does not; leave num_images out of a sample "
                "whose values are no error rates."
            )

    def _check_wrong(self, wrong: Any) -> None:
        if self.num_images is None:
            raise ReslabError("a sample that says which images were wrong must give num_images, too.")
        wrong = np.asarray(wrong)
        expected = (len(self.values), self.num_images)
        if wrong.shape != expected or wrong.dtype != np.bool_:
            raise ReslabError(
                f"wrong must be booleans of shape (seeds, num_images), here {expected}, not {wrong.dtype} of "
                f"shape {wrong.shape}."
            )
        object.__setattr__(self, "wrong", wrong)
        for value, rate in zip(self.values, 100 * wrong.mean(axis=1), strict=True):
            if isfinite(value) and abs(value - rate) > _ROUNDING:
                raise ReslabError(
                    f"a sample's value is {value:g} %, but {rate:g} % of its images are marked as wrong: they are of "
                    "different tests."
                )
