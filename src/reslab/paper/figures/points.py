"""Figures of single values: against depth, or arm by arm with every seed."""

from math import isfinite
from statistics import mean

from matplotlib.figure import Figure

from reslab.paper.figures.style import color_of, new_figure
from reslab.paper.record import Record
from reslab.paper.reference import Quoted

__all__ = ["bars", "depths"]


def depths(record: Record) -> Figure | None:
    """Test error against depth, of plain and of residual nets, with the paper's beside ours."""
    figure = new_figure(7.0)
    axes = figure.subplots()
    drawn = False
    for family, color in (("plain", "#d55e00"), ("resnet", "#0072b2")):
        names = [name for name in record.arm_names if record.arm(name)["net"].startswith(family)]
        names = sorted((name for name in names if record.values(name, "test_error")), key=record.depth)
        if not names:
            continue
        drawn = True
        places = [record.depth(name) for name in names]
        values = [record.values(name, "test_error") for name in names]
        axes.plot(places, [mean(own) for own in values], "o-", color=color, label=f"{family}, here")
        for place, own in zip(places, values, strict=True):
            axes.plot([place] * len(own), own, ".", color=color, alpha=0.5)
        quoted = [(place, _paper_error(record, name)) for place, name in zip(places, names, strict=True)]
        shown = [(place, value.value) for place, value in quoted if value is not None]
        if shown:
            axes.plot(
                *zip(*shown, strict=True), "s:", color=color, alpha=0.6, fillstyle="none", label=f"{family}, paper"
            )
    if not drawn:
        return None
    axes.set(xlabel="layers", ylabel="test error (%)", xscale="log")
    ticks = sorted({record.depth(name) for name in record.arm_names})
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.25)
    axes.legend(fontsize="small")
    return figure


def _paper_error(record: Record, arm: str) -> Quoted | None:
    """The paper's test error: of several seeds the mean, where a column before the others has it."""
    columns = [column for column in record.experiment.columns if column.paper and column.value == "test_error"]
    found = [record.paper_value(arm, column) for column in columns]
    return next((value for value in found if value is not None), None)


def bars(record: Record) -> Figure | None:
    """The first columns of the table, arm by arm: a bar for the mean, and a point for every seed."""
    columns = list(record.experiment.columns[:3])
    columns = [item for item in columns if any(record.values(name, item.value) for name in record.arm_names)]
    if not columns:
        return None
    names = record.arm_names
    figure = new_figure(11.0, 1.4 + 0.36 * len(names))
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for axes, column in zip(panels, columns, strict=True):
        positive = True
        for place, name in enumerate(names):
            own = record.values(name, column.value)
            if not own:
                continue
            reached = [value for value in own if isfinite(value)]
            positive = positive and min(reached, default=1) > 0
            axes.barh(place, mean(own), color=color_of(0), alpha=0.35, height=0.7)
            axes.plot(own, [place] * len(own), "o", color=color_of(0), markersize=3.5)
        spread = [value for name in names for value in record.values(name, column.value) if isfinite(value)]
        if positive and spread and max(spread) > 300 * min(spread):
            axes.set(xscale="log")
        axes.set(xlabel=column.heading)
        axes.grid(axis="x", alpha=0.25)
    panels[0].set_yticks(range(len(names)), names)
    panels[0].invert_yaxis()
    return figure
