"""What many lab notes have in common: measures, columns, arms. Importing this module imports no torch."""

from collections.abc import Iterable

from reslab.paper.catalogue import Arm, Column, Measure

__all__ = [
    "ERRORS",
    "ERROR_COLUMNS",
    "PREDICTIONS",
    "TRAINED",
    "arms",
]

ERRORS = Measure(name="errors")
PREDICTIONS = Measure(name="predictions")
TRAINED = (ERRORS, PREDICTIONS)
"""What is measured of every training: its errors, and which test images it is wrong about."""

ERROR_COLUMNS = (
    Column(value="test_error", heading="test error %"),
    Column(value="train_error", heading="training error %"),
    Column(value="train_error_clean", heading="the same, eval mode %"),
)


def arms(*nets: str) -> tuple[Arm, ...]:
    """Arms that are networks alone."""
    return tuple(Arm(net=net) for net in nets)


def of_depths(family: str, depths: Iterable[int]) -> tuple[Arm, ...]:
    """Arms of a family, by depth: plain20, plain56."""
    return arms(*(f"{family}{depth}" for depth in depths))
