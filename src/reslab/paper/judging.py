"""Whether a claim of the paper held in what was measured. Importing this module imports no torch.

A claim is held if the whole confidence interval agrees with it, not held if the whole interval contradicts it, and
undecided otherwise. reslab.paper.intervals says what the intervals are made of. Where each arm has one seed only, a
verdict is about these very networks rather than their architectures, and its basis says "1 seed".

Where several claims are judged together, each is given a share of the risk of a wrong word (Bonferroni): with
`num_claims` of them, the probability that any verdict but "undecided" is wrong is at most 1 - confidence.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

from reslab.errors import ReslabError
from reslab.paper.claims import Bound, Claim, Equal, Less, Ratio, Trend
from reslab.paper.intervals import (
    CannotTellError,
    Interval,
    difference_interval,
    mean_interval,
    paired_interval,
    ratio_interval,
)
from reslab.paper.samples import Sample

__all__ = ["Outcome", "Sample", "Verdict", "judge", "paired_interval"]

Outcome = Literal["held", "not held", "undecided"]
_LEAST_ALPHA = 1e-12
_FEW_SEEDS = 3  # up to which the images alone get an interval of their own beside the one that decides


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim, and what was measured of it.

    Args:
        claim: the claim's text.
        source: where the paper makes it.
        outcome: `held`, `not held`, or `undecided`.
        estimate: of what decides: the difference (of `Less` the higher arm's value less the lower's, of `Equal` the
            first's less the second's, of `Trend` that of the step which decides, in the claim's direction), the ratio,
            or the arm's value; None where there is none. In the value's unit, of error rates points.
        low: end of the interval that decides; None where it has none.
        high: the other end.
        level: of that interval, after Bonferroni. An equality's is twice as far from 1 as the others', so that either
            end alone errs as rarely as confidence and claims ask for (two one-sided tests).
        basis: what the interval is made of, in words.
        explanation: the figures, in one sentence.
        image_low: end of an interval of the difference of these very networks, at the confidence asked for and without
            Bonferroni, by a bootstrap over the images (`paired_interval`). It decides nothing, and shows how much of
            the uncertainty is the images'. None unless both arms say which images were wrong, and one of them has
            three seeds or fewer.
        image_high: the other end.
    """

    claim: str
    source: str
    outcome: Outcome
    estimate: float | None
    low: float | None
    high: float | None
    level: float
    basis: str
    explanation: str
    image_low: float | None = None
    image_high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return asdict(self)


def judge(claim: Claim, samples: Mapping[str, Sample], *, num_claims: int = 1, confidence: float = 0.95) -> Verdict:
    """Holds a claim against what was measured.

    - `Less`: the two-sided interval of the difference lies above the margin, or below it.
    - `Equal`: the interval at 1 - 2 alpha lies within the margin (two one-sided tests, TOST), or outside.
    - `Trend`: held if every step from an arm to the next is in its direction at the full alpha, since all of them must
      be (an intersection-union test). Not held if one is in the other direction; as there are several that could be so
      by chance, each gets its share of alpha.
    - `Ratio`: Fieller's interval lies within the limits, or outside.
    - `Bound`: the value's interval lies within the limits, or outside.

    Args:
        claim: about some arms.
        samples: by the names of the arms, all of the value that the claim is about; others may be there, too.
        num_claims: that are judged together.
        confidence: that none of them is judged wrongly.

    Raises:
        ReslabError: an arm is missing, two arms that are compared image by image were tested on different images, or
            num_claims or confidence is out of range.
    """
    _check_question(claim, samples, num_claims, confidence)
    own = {arm: samples[arm] for arm in claim.arms}
    alpha = (1 - confidence) / num_claims
    broken = [arm for arm, sample in own.items() if not sample.is_finite]
    try:
        if broken:
            raise CannotTellError(f"{' and '.join(broken)} has a value that is not a finite number")
        outcome, interval, said = _decide(claim, own, alpha)
    except CannotTellError as reason:
        return Verdict(
            claim=claim.text,
            source=claim.source,
            outcome="undecided",
            estimate=None,
            low=None,
            high=None,
            level=1 - alpha,
            basis=str(reason),
            explanation=f"{_figures(claim, own)}: {reason}",
        )
    low, high = _images_alone(claim, own, confidence)
    return Verdict(
        claim=claim.text,
        source=claim.source,
        outcome=outcome,
        estimate=interval.estimate,
        low=interval.low,
        high=interval.high,
        level=interval.level,
        basis=interval.basis,
        explanation=f"{_figures(claim, own)}: {said}",
        image_low=low,
        image_high=high,
    )


def _check_question(claim: Claim, samples: Mapping[str, Sample], num_claims: int, confidence: float) -> None:
    if isinstance(num_claims, bool) or not isinstance(num_claims, int) or num_claims < 1:
        raise ReslabError(f"num_claims must be a whole number of at least 1, not {num_claims!r}.")
    if not 0.5 <= confidence < 1:
        raise ReslabError(f"confidence must be at least 0.5 and below 1, not {confidence!r}.")
    if (1 - confidence) / num_claims < _LEAST_ALPHA:
        raise ReslabError(f"{confidence} for all of {num_claims:,} claims is more certainty than can be computed.")
    missing = [arm for arm in claim.arms if arm not in samples]
    if missing:
        raise ReslabError(
            f"the claim {claim.text!r} needs a sample of {' and of '.join(missing)}; there are samples of "
            f"{', '.join(samples) or 'no arm'}."
        )


