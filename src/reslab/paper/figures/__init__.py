"""The experiments' figures, drawn from their records by name."""

import textwrap
from collections.abc import Callable, Iterator

from matplotlib.figure import Figure

from reslab.analysis.plots import svg_text
from reslab.paper.figures import curves, layers, points
from reslab.paper.record import Record

__all__ = ["FIGURES", "draw_figures"]

FIGURES: dict[str, Callable[[Record], Figure | None]] = {
    "errors": curves.errors,
    "depths": points.depths,
    "bars": points.bars,
    "architectures": layers.architectures,
    "responses": layers.responses,
    "signals": layers.signals,
    "growth": layers.growth,
    "branches": layers.branches,
    "layer-costs": layers.layer_costs,
    "lesions": curves.lesions,
    "toy-losses": curves.toy_losses,
    "autocorrelations": curves.autocorrelations,
}
"""A drawing returns None where the record has nothing for it."""
_OWN_TITLES = ("architectures",)
_LETTERS = 11.0  # of a title that fit into an inch


def draw_figures(record: Record) -> Iterator[tuple[str, str]]:
    """Name and SVG of each of a record's figures."""
    for name in record.experiment.figures:
        figure = FIGURES[name](record)
        if figure is not None:
            if name not in _OWN_TITLES:
                letters = int(figure.get_figwidth() * _LETTERS)
                title = "\n".join(textwrap.fill(line, letters) for line in record.heading.splitlines())
                figure.suptitle(title, fontsize=11, parse_math=False)  # names of data may have dollar signs
            yield name, svg_text(figure)
