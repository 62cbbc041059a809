"""Pictures: curves of a run, confusion matrices. Drawn without a display."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from reslab.files.atomic import atomic_path

__all__ = ["plot_confusion", "plot_curves", "save_figure"]

_NAMES_UP_TO = 30  # classes whose names still fit along an axis
_COUNTS_UP_TO = 15  # classes whose counts still fit into the cells


def save_figure(figure: Figure, path: Path) -> None:
    """Writes a figure as PNG, atomically."""
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})


def plot_curves(rows: Sequence[dict[str, Any]], title: str, path: Path) -> None:
    """Training error (dashed), validation and test error (bold), loss and rate against iterations.

    Args:
        rows: of metrics.jsonl.
        title: of the picture.
        path: of the PNG.
    """
    figure = Figure(figsize=(10, 4), layout="constrained")
    errors, losses = figure.subplots(1, 2)
    iterations = [row["iteration"] for row in rows]
    errors.plot(iterations, [row["train_error"] for row in rows], "--", color="C0", linewidth=1, label="train")
    for name, color in (("val", "C1"), ("test", "C2")):
        points = [(row["iteration"], row[f"{name}_error"]) for row in rows if f"{name}_error" in row]
        if points:
            errors.plot(*zip(*points, strict=True), "-", color=color, linewidth=2, label=name)
    errors.set(xlabel="iteration", ylabel="error (%)", ylim=(0, None), title="Error")
    losses.plot(iterations, [row["loss"] for row in rows], "--", color="C0", linewidth=1, label="train")
    losses.set(xlabel="iteration", ylabel="cross-entropy (nats)", title="Loss and learning rate")
    rates = losses.twinx()
    rates.step(iterations, [row["learning_rate"] for row in rows], where="pre", color="0.6", linewidth=1)
    rates.set_yscale("log")
    rates.set_ylabel("learning rate", color="0.4")
    for axes in (errors, losses):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    save_figure(figure, path)


def plot_confusion(confusion: NDArray[np.int64], classes: Sequence[str], title: str, path: Path) -> None:
    """A confusion matrix: rows are true classes, columns predicted ones, shades the share of the row.

    Args:
        confusion: (num_classes, num_classes) counts.
        classes: names.
        title: of the picture.
        path: of the PNG.
    """
    num_classes = len(classes)
    side = min(12.0, 3.0 + 0.45 * num_classes)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, shrink=0.75, label="share of the true class")
    axes.set(xlabel="predicted class", ylabel="true class", title=title)
    if num_classes <= _NAMES_UP_TO:
        axes.set_xticks(range(num_classes), classes, rotation=45, ha="right")
        axes.set_yticks(range(num_classes), classes)
    if num_classes <= _COUNTS_UP_TO:
        for row, column in np.argwhere(confusion > 0):
            color = "white" if shares[row, column] > 0.5 else "black"
            count = str(confusion[row, column])
            axes.text(column, row, count, ha="center", va="center", color=color, fontsize=8)
    save_figure(figure, path)
