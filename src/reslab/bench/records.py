"""What comes of turns: medians and ratios, and the record that a file holds. Importing this module imports no torch.

Every record has the same outer form:

    benchmark       training, profile, inference, pipeline, memory or rates
    schema_version  of this form
    settings        what was asked for
    rows            one for each network, or batch size; its `contenders` are in the order of their turns
    environment     versions, processor, cores and commit

and every contender its `name`, the median of its rate under the unit's name (`images_per_second`), the rate in all its
`turns`, `first_step_seconds` and `details`; or `name` and `absent`, which says why it could not run.
"""

from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median
from typing import Any

from reslab.bench.turns import BenchmarkError, Outcome
from reslab.environment import describe_environment
from reslab.files.records import read_record

__all__ = ["SCHEMA_VERSION", "best", "describe", "find", "make_record", "ratios", "read_benchmark", "share"]

SCHEMA_VERSION = 2
_PEERS = ("timm", "onnxruntime", "openvino", "nncf")


def describe(outcome: Outcome, unit: str = "images_per_second", scale: float = 1.0) -> dict[str, Any]:
    """An outcome as plain values.

    Args:
        outcome: of a contender.
        unit: the name of its rate.
        scale: what rates are multiplied by, e.g. 1e-9 for GFLOP/s.
    """
    if outcome.absent:
        return {"name": outcome.name, "absent": outcome.absent}
    return {
        "name": outcome.name,
        unit: rounded(scale * outcome.rate),
        "turns": [rounded(scale * rate) for rate in outcome.rates],
        "first_step_seconds": round(outcome.first_step_seconds, 2),
        "details": outcome.details,
    }


def find(outcomes: Sequence[Outcome], name: str) -> Outcome:
    """The outcome of a contender that must have run.

    Raises:
        BenchmarkError: it could not; the message says why.
    """
    outcome = next(outcome for outcome in outcomes if outcome.name == name)
    if outcome.absent:
        raise BenchmarkError(f"{name} cannot run: {outcome.absent}.")
    return outcome


def best(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The one with the highest median of those that ran."""
    return max((outcome for outcome in outcomes if outcome.rates), key=lambda outcome: outcome.rate, default=None)


def ratios(ours: Outcome, other: Outcome) -> dict[str, Any]:
    """How many times as fast as another one: the median of the turns' ratios, the lowest, the highest, and all."""
    turns = [rounded(a / b) for a, b in zip(ours.rates, other.rates, strict=True)]
    return {"median": rounded(median(turns)), "lowest": min(turns), "highest": max(turns), "turns": turns}


def share(outcome: Outcome, operations: float, reference: Outcome) -> float:
    """The part of a reference rate that a contender uses: the median over the turns.

    Args:
        outcome: of the contender.
        operations: of one unit of its work.
        reference: operations a second, in the same turns.
    """
    return rounded(median(rate * operations / most for rate, most in zip(outcome.rates, reference.rates, strict=True)))


def make_record(benchmark: str, settings: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """A record, complete with the environment and the versions of the peers' libraries."""
    environment = describe_environment()
    environment["packages"] |= {name: found for name in _PEERS if (found := _version(name))}
    return {
        "benchmark": benchmark,
        "schema_version": SCHEMA_VERSION,
        "settings": settings,
        "rows": rows,
        "environment": environment,
    }


def read_benchmark(path: Path) -> dict[str, Any]:
    """A record from its file.

    Raises:
        BenchmarkError: there is none, or it is damaged or of another version.
    """
    missing = f"there is no record {path}."
    return read_record(path, schema_version=SCHEMA_VERSION, error=BenchmarkError, if_missing=missing)


def rounded(number: float) -> float:
    """To four significant digits, which is more than any timing holds."""
    return float(f"{number:.4g}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
