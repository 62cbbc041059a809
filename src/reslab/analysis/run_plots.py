"""Curves of several runs in one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.figure import Figure

from reslab.analysis.plots import save_figure, svg_text
from reslab.errors import ReslabError
from reslab.files.atomic import write_text
from reslab.texts import show_name

__all__ = ["plot_runs"]

_MOST = 20  # whose colours can be told apart
_KINDS = (("val_error", "val error"), ("test_error", "test error"))


def plot_runs(curves: Sequence[tuple[str, Sequence[dict[str, Any]]]], path: Path) -> None:
    """Training errors beside val errors, or test errors where runs recorded these alone; a colour a run.

    Args:
        curves: a name and the rows of metrics.jsonl for each run.
        path: of the picture, .svg or .png.

    Raises:
        ReslabError: another suffix, no rows at all, or more runs than colours.
    """
    if path.suffix not in (".svg", ".png"):
        raise ReslabError(f"a picture's name ends in .svg or .png, and {show_name(path)} does not.")
    if len(curves) > _MOST:
        raise ReslabError(f"{len(curves)} runs are too many for one picture; name up to {_MOST}, or filter them.")
    if not any(rows for _, rows in curves):
        raise ReslabError("none of the runs has a row yet, and so there is no curve to draw.")
    figure = Figure(figsize=(11, 4.2), layout="constrained")
    kinds = [kind for kind in _KINDS if any(kind[0] in row for _, rows in curves for row in rows)]
    shown = [("train_error", "training error"), *kinds[:1]]
    panels = figure.subplots(1, len(shown), squeeze=False)[0]
    colors = colormaps["tab10" if len(curves) <= 10 else "tab20"].colors  # type: ignore[attr-defined]
    for axes, (key, title) in zip(panels, shown, strict=True):
        for (name, rows), color in zip(curves, colors, strict=False):
            points = [(row["iteration"], row[key]) for row in rows if row.get(key) is not None]
            style = {"color": color, "linewidth": 1 if key == "train_error" else 1.8}
            axes.plot([at for at, _ in points], [error for _, error in points], label=_label(name), **style)
        axes.set(xlabel="iteration", ylabel="error (%)", ylim=(0, None), title=title)
        axes.grid(alpha=0.3)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(curves)), fontsize=8, frameon=False)
    if path.suffix == ".svg":
        write_text(path, svg_text(figure))
    else:
        save_figure(figure, path, labels)


def _label(name: str) -> str:
    """Legends leave out what begins with an underscore, and read formulas between dollar signs."""
    shown = show_name(name).replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown
