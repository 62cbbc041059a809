"""Figures of something against iterations or another axis: errors, losses, lesions."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reslab.paper.figures.style import band, color_of, legend, new_figure, numbers
from reslab.paper.record import Record
from reslab.training.recipe import Steps
from reslab.training.recipe_files import recipe_from_dict

__all__ = ["autocorrelations", "errors", "lesions", "toy_losses"]

_SMOOTHED = 3  # rows


def errors(record: Record) -> Figure | None:
    """Error against iterations in the manner of Fig. 4 and 6: training dashed, test bold; plain nets beside residual
    ones where there are both. With several seeds lines are means, and bands reach from the lowest to the highest."""
    if not record.series("errors"):
        return None
    families = _families(record)
    figure = new_figure()
    panels = np.atleast_1d(figure.subplots(1, len(families), sharey=True))
    for axes, (family, arms) in zip(panels, families.items(), strict=True):
        by_depth = len({record.depth(arm) for arm in arms}) == len(arms)
        for index, arm in enumerate(arms):
            _error_lines(axes, record, arm, color_of(index, record.depth(arm) if by_depth else None))
        _milestones(axes, record)
        axes.set(xlabel="iteration", title=family)
        axes.grid(alpha=0.25)
        legend(axes, fontsize="x-small", ncols=1 if len(arms) < 5 else 2)
    reached = [error for item in record.series("errors") for error in item["train_error"] if error is not None]
    top = max(reached, default=100.0)
    panels[0].set(ylabel="error (%)", ylim=(0, min(100.0, 1.05 * top)))
    return figure


def _families(record: Record) -> dict[str, list[str]]:
    names = record.arm_names
    plain = [name for name in names if record.arm(name)["net"].startswith("plain")]
    residual = [name for name in names if name not in plain]
    return {"plain nets": plain, "residual nets": residual} if plain and residual else {"": names}


def _error_lines(axes: Axes, record: Record, arm: str, color: str) -> None:
    own = record.series("errors", arm)
    if not own:
        return
    rows = [_smoothed(item["iteration"], item["train_error"]) for item in own]
    band(axes, own[0]["iteration"], rows, color=color, style="--", width=1.0, label=f"{arm}, training")
    if own[0]["test_iteration"]:
        tests = [item["test_error"] for item in own]
        band(axes, own[0]["test_iteration"], tests, color=color, width=2.4, label=f"{arm}, test")


def _milestones(axes: Axes, record: Record) -> None:
    if not record.recipe:
        return
    schedule = recipe_from_dict(record.recipe).schedule
    for number, milestone in enumerate(schedule.milestones if isinstance(schedule, Steps) else ()):
        label = "rate divided by 10" if number == 0 else None
        axes.axvline(int(milestone), color="0.6", linewidth=0.8, linestyle=":", zorder=0, label=label)


def _smoothed(ends: list[int], found: list[float | None]) -> list[float]:
    """Running mean, each row weighted by its iterations: a point is the error of few images, and of a row that an
    evaluation or the end cut short of very few, and the eye needs the trend."""
    weights, values = np.diff(np.array([0, *ends])), numbers(found)
    places = ((max(0, end - _SMOOTHED), end) for end in range(1, len(values) + 1))
    return [float(np.average(values[start:end], weights=weights[start:end])) for start, end in places]


def lesions(record: Record) -> Figure | None:
    """Error against the number of blocks that are left out or swapped, and the lengths of the gradient's paths."""
    if not record.series("lesions"):
        return None
    figure = new_figure(12.0)
    left, middle, right = figure.subplots(1, 3)
    for index, arm in enumerate(record.arm_names):
        own, color = record.series("lesions", arm), color_of(index)
        if not own:
            continue
        for axes, name in ((left, "lesions"), (middle, "swaps")):
            counts = [int(count) for count in own[0][name]]
            means = [
                [item["whole_error"], *(float(numbers(item[name][str(count)]).mean()) for count in counts)]
                for item in own
            ]
            band(axes, [0, *counts], means, color=color, label=arm)
        paths = [item for item in own if "path_share" in item]
        if paths:
            band(right, paths[0]["path_length"], [item["path_share"] for item in paths], color=color, label=arm)
    left.set(xlabel="blocks left out", ylabel="test error (%)", ylim=(0, 100), title="without blocks")
    middle.set(xlabel="pairs of blocks swapped", ylim=(0, 100), title="in another order")
    right.set(xlabel="blocks on the path", ylabel="share of the gradient", title="where gradients go")
    for axes in (left, middle, right):
        axes.grid(alpha=0.25)
        legend(axes, fontsize="x-small")
    return figure


def toy_losses(record: Record) -> Figure | None:
    """Error against steps of fully connected nets that learn a function near the identity, without and with BN."""
    if not record.series("identity"):
        return None
    figure = new_figure()
    panels = figure.subplots(1, 2, sharey=True)
    options = {arm: record.arm(arm)["options"] for arm in record.arm_names}
    layers = sorted({own["layers"] for own in options.values()})
    for arm, own in options.items():
        items = record.series("identity", arm)
        if not items:
            continue
        color = color_of(layers.index(own["layers"]))
        style = "-" if own["kind"] == "residual" else "--"
        axes = panels[int(own["batch_norm"])]
        label = f"{own['kind']}, {own['layers']} layers"
        band(axes, items[0]["step"], [item["loss"] for item in items], color=color, style=style, label=label)
    for axes, title in zip(panels, ("without batch norm", "with batch norm"), strict=True):
        axes.set(xlabel="step", yscale="log", title=title)
        axes.grid(alpha=0.25)
        legend(axes, fontsize="x-small", ncols=2)
    panels[0].set(ylabel="error over the variance of x")
    return figure


def autocorrelations(record: Record) -> Figure | None:
    """Correlation of gradients against the distance of their inputs, a panel a kind of net, a line a depth."""
    if not record.series("shattering"):
        return None
    kinds = list(dict.fromkeys(record.arm(name)["options"]["kind"] for name in record.arm_names))
    figure = new_figure(12.0, 4.2)
    panels = np.atleast_1d(figure.subplots(1, len(kinds), sharey=True))
    for axes, kind in zip(panels, kinds, strict=True):
        arms = [name for name in record.arm_names if record.arm(name)["options"]["kind"] == kind]
        for index, arm in enumerate(arms):
            own = record.series("shattering", arm)
            if not own:
                continue
            label = f"{record.arm(arm)['options']['depth']} layers"
            band(axes, own[0]["lag"], [item["autocorrelation"] for item in own], color=color_of(index), label=label)
        axes.set(title=kind, xlabel="distance of the inputs (grid points)")
        axes.grid(alpha=0.25)
        legend(axes, fontsize="small")
    panels[0].set(ylabel="correlation of gradients")
    return figure
