"""What all tables of records are made of. Importing this module imports no torch."""

from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

__all__ = ["ResultTable", "mean_and_spread", "medians", "spread"]


@dataclass(frozen=True)
class ResultTable:
    """A record's figures.

    Args:
        headings: of the columns.
        rows: one text for each column.
        note: what one must know to read them, one line.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


def medians(turns: int) -> str:
    return f"Medians of {turns} turns" if turns > 1 else "One turn"


def spread(ratio: dict[str, Any]) -> str:
    """`1.58 (1.55 to 1.66)`."""
    return f"{ratio['median']:.2f} ({ratio['lowest']:.2f} to {ratio['highest']:.2f})"


def mean_and_spread(numbers: list[float]) -> str:
    return f"{mean(numbers):.2f}" + (f" ± {stdev(numbers):.2f}" if len(numbers) > 1 else "")
