"""Confidence intervals of an arm's value, and of two arms' difference and ratio.

Importing this module imports no torch.

**Seeds and images.** An error rate would come out otherwise with other seeds, and with other test images. Both are in
the variance of a mean over seeds,

    sum over arms of s^2 / n  +  variance through the images,

since neither holds the other: all seeds, and all arms, are tested on the same images. However many seeds there are, the
error of plain-20 on these 10,000 images is known ever better, and its error on images like these no better than 10,000
images allow. So n seeds with 10,000 images are not n times 10,000 images, and the spread among seeds, which share the
images, says nothing of what other images would have given.

- The seeds' part: s^2 is an arm's variance from seed to seed, each arm with its own, as in Welch's test. Where one arm
  has one seed and the other has several, it is given the other's.
- The images' part, where it is kept which images were wrong: the variance of the per-image difference of mean
  wrongness, divided by the number of images. Images that are hard for both arms then count for neither. Otherwise the
  binomial variance of each arm, as if each had images of its own, which is more than it needs to be. Either way with
  one made-up image for each outcome (both right, either wrong, both wrong), which gives an arm Agresti and Coull's two
  errors in four images: no error in 10,000 images is not a certain 0 %.
- What chance there is in one seed's answer to one image is in both parts. The sum is therefore a little too large, and
  intervals err on the wide side: by 5 to 25 % in simulations of 2 to 5 seeds.

The quotient of a difference and the root of that sum is taken to follow Student's t with Satterthwaite's number of
degrees of freedom, to which the images' part contributes none of its own: there are thousands of images.

**One seed** gives no idea of the spread among seeds. What is left then is whether these very networks differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, hypot, inf, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from reslab.errors import ReslabError
from reslab.paper.samples import Sample

__all__ = ["CannotTellError", "Interval", "difference_interval", "mean_interval", "paired_interval", "ratio_interval"]

Floats = NDArray[np.float64]
_COMPUTED = "computed"


class CannotTellError(Exception):
    """Raised where samples give no interval; says why in a few words."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its confidence interval.

    Args:
        estimate: of a value, a difference or a ratio.
        low: end of the interval; the estimate itself where that is computed.
        high: the other end.
        level: probability with which such an interval holds the true value.
        basis: what the interval is made of, in words.
    """

    estimate: float
    low: float
    high: float
    level: float
    basis: str

    @property
    def is_exact(self) -> bool:
        """Whether the estimate is computed, and has no uncertainty."""
        return self.basis == _COMPUTED


@dataclass(frozen=True)
class _Spread:
    """The variance of several arms' means, in parts.

    Args:
        seeds: for each independent estimate s^2 of a variance from seed to seed: s^2, its degrees of freedom, and the
            factor, 1 / n or 0, with which it enters each arm's mean.
        images: (arms, arms) covariance through the images.
    """

    seeds: tuple[tuple[float, int, tuple[float, ...]], ...]
    images: Floats

    def of(self, weights: Sequence[float]) -> tuple[float, float]:
        """Variance of a weighted sum of the means, and its degrees of freedom by Satterthwaite."""
        row = np.array(weights)
        parts = [(variance * float(row**2 @ factors), freedom) for variance, freedom, factors in self.seeds]
        total = sum(part for part, _ in parts) + max(0.0, float(row @ self.images @ row))
        below = sum(part**2 / freedom for part, freedom in parts)
        return total, total**2 / below if below else inf

    def half_width(self, weights: Sequence[float], level: float) -> float:
        """From the estimate of a weighted sum to an end of its interval."""
        variance, freedom = self.of(weights)
        if not variance:
            raise CannotTellError("the seeds do not differ at all, which gives no estimate of their spread")
        return _quantile(level, freedom) * sqrt(variance)


def mean_interval(sample: Sample, level: float) -> Interval:
    """Of one arm's value: Student's t over seeds; of one seed's error rate Clopper and Pearson's exact interval.

    Args:
        sample: of the arm.
        level: e.g. 0.95.

    Raises:
        CannotTellError: there is one seed, and the value is no error rate; or the seeds do not differ.
    """
    if sample.exact:
        return _exact(sample.mean, level)
    basis = _basis((sample,))
    if sample.num_seeds == 1 and sample.num_images is not None:
        # A mean of several tests may lie between two counts; each end is then that of the count beyond it.
        wrong = sample.mean / 100 * sample.num_images
        least, most = (
            stats.binomtest(count, sample.num_images).proportion_ci(level, method="exact")
            for count in (floor(wrong + 1e-6), ceil(wrong - 1e-6))
        )
        return Interval(sample.mean, 100 * float(least.low), 100 * float(most.high), level, basis)
    half = _spread((sample,)).half_width((1,), level)
    low, high = sample.mean - half, sample.mean + half
    if sample.num_images is not None:
        low, high = max(0.0, low), min(100.0, high)
    return Interval(sample.mean, low, high, level, basis)


def difference_interval(first: Sample, second: Sample, level: float) -> Interval:
    """Of the first arm's value less the second's.

    Student's t with Welch's and Satterthwaite's degrees of freedom; with one seed each McNemar's test where it is
    known which images were wrong, and the sampling of images alone where it is not.

    Args:
        first: sample of an arm.
        second: of the other one.
        level: e.g. 0.95.

    Raises:
        CannotTellError: a value that is no error rate has one seed, or the seeds do not differ.
        ReslabError: the arms were tested on different images.
    """
    if first.exact and second.exact:
        return _exact(first.mean - second.mean, level)
    pair = (first, second)
    paired = _paired(pair)
    if paired and first.num_seeds == second.num_seeds == 1:
        return _mcnemar(paired[0][0], paired[1][0], level)
    half = _spread(pair).half_width((1, -1), level)
    estimate = first.mean - second.mean
    return Interval(estimate, estimate - half, estimate + half, level, _basis(pair))


def ratio_interval(over: Sample, under: Sample, level: float) -> Interval:
    """Of one arm's value, divided by another's, by Fieller's theorem.

    The interval holds every ratio r for which `over - r under` does not differ from 0. Unlike an interval by the
    logarithm's derivative it needs no approximation where the denominator is uncertain, and it takes values of either
    sign.

    Args:
        over: sample of the numerator.
        under: of the denominator.
        level: e.g. 0.95.

    Raises:
        CannotTellError: the denominator cannot be told from 0, or as for `difference_interval`.
        ReslabError: the arms were tested on different images.
    """
    a, b = over.mean, under.mean
    if not b:
        raise CannotTellError("the value that is divided by is 0")
    if over.exact and under.exact:
        return _exact(a / b, level)
    pair = (over, under)
    spread = _spread(pair)
    spread.half_width((1, -a / b), level)  # says why where there is no spread
    freedom = spread.of((1, -a / b))[1]
    # (a - r b)^2 = t^2 var(over - r under), a quadratic in r.
    square = _quantile(level, freedom) ** 2
    over_variance, under_variance = (spread.of(weights)[0] for weights in ((1, 0), (0, 1)))
    covariance = float(spread.images[0, 1])
    lead = b**2 - square * under_variance
    if lead <= 0:
        raise CannotTellError("the value that is divided by cannot be told from 0")
    middle = (a * b - square * covariance) / lead
    half = sqrt(max(0.0, middle**2 - (a**2 - square * over_variance) / lead))
    return Interval(a / b, middle - half, middle + half, level, _basis(pair))


def paired_interval(
    first: Sample, second: Sample, *, level: float = 0.95, num_resamples: int = 1999, seed: int = 0
) -> Interval:
    """Of the difference of these very networks' mean errors, by a bootstrap over the images.

    It says how far the difference would change with other images, and nothing of other seeds. With few seeds it is
    worth having beside `difference_interval`: it assumes no distribution, and it shows whether the images or the seeds
    leave a claim undecided.

    Args:
        first: sample that says which images were wrong.
        second: another, of the same images.
        level: e.g. 0.95; far in the tails it needs more resamples.
        num_resamples: how often the images are drawn anew.
        seed: of the draws.

    Raises:
        ReslabError: a sample does not say which images were wrong, or they are of different images.
    """
    paired = _paired((first, second))
    if paired is None:
        raise ReslabError("a paired interval needs samples that say which images were wrong: give `wrong` of both.")
    differences = 100 * (paired[0].mean(axis=0) - paired[1].mean(axis=0))
    estimate = float(differences.mean())
    found = stats.bootstrap(
        (differences,),
        np.mean,
        n_resamples=num_resamples,
        batch=max(1, 10**6 // len(differences)),  # 8 MB at a time
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    basis = f"bootstrap over the same {len(differences):,} images"
    return Interval(estimate, float(found.low), float(found.high), level, basis)


def _exact(value: float, level: float) -> Interval:
    return Interval(value, value, value, level, _COMPUTED)


def _quantile(level: float, freedom: float) -> float:
    """Of Student's t, or of the normal distribution for infinitely many degrees of freedom, two-sided."""
    tail = (1 - level) / 2
    return float(stats.norm.isf(tail) if freedom == inf else stats.t.isf(tail, freedom))


