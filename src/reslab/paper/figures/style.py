"""Colours, labels and bands that all figures share."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

__all__ = ["COLORS", "band", "color_of", "new_figure"]

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


def band(
    axes: Axes,
    x: Sequence[float],
    curves: Sequence[Sequence[float]],
    *,
    color: str,
    style: str = "-",
    width: float = 1.8,
    label: str | None = None,
) -> None:
    """The mean of several seeds' curves, in a band from the lowest to the highest."""
    values: NDArray[np.float64] = np.array(curves, dtype=np.float64)
    axes.plot(x, values.mean(axis=0), style, color=color, linewidth=width, label=label)
    if len(values) > 1:
        axes.fill_between(x, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, linewidth=0)
