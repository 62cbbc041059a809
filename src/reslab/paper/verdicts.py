"""Whether a claim of the paper held in the runs that were made. Importing this module imports no torch."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import Any, Literal

from reslab.paper.experiments import Claim

__all__ = ["Verdict", "judge", "standard_error"]


@dataclass(frozen=True)
class Verdict:
    """A claim, and what the runs say of it.

    Args:
        claim: the claim's text.
        source: where the paper makes it.
        outcome: `held`, `not held`, or `undecided` where the difference is within twice its standard error of the
            claim's margin.
        difference: of the two networks' mean errors, in points.
        standard_error: of that difference, in points.
        explanation: the figures in words.
    """

    claim: str
    source: str
    outcome: Literal["held", "not held", "undecided"]
    difference: float
    standard_error: float
    explanation: str

    def to_dict(self) -> dict[str, Any]:
        """As it stands in results.json."""
        return asdict(self)


def standard_error(errors: Sequence[float], num_images: int) -> float:
    """Standard error of a mean error rate: the seeds' spread or the sampling of images, whichever is larger.

    Args:
        errors: of each seed, in %.
        num_images: over which each was measured.
    """
    share = mean(errors) / 100
    # Agresti and Coull's two extra successes and failures: no error in n images is not a certain 0 %.
    share = (share * num_images + 2) / (num_images + 4)
    sampling: float = 100 * (share * (1 - share) / (num_images + 4)) ** 0.5
    spread = stdev(errors) / len(errors) ** 0.5 if len(errors) > 1 else 0.0
    return max(sampling, spread)


def judge(claim: Claim, rows: Sequence[dict[str, Any]]) -> Verdict:
    """Compares two networks' errors.

    Args:
        claim: about them.
        rows: of results.json, with `train_error`, `test_error` and the number of images each was measured on.
    """
    count = {"train_error": "num_last_images", "test_error": "num_test_images"}[claim.measure]
    means, errors = {}, {}
    for name in (claim.higher, claim.lower):
        own = [row for row in rows if row["network"] == name]
        values = [row[claim.measure] for row in own]
        means[name], errors[name] = mean(values), standard_error(values, own[0][count])
    difference = means[claim.higher] - means[claim.lower]
    error = (errors[claim.higher] ** 2 + errors[claim.lower] ** 2) ** 0.5
    excess = difference - claim.margin
    outcome: Literal["held", "not held", "undecided"] = "undecided"
    if abs(excess) > 2 * error:
        outcome = "held" if excess > 0 else "not held"
    kind = claim.measure.replace("_", " ")
    explanation = (
        f"{claim.higher} {means[claim.higher]:.2f} %, {claim.lower} {means[claim.lower]:.2f} % {kind}: "
        f"difference {difference:+.2f} points, standard error {error:.2f}"
    )
    return Verdict(claim.text, claim.source, outcome, difference, error, explanation)