def _paired(pair: Sequence[Sample]) -> list[NDArray[np.bool_]] | None:
    """Which images were wrong, (seeds, images) of each arm, where all arms say so."""
    kept = [sample.wrong for sample in pair if sample.wrong is not None and not sample.exact]
    if len(kept) < len(pair):
        return None
    if len({wrong.shape[1] for wrong in kept}) > 1:
        counts = " and ".join(f"{wrong.shape[1]:,}" for wrong in kept)
        raise ReslabError(
            f"arms that are compared image by image must be tested on the same images, not on {counts}; leave "
            "`wrong` out where they are others."
        )
    return kept


def _spread(samples: Sequence[Sample]) -> _Spread:
    single = [sample for sample in samples if sample.num_seeds == 1 and not sample.exact]
    if any(sample.num_images is None for sample in single):
        raise CannotTellError("1 seed, and no estimate of its spread")
    several = [index for index, sample in enumerate(samples) if sample.num_seeds > 1]
    seeds = []
    for index in several:
        sample = samples[index]
        factors = [0.0] * len(samples)
        factors[index] = 1 / sample.num_seeds
        for other, borrower in enumerate(samples):
            if borrower in single:
                factors[other] = 1.0
        seeds.append((sample.variance, sample.num_seeds - 1, tuple(factors)))
    return _Spread(tuple(seeds), _image_covariance(samples))


