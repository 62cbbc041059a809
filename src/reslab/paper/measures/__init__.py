"""What can be measured of a network or of a training, by name. Importing this module imports no torch.

A measure is a function of a `MeasuredNetwork` and its options that gives a `Measured`: single values, which claims and
tables are about, and series, which figures show.
"""

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from reslab.errors import ReslabError

__all__ = ["MEASURES", "PROTOCOL", "MeasureKind", "Measured", "find_measure"]

PROTOCOL = "protocol"
"""The measure that tests a network by many views of each image."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a measure found.

    Args:
        values: numbers by name.
        counts: the number of images of each value that is an error rate in %.
        series: whatever else is kept, as plain values by name.
    """

    values: Mapping[str, float] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    series: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As plain values; a number that is not finite is None, since JSON has none."""
        return {"values": _finite(self.values), "counts": dict(self.counts), "series": _finite(self.series)}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@dataclass(frozen=True, kw_only=True)
class MeasureKind:
    """A measure.

    Args:
        name: of it.
        place: module and function.
        passes: about how many passes over its images it takes, for a network of so many layers and its options; budgets
            count them.
        images: of the test set that it looks at, at most; None for all.
        seconds: that it takes besides.
        version: raised where its meaning changes, so that what it found before is not taken for what it finds now.
    """

    name: str
    place: str
    passes: Callable[[int, Mapping[str, Any]], float] = lambda depth, options: 0.0
    images: int | None = None
    seconds: float = 0.0
    version: int = 1

    @property
    def function(self) -> Callable[..., Measured]:
        """What takes the measure, of a `MeasuredNetwork` and options by name."""
        module, _, name = self.place.partition(":")
        found: Callable[..., Measured] = getattr(importlib.import_module(f"reslab.paper.measures.{module}"), name)
        return found


# Ten crops; and whole images, mirrored too, at five sizes of the shorter side, 1 to 2.9 times that of a crop.
_PROTOCOL_PASSES = {"crops": 10.0, "dense": 36.0}
_KINDS = (
    MeasureKind(name="errors", place="errors:final_errors"),
    MeasureKind(name="predictions", place="errors:predictions", passes=lambda depth, options: 1.0),
    MeasureKind(
        name=PROTOCOL,
        place="errors:protocol_error",
        passes=lambda depth, options: _PROTOCOL_PASSES[options["protocol"]],
    ),
    MeasureKind(name="convergence", place="errors:convergence"),
    MeasureKind(name="complexity", place="complexity:complexity"),
    MeasureKind(name="layer-costs", place="complexity:layer_costs"),
    MeasureKind(name="arithmetic", place="complexity:arithmetic"),
    MeasureKind(name="training-cost", place="complexity:training_cost"),
    MeasureKind(name="responses", place="signals:responses", passes=lambda depth, options: 1.0, images=2_000),
    MeasureKind(name="signals", place="signals:signals", seconds=3.0, version=2),
    MeasureKind(name="growth", place="signals:growth", seconds=3.0),
    MeasureKind(name="branches", place="blocks:branches", passes=lambda depth, options: depth / 2, images=1_000),
    MeasureKind(name="lesions", place="blocks:lesions", passes=lambda depth, options: depth / 2, images=1_000),
    MeasureKind(name="construction", place="construction:construction", version=2, passes=lambda depth, options: 4.0),
    MeasureKind(name="quotes", place="quotes:quotes"),
    MeasureKind(name="identity", place="toys:identity", seconds=5.0),
    MeasureKind(name="shattering", place="toys:shattering", seconds=5.0),
)
MEASURES = {kind.name: kind for kind in _KINDS}


def find_measure(name: str) -> MeasureKind:
    """A measure by name.

    Raises:
        ReslabError: there is none, as in a plan of a later version.
    """
    if name not in MEASURES:
        raise ReslabError(f"there is no measure {name!r}; there are {', '.join(MEASURES)}.")
    return MEASURES[name]