def _decide(claim: Claim, samples: Mapping[str, Sample], alpha: float) -> tuple[Outcome, Interval, str]:
    """Outcome, the interval that decides, and the interval in words."""
    rates = all(sample.num_images is not None or sample.exact for sample in samples.values())
    unit = " points" if rates and any(sample.num_images is not None for sample in samples.values()) else ""
    match claim:
        case Less(lower=lower, higher=higher, margin=margin):
            found = difference_interval(samples[higher], samples[lower], 1 - alpha)
            return _above(found, margin), found, f"difference {_spoken(found, unit, signed=True)}"
        case Equal(first=first, second=second, margin=margin):
            found = difference_interval(samples[first], samples[second], 1 - 2 * alpha)
            return _around(found, margin), found, f"difference {_spoken(found, unit, signed=True)}"
        case Trend():
            return _judge_trend(claim, samples, alpha, unit)
        case Ratio(over=over, under=under):
            found = ratio_interval(samples[over], samples[under], 1 - alpha)
            return _within(found, claim.least, claim.most), found, f"ratio {_spoken(found, '')}"
        case Bound(arm=arm):
            found = mean_interval(samples[arm], 1 - alpha)
            unit = " %" if samples[arm].num_images is not None else ""
            return _within(found, claim.least, claim.most), found, _spoken(found, unit)
    raise ReslabError(f"there is no judging claims of the kind {type(claim).__name__}.")


def _judge_trend(claim: Trend, samples: Mapping[str, Sample], alpha: float, unit: str) -> tuple[Outcome, Interval, str]:
    """The step that decides is the least certain one if all hold, and the most certainly reversed one otherwise."""
    steps = []
    for pair in pairwise(claim.arms):
        before, after = pair if claim.rising else reversed(pair)
        steps.append((pair, samples[after], samples[before]))

    def intervals(level: float) -> list[tuple[Interval, tuple[str, str]]]:
        return [(difference_interval(after, before, level), pair) for pair, after, before in steps]

    weakest, pair = min(intervals(1 - alpha), key=lambda step: step[0].low)
    reversed_most, reversed_pair = min(intervals(1 - alpha / len(steps)), key=lambda step: step[0].high)
    outcome: Outcome = "held" if weakest.low > 0 else "undecided"
    if _above(reversed_most, 0) == "not held":
        outcome, weakest, pair = "not held", reversed_most, reversed_pair
    which = "which goes against it" if outcome == "not held" else "the least certain step"
    direction = "up" if claim.rising else "down"
    said = f"{pair[0]} to {pair[1]}, {which}, is {direction} by {_spoken(weakest, unit, signed=True)}"
    return outcome, weakest, said


def _above(interval: Interval, margin: float) -> Outcome:
    if interval.low > margin:
        return "held"
    return "not held" if interval.high < margin or interval.is_exact else "undecided"


def _around(interval: Interval, margin: float) -> Outcome:
    if (-margin < interval.low and interval.high < margin) or interval.low == interval.high == 0:
        return "held"
    return "not held" if interval.low > margin or interval.high < -margin or interval.is_exact else "undecided"


def _within(interval: Interval, least: float | None, most: float | None) -> Outcome:
    above, below = least is None or interval.low >= least, most is None or interval.high <= most
    if above and below:
        return "held"
    outside = (least is not None and interval.high < least) or (most is not None and interval.low > most)
    return "not held" if outside else "undecided"


def _images_alone(claim: Claim, samples: Mapping[str, Sample], level: float) -> tuple[float | None, float | None]:
    """The interval by the images of these networks, of a difference where it is worth having."""
    few = min(sample.num_seeds for sample in samples.values()) <= _FEW_SEEDS
    if not isinstance(claim, Less | Equal) or not few or any(sample.wrong is None for sample in samples.values()):
        return None, None
    first, second = reversed(claim.arms) if isinstance(claim, Less) else claim.arms
    found = paired_interval(samples[first], samples[second], level=level)
    return found.low, found.high


def _figures(claim: Claim, samples: Mapping[str, Sample]) -> str:
    """Each arm's mean and spread: `test_error: plain20 9.12 ± 0.20 %, resnet20 8.64 %`."""
    spoken = []
    for arm, sample in samples.items():
        form, unit = (".4g", "") if sample.num_images is None else (".2f", " %")
        spread = f" ± {sample.variance**0.5:{form}}" if sample.num_seeds > 1 and sample.is_finite else ""
        spoken.append(f"{arm} {sample.mean:{form}}{spread}{unit}")
    return f"{claim.value.replace('_', ' ')} of {', '.join(spoken)}"


def _spoken(interval: Interval, unit: str, *, signed: bool = False) -> str:
    form = f"{'+' if signed else ''}{'.2f' if unit else '.4g'}"
    if interval.is_exact:
        return f"{interval.estimate:{form}}{unit}, computed"
    ends = f"{interval.low:{form}} to {interval.high:{form}}"
    return f"{interval.estimate:{form}}{unit}, from {ends} at {100 * interval.level:.4g} %"
