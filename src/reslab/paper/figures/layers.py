"""Figures by layer: responses, gradients, branches, costs."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from reslab.analysis.architecture import describe
from reslab.analysis.diagram import make_figure
from reslab.analysis.signals import THEORETICAL_GROWTH
from reslab.models import parse_model
from reslab.paper.figures.style import COLORS, band, color_of, legend, new_figure, numbers
from reslab.paper.record import Record

__all__ = ["architectures", "branches", "growth", "layer_costs", "responses", "signals"]


def architectures(record: Record) -> Figure | None:
    """The arms' networks side by side, drawn from the module objects that `create_model` builds (Fig. 2, 3, 5)."""
    nets = [(arm, record.arm(arm)["net"]) for arm in record.arm_names if record.arm(arm)["net"]]
    if not nets:
        return None
    described = []
    for arm, net in nets:
        spec = parse_model(net)
        described.append(describe(spec, (spec.usual_input_size,) * 2, name=arm))
    return make_figure(described)


def responses(record: Record) -> Figure | None:
    """Standard deviations of responses in the manner of Fig. 7: in layer order above, sorted below."""
    if not record.series("responses"):
        return None
    figure = new_figure(10.0, 6.4)
    top, bottom = figure.subplots(2, 1)
    taken: set[tuple[str, str]] = set()
    for index, arm in enumerate(record.arm_names):
        own = record.series("responses", arm)
        name = "response" if own and "response" in own[0] else "estimate"
        if not own or name not in own[0]:
            continue
        plain = record.arm(arm)["net"].startswith("plain")
        style = "--" if plain else "-"
        # Two networks of one depth look different: the first has its depth's colour.
        own_color = color_of(index, record.depth(arm))
        color = next((color for color in (own_color, *COLORS) if (color, style) not in taken), own_color)
        taken.add((color, style))
        values = numbers([item[name] for item in own])
        places = list(range(1, values.shape[1] + 1))
        label = arm if name == "response" else f"{arm}, from batch norm alone"
        band(top, places, values, color=color, style=style, label=label)
        band(bottom, places, -np.sort(-values, axis=1), color=color, style=style, label=label)
    top.set(ylabel="std", xlabel="3x3 layer, in order")
    bottom.set(ylabel="std", xlabel="3x3 layer, sorted by its response")
    for axes in (top, bottom):
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.25)
        legend(axes, fontsize="x-small", ncols=2)
    return figure


def signals(record: Record) -> Figure | None:
    """Responses and gradients by layer: at the start above, and after the training below."""
    if not record.series("signals"):
        return None
    figure = new_figure(11.0, 7.0)
    panels = figure.subplots(2, 2)
    for row, (place, words) in enumerate(((0, "at the start"), (-1, "trained"))):
        for column, (name, what) in enumerate(
            (("response", "response (std)"), ("gradient", "gradient, in stds of the output"))
        ):
            axes = panels[row][column]
            for index, arm in enumerate(record.arm_names):
                own = record.series("signals", arm)
                if not own:
                    continue
                values = numbers([item[name][place] for item in own])
                values[values <= 0] = np.nan  # what has vanished is on no logarithmic axis
                share = np.linspace(0, 1, values.shape[1])
                band(axes, list(share), values, color=color_of(index), label=arm)
            axes.set(yscale="log", title=f"{what}, {words}", xlabel="place of the layer, from input to output")
            axes.grid(alpha=0.25)
    handles, labels = panels[0][0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside lower center", ncols=5, fontsize="small"
    )  # beside the curves, not on them
    return figure


def growth(record: Record) -> Figure | None:
    """Gradients by layer at the start, from the output's end, with the growth that theory gives plain nets."""
    if not record.series("growth"):
        return None
    figure = new_figure()
    axes = figure.subplots()
    longest = 0
    for index, arm in enumerate(record.arm_names):
        own = record.series("growth", arm)
        if not own:
            continue
        norms = numbers([item["gradient"] for item in own])
        norms[norms <= 0] = np.nan
        relative = (norms / norms[:, -1:])[:, ::-1]
        plain = record.arm(arm)["net"].startswith("plain")
        longest = max(longest, relative.shape[1])
        color = color_of(index, record.depth(arm))
        band(axes, list(range(relative.shape[1])), relative, color=color, style="--" if plain else "-", label=arm)
    places = np.arange(longest)
    axes.plot(
        places,
        THEORETICAL_GROWTH**places,
        ":",
        color="0.4",
        label=f"theory for plain nets: {THEORETICAL_GROWTH:.3f} a layer",
    )
    axes.set(yscale="log", xlabel="layers from the output", ylabel="gradient's norm, over the last layer's")
    axes.grid(alpha=0.25)
    legend(axes, fontsize="x-small", ncols=2)
    return figure


def branches(record: Record) -> Figure | None:
    """|F| / |x|, the cosine of H and x, and the error without the block, by the block's place."""
    if not record.series("branches"):
        return None
    figure = new_figure(12.0, 4.2)
    panels = figure.subplots(1, 3)
    for index, arm in enumerate(record.arm_names):
        own = record.series("branches", arm)
        if not own:
            continue
        share = list(np.linspace(0, 1, len(own[0]["ratio"])))
        for axes, name in zip(panels, ("ratio", "cosine", "lesion_error"), strict=True):
            values = [item[name] for item in own]
            band(axes, share, values, color=color_of(index, record.depth(arm)), label=arm)
    titles = ("|F| / |x|", "cosine of H = F + x and x", "test error with F = 0 in this block (%)")
    for axes, title in zip(panels, titles, strict=True):
        axes.set(title=title, xlabel="place of the block, from input to output")
        axes.grid(alpha=0.25)
        legend(axes, fontsize="x-small")
    panels[0].set_ylim(bottom=0)
    return figure


def layer_costs(record: Record) -> Figure | None:
    """Multiply-adds of every layer, a panel a network."""
    found = record.series("layer-costs")
    if not found:
        return None
    columns = 3
    rows = -(-len(found) // columns)
    figure = new_figure(12.0, 2.1 * rows)
    panels = figure.subplots(rows, columns, squeeze=False)
    for axes in panels.flat[len(found) :]:
        axes.axis("off")
    for axes, item in zip(panels.flat, found, strict=False):
        axes.bar(range(1, len(item["mmacs"]) + 1), item["mmacs"], color=color_of(0), width=0.9)
        total = sum(item["mmacs"]) / 1e3
        axes.set_title(f"{item['arm']}: {total:.4g} billion in all", fontsize="small")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.tick_params(labelsize="x-small")
    panels[0][0].set_ylabel("million multiply-adds", fontsize="x-small")
    return figure