def _image_covariance(samples: Sequence[Sample]) -> Floats:
    """Of the arms' mean errors, in squared points."""
    paired = _paired(samples)
    if paired is not None:
        means = np.stack([wrong.mean(axis=0) for wrong in paired])  # (arms, images)
        made_up = np.array([[0, 0, 1, 1], [0, 1, 0, 1]][: len(samples)])
        together = np.concatenate([means, made_up], axis=1)
        covariance: Floats = np.atleast_2d(np.cov(together, bias=True)) * 100**2 / together.shape[1]
        return covariance
    variances = []
    for sample in samples:
        if sample.exact or sample.num_images is None:
            variances.append(0.0)
            continue
        count = sample.num_images + 4
        share = (sample.mean / 100 * sample.num_images + 2) / count
        variances.append(100**2 * share * (1 - share) / count)
    return np.diag(variances)


def _mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_], level: float) -> Interval:
    """Two networks on the same images: McNemar's exact test, as an interval of the difference.

    With b and c images wrong for one network only, out of N, the difference is D x, where D = (b + c) / N and
    x = (b - c) / (b + c). x has Clopper and Pearson's interval: it excludes 0 where McNemar's exact test rejects. D
    has its own, and as the two are uncorrelated the distances to an end add as squares (Zou and Donner's MOVER), D's
    at the end of x. So the whole interval excludes 0 where x's does, and it is about as wide as the known one by
    b + c - (b - c)^2 / N elsewhere, where that of x alone is too narrow.
    """
    count = len(first)
    basis = f"1 seed: McNemar's test on the same {count:,} images"
    b, c = int((first & ~second).sum()), int((second & ~first).sum())
    estimate = 100 * (b - c) / count
    discordant = stats.binomtest(b + c, count).proportion_ci(level, method="exact")
    if not b + c:  # whose x may be anything
        return Interval(0.0, -100 * float(discordant.high), 100 * float(discordant.high), level, basis)
    share, asymmetry = (b + c) / count, (b - c) / (b + c)
    found = stats.binomtest(b, b + c).proportion_ci(level, method="exact")

    def distance(end: float, outwards: Callable[[float], bool]) -> float:
        of_share = share - float(discordant.low) if not outwards(end) else float(discordant.high) - share
        return 100 * hypot(share * (end - asymmetry), end * of_share)

    low = estimate - distance(2 * float(found.low) - 1, lambda end: end < 0)
    high = estimate + distance(2 * float(found.high) - 1, lambda end: end > 0)
    return Interval(estimate, low, high, level, basis)


def _basis(samples: Sequence[Sample]) -> str:
    measured = [sample for sample in samples if not sample.exact]
    counts = [sample.num_seeds for sample in measured]
    images = sorted({sample.num_images for sample in measured if sample.num_images is not None})
    number = " and ".join(f"{count:,}" for count in images)
    if max(counts) == 1:
        kept = f"the same {number} images" if _paired(samples) and len(samples) > 1 else "images"
        return f"1 seed: sampling of {kept} alone"
    seeds = f"{' and '.join(map(str, counts))} seeds, Student's t"
    if min(counts) == 1:
        seeds += " with one spread for both"
    if not images:
        return seeds
    return f"{seeds}, on {'the same ' if _paired(samples) else ''}{number} images"
