"""Colours, labels and bands that all figures share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["COLORS", "band", "color_of", "legend", "new_figure", "numbers"]

# Distinguishable with colour-blind eyes, and in grey by their lightness (Okabe and Ito, 2008, without its yellow).
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#7f7f7f", "#8c564b", "#17becf")
_DEPTHS = {20: "#e0a800", 32: "#2ca02c", 44: "#17a2b8", 56: "#c0392b", 110: "#000000", 1202: "#7b3fa0"}  # as in Fig. 6
_DEPTHS |= {18: "#17a2b8", 34: "#c0392b", 50: "#2ca02c", 101: "#e0a800", 152: "#000000"}


def new_figure(width: float = 10.0, height: float = 4.6) -> Figure:
    """An empty figure, in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def color_of(index: int, depth: int | None = None) -> str:
    """The colour of an arm: of its depth where that tells arms apart, or by its place."""
    if depth is not None and depth in _DEPTHS:
        return _DEPTHS[depth]
    return COLORS[index % len(COLORS)]


def numbers(values: Any) -> NDArray[np.float64]:
    """Numbers of a record, in lists of any depth; nan where one was not finite, which JSON cannot say."""
    return np.array(values, dtype=np.float64)


def legend(axes: Axes, **options: Any) -> None:
    """A legend, where something was drawn."""
    if axes.get_legend_handles_labels()[1]:
        axes.legend(**options)


def band(
    axes: Axes,
    x: Sequence[float],
    curves: Sequence[Sequence[float | None]] | NDArray[np.float64],
    *,
    color: str,
    style: str = "-",
    width: float = 1.8,
    label: str | None = None,
) -> None:
    """The mean of several seeds' curves, in a band from the lowest to the highest."""
    values = numbers(curves)
    axes.plot(x, values.mean(axis=0), style, color=color, linewidth=width, label=label)
    if len(values) > 1 and np.isfinite(values).any():  # a band of nothing has no place on a logarithmic axis
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)
